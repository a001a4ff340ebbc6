"""``/v1/documents``: one text, split into statements; and what is kept of it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends

from service.admission import admit_document
from service.api_description import BODY_PROBLEMS, KEEPING_PROBLEMS, problem_responses
from service.examples import document_requests
from service.keeping import IdempotencyKey, Keeper
from service.middleware import get_request_id
from service.schemas import DocumentAnswer, DocumentRequest
from service.scoring_pool import ScoringPool, get_scoring_pool
from service.settings import Settings


def build_documents_router(settings: Settings, keeper: Keeper) -> APIRouter:
    """Return the route that scores a document."""
    router = APIRouter(tags=["scoring"])

    @router.post(
        "/v1/documents",
        summary="Score a document",
        description=f"Split a text of up to {settings.max_document_chars:,} characters into statements and score each.",
        responses=problem_responses(*BODY_PROBLEMS, *KEEPING_PROBLEMS),
    )
    async def score_document(
        request: Annotated[DocumentRequest, Body(openapi_examples=document_requests())],
        pool: Annotated[ScoringPool, Depends(get_scoring_pool)],
        request_id: Annotated[UUID, Depends(get_request_id)],
        idempotency_key: IdempotencyKey = None,
    ) -> DocumentAnswer:
        admit_document(request, settings)
        is_kept = keeper.keeps(request)
        if is_kept and (earlier := await keeper.find_document(request, idempotency_key)):
            return earlier
        document = await pool.score_document(request.text, request.language)
        info = pool.scorer.info
        if is_kept:
            return await keeper.keep_document(request, document, info=info, request_id=request_id, key=idempotency_key)
        return DocumentAnswer.from_core(request.id, document, None, info=info, request_id=request_id)

    return router
