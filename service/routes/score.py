"""``POST /v1/score``: a list of statements."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Depends

from service.admission import admit_statements
from service.api_description import BODY_PROBLEMS, KEEPING_PROBLEMS, WAITING_PROBLEMS, problem_responses
from service.errors import ProblemType
from service.examples import score_requests
from service.keeping import IdempotencyKey, Keeper
from service.middleware import get_request_id
from service.schemas import ScoreAnswer, ScoreRequest
from service.scoring.request_scoring import Scoring
from service.settings import Settings


def build_score_router(settings: Settings, keeper: Keeper) -> APIRouter:
    """Return the route that scores statements."""
    router = APIRouter(tags=["scoring"])

    @router.post(
        "/v1/score",
        summary="Score statements",
        description=f"Score 1 to {settings.max_statements:,} statements; the results keep the order of the request.",
        responses=problem_responses(
            *BODY_PROBLEMS,
            ProblemType.NO_STATEMENTS,
            ProblemType.TOO_MANY_STATEMENTS,
            *WAITING_PROBLEMS,
            *KEEPING_PROBLEMS,
        ),
    )
    async def score_statements(
        request: Annotated[ScoreRequest, Body(openapi_examples=score_requests())],
        scoring: Scoring,
        request_id: Annotated[UUID, Depends(get_request_id)],
        idempotency_key: IdempotencyKey = None,
    ) -> ScoreAnswer:
        admit_statements(request.statements, settings)
        is_kept = keeper.keeps(request)
        if is_kept and (earlier := await keeper.find_statements(request, idempotency_key)):
            return earlier
        texts = [statement.text for statement in request.statements]
        scored = await scoring.score_statements(texts, [statement.language for statement in request.statements])
        with scoring.answering(len(texts), is_kept=is_kept):
            if is_kept:
                return await keeper.keep_statements(
                    request, scored.scores, info=scored.info, request_id=request_id, key=idempotency_key
                )
            identifiers = [statement.id for statement in request.statements]
            return ScoreAnswer.from_core(identifiers, scored.scores, None, info=scored.info, request_id=request_id)

    return router
