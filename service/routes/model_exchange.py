"""``/v1/admin/model``: which model may take over, and the exchange of the served one by hand."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from service.api_description import problem_responses
from service.errors import Fault, ProblemType, RefusedRequestError
from service.models.exchange import NotExchangedError
from service.models.holder import ModelHolder
from service.models.schemas import ExchangeAnswer
from service.models.watch import ModelWatch
from service.settings import Settings

STATE_KEY: Final = "model_watch"
_NO_SOURCE: Final = "The model is that of one folder: name a source with CREDENCE_MODEL_SOURCE to exchange it."
_PROBLEMS: Final = (ProblemType.NOT_EXCHANGED, ProblemType.INTERNAL_ERROR)
BundleDigest = Annotated[
    str | None,
    Query(pattern="^[0-9a-f]{64}$", description="Which candidate is meant; if another one waits, nothing happens."),
]


async def find_watch(request: Request) -> ModelWatch | None:
    """Return who watches the source of models, or null where the model is that of one folder."""
    watch: ModelWatch | None = getattr(request.state, STATE_KEY)
    return watch


async def require_watch(watch: Annotated[ModelWatch | None, Depends(find_watch)]) -> ModelWatch:
    """Return who watches the source of models; raises ``RefusedRequestError``."""
    if watch is None:
        raise RefusedRequestError([Fault(ProblemType.NOT_EXCHANGED, _NO_SOURCE)])
    return watch


Watch = Annotated[ModelWatch, Depends(require_watch)]


def build_exchange_router(settings: Settings, holder: ModelHolder) -> APIRouter:
    """Return the routes of the exchange of models."""
    router = APIRouter(tags=["model exchange"])

    def describe(watch: ModelWatch | None) -> ExchangeAnswer:
        if watch is None:
            return ExchangeAnswer.from_holder(holder, settings.model_exchange)
        return ExchangeAnswer.from_report(watch.exchange.report(), settings.model_exchange)

    @router.get(
        "/v1/admin/model/candidate",
        summary="Show the model that may take over",
        responses=problem_responses(ProblemType.INTERNAL_ERROR),
    )
    async def show_candidate(watch: Annotated[ModelWatch | None, Depends(find_watch)]) -> ExchangeAnswer:
        """Return the served model, the candidate with its state, and how their scores of kept statements differ."""
        return describe(watch)

    @router.post(
        "/v1/admin/model/check",
        summary="Look at the alias now",
        status_code=202,
        responses=problem_responses(*_PROBLEMS),
    )
    async def check_source(watch: Watch) -> ExchangeAnswer:
        """Have the source asked at once, and a refused candidate tried again; the trial goes on after the answer."""
        watch.look_now()
        return describe(watch)

    @router.post(
        "/v1/admin/model/promote",
        summary="Let the candidate take over",
        responses=problem_responses(ProblemType.INVALID_FIELD, *_PROBLEMS),
    )
    async def promote(watch: Watch, bundle_digest: BundleDigest = None) -> ExchangeAnswer:
        """Serve the candidate that is `ready`, or was rolled back, from now on. Requests under way are not touched."""
        try:
            await run_in_threadpool(watch.exchange.promote, bundle_digest)
        except NotExchangedError as error:
            raise _refused(error) from None
        return describe(watch)

    @router.post(
        "/v1/admin/model/rollback", summary="Go back to the model before", responses=problem_responses(*_PROBLEMS)
    )
    async def roll_back(watch: Watch) -> ExchangeAnswer:
        """Serve the model before this one again, until the alias moves. Its copy on the disk is loaded first."""
        try:
            await run_in_threadpool(watch.exchange.roll_back)
        except NotExchangedError as error:
            raise _refused(error) from None
        return describe(watch)

    return router


def _refused(error: NotExchangedError) -> RefusedRequestError:
    detail = f"Nothing was exchanged: {error}. GET /v1/admin/model/candidate says where it stands."
    return RefusedRequestError([Fault(ProblemType.NOT_EXCHANGED, detail)])
