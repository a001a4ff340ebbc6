"""``/v1/scores``: what is kept of scored statements, to be found, traced back and deleted."""

from collections.abc import Iterator
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from service.api_description import problem_responses
from service.errors import Fault, ProblemType, RefusedRequestError, missing_record
from service.history.query_parameters import (
    DEFAULT_PAGE,
    MAX_PAGE,
    DeletionParameters,
    ScoreListParameters,
    refuse_repeated,
)
from service.history.representations import TABULAR_RESPONSES, choose_representation
from service.history.schemas import DeletionAnswer, LineageAnswer, ScorePage, ScoreRecord, ScoreRow, to_row
from service.history.tabular import Rows, RowShape, TabularFormat
from service.models.holder import ModelHolder
from service.store.score_store import ScoreStore

READING_PROBLEMS: Final = (
    ProblemType.INVALID_FIELD,
    ProblemType.STORAGE_UNAVAILABLE,
    ProblemType.INTERNAL_ERROR,
)
_SHAPE: Final = RowShape(ScoreRow)
ScoreId = Annotated[UUID, Path(description="The `score_id` of a result.")]


def build_history_router(store: ScoreStore, holder: ModelHolder) -> APIRouter:
    """Return the routes of kept scores."""
    router = APIRouter(tags=["history"], dependencies=[Depends(refuse_repeated)])

    @router.get(
        "/v1/scores",
        summary="List kept scores",
        response_model=ScorePage,
        responses=TABULAR_RESPONSES
        | problem_responses(ProblemType.UNKNOWN_FIELD, ProblemType.NOT_ACCEPTABLE, *READING_PROBLEMS),
    )
    async def list_scores(request: Request, parameters: Annotated[ScoreListParameters, Query()]) -> Response:
        """Return kept scores, the newest first: a page of them in JSON, or all of them as a file in other formats.

        In CSV a text that a spreadsheet would take for a formula has an apostrophe in front.
        """
        form = await choose_representation(request, parameters, store.read_revision)
        if form.is_known:
            return form.answer_known()
        if form.file_format is not TabularFormat.JSON:
            return await form.answer_file(_stream(store, parameters), _SHAPE, "scores")
        rows, cursor = await run_in_threadpool(_read_page, store, parameters, _page_size(parameters))
        return await form.answer_json(rows, next_cursor=cursor)

    @router.get(
        "/v1/scores/{score_id}",
        summary="Read a kept score",
        responses=problem_responses(ProblemType.NO_SUCH_RECORD, *READING_PROBLEMS),
    )
    async def read_score(score_id: ScoreId) -> ScoreRecord:
        """Return one kept score with its text."""
        stored = await run_in_threadpool(store.read_score, score_id)
        if stored is None:
            raise missing_record("score")
        return ScoreRecord.model_validate(to_row(stored))

    @router.get(
        "/v1/scores/{score_id}/lineage",
        summary="Trace a kept score back",
        responses=problem_responses(ProblemType.NO_SUCH_RECORD, *READING_PROBLEMS),
    )
    async def read_lineage(score_id: ScoreId) -> LineageAnswer:
        """Return what a score came in with, and its model down to the training run and the digests of the data."""
        found = await run_in_threadpool(store.read_lineage, score_id)
        if found is None:
            raise missing_record("score")
        return LineageAnswer.from_stored(*found, served_digest=holder.current.scorer.info.bundle_digest)

    @router.delete(
        "/v1/scores/{score_id}",
        summary="Delete a kept score",
        status_code=204,
        responses=problem_responses(ProblemType.NO_SUCH_RECORD, *READING_PROBLEMS),
    )
    async def delete_score(score_id: ScoreId, background: BackgroundTasks) -> None:
        """Delete one score with its text and feedback. Of a statement of a document the text goes with the document."""
        if not await run_in_threadpool(store.delete_score, score_id):
            raise missing_record("score")
        background.add_task(store.shed_deleted)

    @router.delete(
        "/v1/scores",
        summary="Delete kept scores by tag",
        responses=problem_responses(ProblemType.UNKNOWN_FIELD, *READING_PROBLEMS),
    )
    async def delete_scores(
        parameters: Annotated[DeletionParameters, Query()], background: BackgroundTasks
    ) -> DeletionAnswer:
        """Delete every score and document of a source, or with a `document_id`, with texts and feedback."""
        n_deleted = await run_in_threadpool(
            store.delete_matching, source=parameters.source, document_id=parameters.document_id
        )
        background.add_task(store.shed_deleted)
        return DeletionAnswer(n_deleted=n_deleted)

    return router


def _stream(store: ScoreStore, parameters: ScoreListParameters) -> Iterator[Rows]:
    portions = store.stream_scores(parameters.to_filter(), limit=parameters.limit, before_seq=parameters.before_seq)
    return ([to_row(stored) for stored in portion] for portion in portions)


def _read_page(
    store: ScoreStore, parameters: ScoreListParameters, size: int
) -> tuple[list[dict[str, Any]], str | None]:
    # One more than fits says whether there is a next page.
    found = store.list_scores(parameters.to_filter(), limit=size + 1, before_seq=parameters.before_seq)
    cursor = str(found[size - 1].seq) if len(found) > size else None
    return [to_row(stored) for stored in found[:size]], cursor


def _page_size(parameters: ScoreListParameters) -> int:
    limit = DEFAULT_PAGE if parameters.limit is None else parameters.limit
    if limit > MAX_PAGE:
        detail = f"A page of JSON has at most {MAX_PAGE} rows; follow next_cursor, or take format=ndjson for all."
        raise RefusedRequestError([Fault(ProblemType.INVALID_FIELD, detail, "/limit")])
    return limit
