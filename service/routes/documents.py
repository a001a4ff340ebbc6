"""``POST /v1/documents``: one text, split into statements."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends

from service.admission import admit_document
from service.api_description import BODY_PROBLEMS, problem_responses
from service.examples import document_requests
from service.schemas import DocumentAnswer, DocumentRequest
from service.scoring_pool import ScoringPool, get_scoring_pool
from service.settings import Settings


def build_documents_router(settings: Settings) -> APIRouter:
    """Return the route that scores a document."""
    router = APIRouter(tags=["scoring"])

    @router.post(
        "/v1/documents",
        summary="Score a document",
        description=f"Split a text of up to {settings.max_document_chars:,} characters into statements and score each.",
        responses=problem_responses(*BODY_PROBLEMS),
    )
    async def score_document(
        request: Annotated[DocumentRequest, Body(openapi_examples=document_requests())],
        pool: Annotated[ScoringPool, Depends(get_scoring_pool)],
    ) -> DocumentAnswer:
        admit_document(request, settings)
        document = await pool.score_document(request.text, request.language)
        return DocumentAnswer.from_core(request.id, document, pool.scorer.info)

    return router
