"""``POST /v1/score``: a list of statements."""

from typing import Annotated

from fastapi import APIRouter, Body, Depends

from service.admission import admit_statements
from service.api_description import BODY_PROBLEMS, problem_responses
from service.errors import ProblemType
from service.examples import score_requests
from service.schemas import ScoreAnswer, ScoreRequest
from service.scoring_pool import ScoringPool, get_scoring_pool
from service.settings import Settings


def build_score_router(settings: Settings) -> APIRouter:
    """Return the route that scores statements."""
    router = APIRouter(tags=["scoring"])

    @router.post(
        "/v1/score",
        summary="Score statements",
        description=f"Score 1 to {settings.max_statements:,} statements; the results keep the order of the request.",
        responses=problem_responses(*BODY_PROBLEMS, ProblemType.NO_STATEMENTS, ProblemType.TOO_MANY_STATEMENTS),
    )
    async def score_statements(
        request: Annotated[ScoreRequest, Body(openapi_examples=score_requests())],
        pool: Annotated[ScoringPool, Depends(get_scoring_pool)],
    ) -> ScoreAnswer:
        admit_statements(request.statements, settings)
        texts = [statement.text for statement in request.statements]
        scores = await pool.score_statements(texts, [statement.language for statement in request.statements])
        return ScoreAnswer.from_core(request, scores, pool.scorer.info)

    return router
