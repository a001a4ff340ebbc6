"""Decides whether a request is kept, keeps it, and finds what was kept under its idempotency key.

What is answered as kept is in the database before the answer is sent.
"""

from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID, uuid4

from fastapi import Header
from starlette.concurrency import run_in_threadpool

from credence.scoring import DocumentScore, ModelInfo, StatementScore, roll_up
from service.errors import Fault, ProblemType, RefusedRequestError
from service.schemas import DocumentAnswer, DocumentRequest, ScoreAnswer, ScoreRequest
from service.store.records import NewDocument, NewScore, StoredDocument
from service.store.score_store import ScoreStore
from service.store.tables import MAX_TAG_CHARS

IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Any string of yours: a request that is sent again under its key is kept only once.",
        # Checked where it is used, so that its error has a type of its own.
        json_schema_extra={"anyOf": [{"type": "string", "minLength": 1, "maxLength": MAX_TAG_CHARS}, {"type": "null"}]},
    ),
]
_SPENT: Final = "What was kept under this Idempotency-Key has been deleted; send the request under another key."
_REUSED: Final = "This Idempotency-Key was used for other texts; send each request under a key of its own."


class Keeper:
    """Keeps requests in a store."""

    def __init__(self, store: ScoreStore, *, keeps_by_default: bool) -> None:
        self._store = store
        self._keeps_by_default = keeps_by_default

    def keeps(self, request: ScoreRequest | DocumentRequest) -> bool:
        """Say whether a request is to be kept."""
        return self._keeps_by_default if request.store is None else request.store

    async def find_statements(self, request: ScoreRequest, key: str | None) -> ScoreAnswer | None:
        """Return the answer that was given under an idempotency key before. Raises ``RefusedRequestError``."""
        earlier = await self._find(key)
        return None if earlier is None else await run_in_threadpool(self._repeat_statements, request, earlier)

    async def find_document(self, request: DocumentRequest, key: str | None) -> DocumentAnswer | None:
        """Return the answer that was given under an idempotency key before. Raises ``RefusedRequestError``."""
        earlier = await self._find(key)
        return None if earlier is None else await run_in_threadpool(self._repeat_document, request, earlier)

    async def keep_statements(
        self,
        request: ScoreRequest,
        scores: Sequence[StatementScore],
        *,
        info: ModelInfo,
        request_id: UUID,
        key: str | None,
    ) -> ScoreAnswer:
        """Keep the scores of a request and return its answer."""
        new = [
            NewScore(uuid4(), statement.id, statement.to_tags(), statement.text, score)
            for statement, score in zip(request.statements, scores, strict=True)
        ]
        owner = await run_in_threadpool(self._store.keep_statements, new, info, request_id, idempotency_key=key)
        if owner != request_id:
            return await run_in_threadpool(self._repeat_statements, request, owner)
        identifiers = [statement.id for statement in request.statements]
        return ScoreAnswer.from_core(identifiers, scores, [n.id for n in new], info=info, request_id=request_id)

    async def keep_document(
        self, request: DocumentRequest, document: DocumentScore, *, info: ModelInfo, request_id: UUID, key: str | None
    ) -> DocumentAnswer:
        """Keep a document and return its answer."""
        tags = request.to_tags()
        new = NewDocument(uuid4(), request.id, tags, request.text, document.is_cut)
        statements = [NewScore(uuid4(), None, tags, None, score) for score in document.statements]
        owner = await run_in_threadpool(
            self._store.keep_document, new, statements, info, request_id, idempotency_key=key
        )
        if owner != request_id:
            return await run_in_threadpool(self._repeat_document, request, owner)
        kept = (new.id, [statement.id for statement in statements])
        return DocumentAnswer.from_core(request.id, document, kept, info=info, request_id=request_id)

    async def _find(self, key: str | None) -> UUID | None:
        if key is None:
            return None
        check_key(key)
        return await run_in_threadpool(self._store.find_request, key)

    def _repeat_statements(self, request: ScoreRequest, earlier: UUID) -> ScoreAnswer:
        stored = self._store.read_request(earlier)
        lineage = self._store.read_lineage(stored[0].id) if stored else None
        if lineage is None:
            raise _refused(ProblemType.KEY_SPENT, _SPENT)
        asked, kept = [statement.text for statement in request.statements], [s.text for s in stored]
        if any(s.stored_document_id for s in stored) or not _is_part(kept, asked):
            raise _refused(ProblemType.KEY_REUSED, _REUSED)
        if len(kept) < len(asked):
            raise _refused(ProblemType.KEY_SPENT, _SPENT)
        return ScoreAnswer.from_core(
            [s.caller_id for s in stored],
            [s.score for s in stored],
            [s.id for s in stored],
            info=lineage[1],
            request_id=earlier,
        )

    def _repeat_document(self, request: DocumentRequest, earlier: UUID) -> DocumentAnswer:
        stored = self._store.read_document_of_request(earlier)
        if stored is None:
            is_other = bool(self._store.read_request(earlier))
            raise _refused(ProblemType.KEY_REUSED, _REUSED) if is_other else _refused(ProblemType.KEY_SPENT, _SPENT)
        if stored.text != request.text:
            raise _refused(ProblemType.KEY_REUSED, _REUSED)
        kept = (stored.id, [statement.id for statement in stored.statements])
        return DocumentAnswer.from_core(
            stored.caller_id, to_document_score(stored), kept, info=stored.model, request_id=earlier
        )


def check_key(key: str) -> None:
    """Raise ``RefusedRequestError`` where an idempotency key cannot be used."""
    if not 1 <= len(key) <= MAX_TAG_CHARS:
        detail = f"Idempotency-Key must have 1 to {MAX_TAG_CHARS} characters."
        raise RefusedRequestError([Fault(ProblemType.INVALID_HEADER, detail)])


def to_document_score(stored: StoredDocument) -> DocumentScore:
    """Return the score of a kept document; its roll-up counts the statements that are still there."""
    statements = tuple(statement.score for statement in stored.statements)
    return DocumentScore(
        statements, roll_up(statements), stored.is_cut, stored.model.model_version, stored.model.bundle_digest
    )


def _is_part(texts: Sequence[str], whole: Sequence[str]) -> bool:
    # Where single statements were deleted since, the rest is still there in its order.
    left = iter(whole)
    return all(text in left for text in texts)


def _refused(problem: ProblemType, detail: str) -> RefusedRequestError:
    return RefusedRequestError([Fault(problem, detail)])
