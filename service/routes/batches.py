"""``/v1/batches``: files of rows that are scored in the background."""

from dataclasses import replace
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from service.api_description import problem_responses
from service.batches.batches import Batches
from service.batches.intake import read_declaration, read_length
from service.batches.media_types import MEDIA_TYPES
from service.batches.quota import BatchQuota
from service.batches.results import BatchResults
from service.batches.schemas import BatchAnswer, BatchList, BatchQuery, DeleteQuery, ResultsQuery
from service.door.auth import Caller, get_caller
from service.errors import ProblemType, missing_record
from service.history.query_parameters import PageRequest
from service.keeping import IdempotencyKey, check_key
from service.middleware import get_request_id
from service.settings import Settings
from service.store.batch_records import Batch, NewBatch

BATCHES_PATH: Final = "/v1/batches"
UPLOAD_ROUTE: Final = ("POST", BATCHES_PATH)
_BATCH_PATH: Final = f"{BATCHES_PATH}/{{batch_id}}"
_QUERY_PROBLEMS: Final = (
    ProblemType.UNKNOWN_FIELD,
    ProblemType.INVALID_FIELD,
    ProblemType.STORAGE_UNAVAILABLE,
    ProblemType.INTERNAL_ERROR,
)
_ENTRY_PROBLEMS: Final = (
    ProblemType.UNSUPPORTED_ROW_FORMAT,
    ProblemType.BODY_TOO_LARGE,
    ProblemType.BODY_INCOMPLETE,
    ProblemType.INSUFFICIENT_STORAGE,
    ProblemType.INVALID_ROW_FILE,
    ProblemType.INVALID_HEADER,
    ProblemType.TOO_MANY_BATCHES,
    *_QUERY_PROBLEMS,
)
_FILE: Final = {"schema": {"type": "string", "format": "binary"}}
_BODY: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": dict.fromkeys(MEDIA_TYPES, _FILE)}}
BatchId = Annotated[UUID, Path(description="The batch.")]


def build_batches_router(settings: Settings, batches: Batches) -> APIRouter:
    """Return the routes of batches."""
    router = APIRouter(tags=["batches"])
    store, spool = batches.store, batches.spool
    results = BatchResults(store, spool)
    quota = BatchQuota(store, settings)

    @router.post(
        BATCHES_PATH,
        summary="Have a file of rows scored in the background",
        status_code=202,
        responses={
            **problem_responses(*_ENTRY_PROBLEMS),
            200: {"model": BatchAnswer, "description": "A batch was entered under this Idempotency-Key before."},
        },
        openapi_extra=_BODY,
    )
    async def enter_batch(
        request: Request,
        response: Response,
        query: Annotated[BatchQuery, Query()],
        request_id: Annotated[UUID, Depends(get_request_id)],
        caller: Annotated[Caller, Depends(get_caller)],
        idempotency_key: IdempotencyKey = None,
    ) -> BatchAnswer:
        """Take in a file of rows as the body. What is answered is on disk: no end of the process loses a row.

        The rows have id and text, and may have language, source, author and document_id.
        """
        batch, is_new = None, False
        if idempotency_key is not None:
            check_key(idempotency_key)
            batch = await run_in_threadpool(store.find_key, idempotency_key)
        if batch is None:
            new = replace(_read_new(request, query, request_id, idempotency_key), key_prefix=caller.key_prefix)
            declared_bytes = read_length(request.headers)
            async with quota.hold(caller):
                batch, is_new = await batches.intake.receive(request.stream(), declared_bytes, new)
        if not is_new:
            response.status_code = 200
        response.headers["Location"] = f"{BATCHES_PATH}/{batch.id}"
        return await run_in_threadpool(_answer, batch)

    def _read_new(request: Request, query: BatchQuery, batch_id: UUID, key: str | None) -> NewBatch:
        file_format, encoding = read_declaration(request.headers)
        is_stored = settings.store_by_default if query.store is None else query.store
        return NewBatch(
            id=batch_id,
            idempotency_key=key,
            format=file_format.removeprefix("."),
            encoding=encoding,
            n_bytes=0,
            is_stored=is_stored,
            source=query.source if is_stored else None,
            author=query.author if is_stored else None,
            spool_id=spool.id,
        )

    @router.get(BATCHES_PATH, summary="List batches", responses=problem_responses(*_QUERY_PROBLEMS))
    async def list_batches(query: Annotated[PageRequest, Query()]) -> BatchList:
        """Return batches, the newest first."""
        # One more than fits says whether there is a next page.
        found = await run_in_threadpool(store.list_batches, limit=query.limit + 1, before_seq=query.before_seq)
        rows = await run_in_threadpool(lambda: [_answer(batch) for batch in found[: query.limit]])
        return BatchList(rows=rows, next_cursor=str(found[query.limit - 1].seq) if len(found) > query.limit else None)

    @router.get(
        _BATCH_PATH,
        summary="Say how a batch stands",
        responses=problem_responses(ProblemType.NO_SUCH_RECORD, *_QUERY_PROBLEMS),
    )
    async def describe_batch(batch_id: BatchId) -> BatchAnswer:
        """Return the progress of a batch, with its rate and the time left."""
        return await run_in_threadpool(lambda: _answer(_require(batch_id)))

    @router.get(
        f"{_BATCH_PATH}/results",
        summary="Fetch the results of a batch",
        response_class=StreamingResponse,
        responses={
            **problem_responses(
                ProblemType.NO_SUCH_RECORD,
                ProblemType.BATCH_NOT_ENDED,
                ProblemType.RESULTS_ELSEWHERE,
                *_QUERY_PROBLEMS,
            ),
            200: {"description": "A row for each row of the file.", "content": dict.fromkeys(MEDIA_TYPES, _FILE)},
        },
    )
    async def fetch_results(batch_id: BatchId, query: Annotated[ResultsQuery, Query()]) -> StreamingResponse:
        """Return a row for each row of the file in its order: the result, or why it could not be scored.

        Of a batch that was cancelled these are the first rows, and X-Credence-Incomplete says so; of one that failed,
        the rows up to where the file could not be read.
        """
        return await run_in_threadpool(lambda: results.open(_require(batch_id), query.row_format))

    @router.post(
        f"{_BATCH_PATH}/cancel",
        summary="Cancel a batch",
        responses=problem_responses(ProblemType.NO_SUCH_RECORD, *_QUERY_PROBLEMS),
    )
    async def cancel_batch(batch_id: BatchId) -> BatchAnswer:
        """End a batch where it stands. What is done can be fetched; a batch that has ended stays as it is."""
        batch = await run_in_threadpool(store.cancel, batch_id)
        if batch is None:
            raise missing_record("batch")
        await run_in_threadpool(spool.delete_texts, batch_id)
        return await run_in_threadpool(_answer, batch)

    @router.delete(
        _BATCH_PATH,
        summary="Delete a batch",
        status_code=204,
        responses=problem_responses(ProblemType.NO_SUCH_RECORD, *_QUERY_PROBLEMS),
    )
    async def delete_batch(batch_id: BatchId, query: Annotated[DeleteQuery, Query()]) -> None:
        """Delete a batch with its file and results, whether it has ended or not; its stored scores too if asked."""
        if not await run_in_threadpool(store.delete, batch_id, with_scores=query.scores):
            raise missing_record("batch")
        await run_in_threadpool(spool.delete_batch, batch_id)

    def _require(batch_id: UUID) -> Batch:
        batch = store.read(batch_id)
        if batch is None:
            raise missing_record("batch")
        return batch

    def _answer(batch: Batch) -> BatchAnswer:
        return BatchAnswer.from_batch(batch, store.read_pace(batch))

    return router
