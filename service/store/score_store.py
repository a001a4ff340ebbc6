"""Keeps scores and documents, finds them again, and deletes them: whole transactions around reads and writes."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, delete, select

from credence.scoring import ModelInfo
from service.store.database import Database
from service.store.records import NewDocument, NewScore, ScoreFilter, StoredDocument, StoredScore
from service.store.score_reads import (
    conditions,
    find_request,
    read_document,
    read_document_of_request,
    read_model,
    read_request,
    read_score,
    read_scores,
    read_span,
)
from service.store.score_writes import claim_key, forget_keys, insert_document, insert_scores, require_model
from service.store.tables import documents, scores

# So many rows are deleted in one turn, so that whoever wants to write need not wait long.
DELETE_ROWS: Final = 5_000
DELETE_DOCUMENTS: Final = 100
# So many rows of a stream are in memory.
STREAM_ROWS: Final = 2_000


def utc_now() -> datetime:
    """Return the time of the wall clock."""
    return datetime.now(UTC)


class ScoreStore:
    """What is kept of scores. Every method is one transaction, and raises ``StorageUnavailableError``.

    What a method has written when it returns survives the end of the process.
    """

    def __init__(self, database: Database, *, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    def read_revision(self) -> int:
        """Return a number that rises with everything that is written."""
        return self._database.read_revision()

    def keep_statements(
        self, new: Sequence[NewScore], info: ModelInfo, request_id: UUID, *, idempotency_key: str | None = None
    ) -> UUID:
        """Keep the scores of a request and return its id.

        Where the idempotency key was used before nothing is kept, and the id of the earlier request comes back.
        """
        at = self._now()
        with self._database.writing() as connection:
            if idempotency_key is not None:
                owner = claim_key(connection, idempotency_key, request_id, at=at)
                if owner != request_id:
                    return owner
            model_seq = require_model(connection, info)
            insert_scores(connection, new, model_seq=model_seq, scored_at=at, request_id=request_id)
        return request_id

    def keep_document(
        self,
        document: NewDocument,
        statements: Sequence[NewScore],
        info: ModelInfo,
        request_id: UUID,
        *,
        idempotency_key: str | None = None,
    ) -> UUID:
        """Keep a document with its statements; see ``keep_statements``."""
        at = self._now()
        with self._database.writing() as connection:
            if idempotency_key is not None:
                owner = claim_key(connection, idempotency_key, request_id, at=at)
                if owner != request_id:
                    return owner
            insert_document(connection, document, statements, info=info, scored_at=at, request_id=request_id)
        return request_id

    def find_request(self, idempotency_key: str) -> UUID | None:
        """Return the request that was kept under an idempotency key, or null."""
        with self._database.reading() as connection:
            return find_request(connection, idempotency_key)

    def read_request(self, request_id: UUID) -> list[StoredScore]:
        """Return the scores of a request in the order of the request; none where they were deleted."""
        with self._database.reading() as connection:
            return read_request(connection, request_id)

    def read_document_of_request(self, request_id: UUID) -> StoredDocument | None:
        """Return the document of a request, or null."""
        with self._database.reading() as connection:
            return read_document_of_request(connection, request_id)

    def read_score(self, score_id: UUID) -> StoredScore | None:
        """Return one score, or null."""
        with self._database.reading() as connection:
            return read_score(connection, score_id)

    def read_lineage(self, score_id: UUID) -> tuple[StoredScore, ModelInfo] | None:
        """Return one score and the model that made it, or null."""
        with self._database.reading() as connection:
            score = read_score(connection, score_id)
            model = read_model(connection, score.score.bundle_digest) if score else None
            return (score, model) if score and model else None

    def read_document(self, document_id: UUID) -> StoredDocument | None:
        """Return a document with its statements, or null."""
        with self._database.reading() as connection:
            return read_document(connection, document_id)

    def list_scores(self, chosen: ScoreFilter, *, limit: int, before_seq: int | None = None) -> list[StoredScore]:
        """Return the newest scores that a filter lets through, newest first."""
        with self._database.reading() as connection:
            span = read_span(connection, chosen)
            return read_scores(connection, chosen, limit=limit, before_seq=before_seq, span=span)

    def stream_scores(
        self, chosen: ScoreFilter, *, limit: int | None = None, before_seq: int | None = None
    ) -> Iterator[list[StoredScore]]:
        """Return the same as ``list_scores`` in portions, each in a transaction of its own, so that nobody has to wait.

        What is kept in the meantime has a greater number than the first portion and is not among them.
        """
        with self._database.reading() as connection:
            span = read_span(connection, chosen)
        n_left = limit
        while n_left is None or n_left > 0:
            size = STREAM_ROWS if n_left is None else min(STREAM_ROWS, n_left)
            with self._database.reading() as connection:
                portion = read_scores(connection, chosen, limit=size, before_seq=before_seq, span=span)
            if portion:
                yield portion
                before_seq = portion[-1].seq
            if len(portion) < size:
                return
            n_left = None if n_left is None else n_left - size

    def delete_score(self, score_id: UUID) -> bool:
        """Delete one score with its feedback, and say whether it was there.

        The document that it is a statement of keeps its text: that goes with the document.
        """
        with self._database.writing() as connection:
            return _delete_scores(connection, [scores.c.id == score_id]) > 0

    def delete_document(self, document_id: UUID) -> bool:
        """Delete a document with its text, statements and their feedback, and say whether it was there."""
        with self._database.writing() as connection:
            found = connection.execute(delete(documents).where(documents.c.id == document_id)).rowcount
        return found > 0

    def delete_matching(self, *, source: str | None = None, document_id: str | None = None) -> int:
        """Delete the scores and documents with these tags, and return how many scores; one tag must be given."""
        if source is None and document_id is None:
            raise ValueError("name a source or a document_id")
        return self._delete_in_turns(ScoreFilter(source=source, document_id=document_id))

    def delete_before(self, time: datetime) -> int:
        """Delete what was scored before a time, and return how many scores."""
        return self._delete_in_turns(ScoreFilter(until=time))

    def forget_keys_before(self, time: datetime) -> int:
        """Delete the idempotency keys that were first used before a time, and return how many."""
        n_deleted = 0
        while True:
            with self._database.writing(takes_turn=False) as connection:
                n_keys = forget_keys(connection, time, limit=DELETE_ROWS)
            n_deleted += n_keys
            if not n_keys:
                return n_deleted

    def shed_deleted(self) -> None:
        """Let go of what deleted rows have left in the database's log."""
        self._database.shed_deleted()

    def _delete_in_turns(self, chosen: ScoreFilter) -> int:
        n_deleted = 0
        while True:
            with self._database.writing() as connection:
                n_scores = _delete_scores(connection, conditions(chosen))
                n_documents = _delete_documents(connection, chosen)
            n_deleted += n_scores
            if not n_scores and not n_documents:
                return n_deleted


def _delete_scores(connection: Connection, where: Sequence[ColumnElement[bool]]) -> int:
    chosen = select(scores.c.seq).where(*where).limit(DELETE_ROWS)
    return connection.execute(delete(scores).where(scores.c.seq.in_(chosen))).rowcount


def _delete_documents(connection: Connection, chosen: ScoreFilter) -> int:
    tags = {"source": chosen.source, "document_id": chosen.document_id}
    where = [documents.c[name] == value for name, value in tags.items() if value is not None]
    if chosen.until is not None:
        where.append(documents.c.scored_at < chosen.until)
    found = select(documents.c.seq).where(*where).limit(DELETE_DOCUMENTS)
    return connection.execute(delete(documents).where(documents.c.seq.in_(found))).rowcount
