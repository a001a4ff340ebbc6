"""``/v1/documents``: one text, split into statements; and what is kept of it."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Body, Depends, Path
from starlette.concurrency import run_in_threadpool

from service.admission import admit_document
from service.api_description import BODY_PROBLEMS, KEEPING_PROBLEMS, WAITING_PROBLEMS, problem_responses
from service.errors import ProblemType, missing_record
from service.examples import document_requests
from service.history.schemas import DocumentRecord
from service.keeping import IdempotencyKey, Keeper
from service.middleware import get_request_id
from service.schemas import DocumentAnswer, DocumentRequest
from service.scoring.request_scoring import Scoring
from service.settings import Settings
from service.store.score_store import ScoreStore

DocumentId = Annotated[UUID, Path(description="The `stored_document_id` of the answer.")]
_KEPT_PROBLEMS: Final = (
    ProblemType.NO_SUCH_RECORD,
    ProblemType.INVALID_FIELD,
    ProblemType.STORAGE_UNAVAILABLE,
    ProblemType.INTERNAL_ERROR,
)


def build_documents_router(settings: Settings, keeper: Keeper, store: ScoreStore) -> APIRouter:
    """Return the routes that score a document, and read and delete what is kept of it."""
    router = APIRouter(tags=["scoring"])

    @router.post(
        "/v1/documents",
        summary="Score a document",
        description=f"Split a text of up to {settings.max_document_chars:,} characters into statements and score each.",
        responses=problem_responses(*BODY_PROBLEMS, *WAITING_PROBLEMS, *KEEPING_PROBLEMS),
    )
    async def score_document(
        request: Annotated[DocumentRequest, Body(openapi_examples=document_requests())],
        scoring: Scoring,
        request_id: Annotated[UUID, Depends(get_request_id)],
        idempotency_key: IdempotencyKey = None,
    ) -> DocumentAnswer:
        admit_document(request, settings)
        is_kept = keeper.keeps(request)
        if is_kept and (earlier := await keeper.find_document(request, idempotency_key)):
            return earlier
        scored = await scoring.score_document(request.text, request.language)
        document, info = scored.document, scored.info
        with scoring.answering(len(document.statements), is_kept=is_kept):
            if is_kept:
                return await keeper.keep_document(
                    request, document, info=info, request_id=request_id, key=idempotency_key
                )
            return DocumentAnswer.from_core(request.id, document, None, info=info, request_id=request_id)

    @router.get(
        "/v1/documents/{stored_document_id}",
        summary="Read a kept document",
        responses=problem_responses(*_KEPT_PROBLEMS),
    )
    async def read_document(stored_document_id: DocumentId) -> DocumentRecord:
        """Return a kept document with its text, and those of its statements that are still kept."""
        stored = await run_in_threadpool(store.read_document, stored_document_id)
        if stored is None:
            raise missing_record("document")
        return await run_in_threadpool(DocumentRecord.from_stored, stored)

    @router.delete(
        "/v1/documents/{stored_document_id}",
        summary="Delete a kept document",
        status_code=204,
        responses=problem_responses(*_KEPT_PROBLEMS),
    )
    async def delete_document(stored_document_id: DocumentId, background: BackgroundTasks) -> None:
        """Delete a document with its text, its statements and their feedback."""
        if not await run_in_threadpool(store.delete_document, stored_document_id):
            raise missing_record("document")
        background.add_task(store.shed_deleted)

    return router
