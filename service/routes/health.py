"""``/livez`` and ``/readyz``: the probes, which never wait for the model."""

from typing import Annotated

from fastapi import APIRouter, Depends

from service.api_description import problem_responses
from service.draining import Drain
from service.errors import Fault, ProblemType, RefusedRequestError
from service.schemas import Health
from service.scoring.pool import ScoringPool, get_scoring_pool


def build_health_router(drain: Drain) -> APIRouter:
    """Return the routes of the probes."""
    router = APIRouter(tags=["health"])

    @router.head("/livez", include_in_schema=False)
    @router.get("/livez", summary="Is the process alive")
    async def report_alive() -> Health:
        """Answer as long as the event loop runs."""
        return Health(status="alive")

    @router.head("/readyz", include_in_schema=False)
    @router.get(
        "/readyz",
        summary="Is the model ready",
        responses=problem_responses(ProblemType.NOT_READY, ProblemType.STOPPING),
    )
    async def report_ready(pool: Annotated[ScoringPool, Depends(get_scoring_pool)]) -> Health:
        """Answer 200 once the model has scored its warm-up texts, 503 before and while the service is being stopped."""
        if drain.has_begun:
            raise RefusedRequestError([Fault(ProblemType.STOPPING, "Send requests to another instance.")])
        if not pool.is_ready:
            raise RefusedRequestError([Fault(ProblemType.NOT_READY, "The model has not answered its warm-up yet.")])
        return Health(status="ready")

    return router
