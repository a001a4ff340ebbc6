"""``/v1/stats``: kept scores in figures, in flat rows that dashboards read as they are."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service.api_description import problem_responses
from service.errors import Fault, ProblemType, RefusedRequestError
from service.history.query_parameters import SeriesParameters, TabularParameters, refuse_repeated
from service.history.representations import TABULAR_RESPONSES, choose_representation
from service.history.stats_schemas import (
    SeriesAnswer,
    SeriesRow,
    SummaryAnswer,
    SummaryRow,
    require_few_buckets,
    to_series_rows,
    to_summary_rows,
)
from service.history.tabular import RowShape
from service.store.aggregates import MAX_CELLS, AggregateStore, TooManyCellsError

_SERIES: Final = RowShape(SeriesRow)
_SUMMARY: Final = RowShape(SummaryRow)
_PROBLEMS: Final = (
    ProblemType.UNKNOWN_FIELD,
    ProblemType.INVALID_FIELD,
    ProblemType.NOT_ACCEPTABLE,
    ProblemType.STORAGE_UNAVAILABLE,
    ProblemType.INTERNAL_ERROR,
)


def build_stats_router(store: AggregateStore) -> APIRouter:
    """Return the routes of figures."""
    router = APIRouter(tags=["statistics"], dependencies=[Depends(refuse_repeated)])

    @router.get(
        "/v1/stats/timeseries",
        summary="Count kept scores over time",
        response_model=SeriesAnswer,
        responses=TABULAR_RESPONSES | problem_responses(ProblemType.TOO_MANY_BUCKETS, *_PROBLEMS),
    )
    async def count_over_time(request: Request, parameters: Annotated[SeriesParameters, Query()]) -> Response:
        """Return how many scores there are in each bucket of time, in UTC, and in each group if they are split."""
        form = await choose_representation(request, parameters, store.read_revision)
        if form.is_known:
            return form.answer_known()
        rows, has_other = await run_in_threadpool(_read_series, store, parameters)
        return await form.answer(rows, _SERIES, "timeseries", {"has_other": has_other})

    @router.get(
        "/v1/stats/summary",
        summary="Sum up kept scores",
        response_model=SummaryAnswer,
        responses=TABULAR_RESPONSES | problem_responses(*_PROBLEMS),
    )
    async def sum_up(request: Request, parameters: Annotated[TabularParameters, Query()]) -> Response:
        """Return how many scores there are in all, and by label, reason, language, source and model version."""
        form = await choose_representation(request, parameters, store.read_revision)
        if form.is_known:
            return form.answer_known()
        totals = await run_in_threadpool(store.read_totals, parameters.to_filter())
        return await form.answer(to_summary_rows(totals), _SUMMARY, "summary", {"has_other": totals.has_other})

    return router


def _read_series(store: AggregateStore, parameters: SeriesParameters) -> tuple[list[dict[str, Any]], bool]:
    chosen = parameters.to_filter()
    try:
        if parameters.fill:
            require_few_buckets(parameters.bucket, chosen)
        series = store.read_series(chosen, parameters.bucket, parameters.dimension)
        return to_series_rows(series, chosen if parameters.fill else None), series.has_other
    except TooManyCellsError:
        detail = (
            f"The series would have more than {MAX_CELLS} rows, buckets times groups: name a shorter time by since "
            "and until, a longer bucket, a narrower filter, or leave out group_by or fill."
        )
        raise RefusedRequestError([Fault(ProblemType.TOO_MANY_BUCKETS, detail)]) from None
