"""``GET /v1/model``: what is served."""

from fastapi import APIRouter

from service.api_description import problem_responses
from service.errors import ProblemType
from service.models.holder import ModelHolder
from service.schemas import ModelAnswer


def build_model_router(holder: ModelHolder) -> APIRouter:
    """Return the route that describes the model."""
    router = APIRouter(tags=["model"])

    @router.get("/v1/model", summary="Describe the model", responses=problem_responses(ProblemType.INTERNAL_ERROR))
    async def describe_model() -> ModelAnswer:
        """Return version, lineage, label scheme, calibration table and model card."""
        return ModelAnswer.from_served(holder.current)

    return router
