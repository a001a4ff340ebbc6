"""``/v1/feedback``: what reviewers say of stored scores. It is kept apart from them and counts against no quota."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Response
from starlette.concurrency import run_in_threadpool

from credence.errors import InvalidTextError
from credence.normalise import check_text
from service.api_description import problem_responses
from service.errors import Fault, ProblemType, RefusedRequestError, missing_record, text_fault
from service.feedback.schemas import FeedbackAnswer, FeedbackPage, FeedbackQuery, FeedbackRequest
from service.history.query_parameters import PageRequest
from service.store.feedback_store import FeedbackFilter, FeedbackStore

_READ_PROBLEMS: Final = (
    ProblemType.UNKNOWN_FIELD,
    ProblemType.INVALID_FIELD,
    ProblemType.STORAGE_UNAVAILABLE,
    ProblemType.INTERNAL_ERROR,
)
_WRITE_PROBLEMS: Final = (
    ProblemType.INVALID_JSON,
    ProblemType.INVALID_ENCODING,
    ProblemType.BODY_TOO_LARGE,
    ProblemType.UNSUPPORTED_MEDIA_TYPE,
    ProblemType.MISSING_FIELD,
    ProblemType.TEXT_EMPTY,
    ProblemType.TEXT_CONTROL_CHARACTER,
    ProblemType.TEXT_LONE_SURROGATE,
    ProblemType.NO_SUCH_RECORD,
    *_READ_PROBLEMS,
)


def build_feedback_router(store: FeedbackStore) -> APIRouter:
    """Return the routes of feedback."""
    router = APIRouter(tags=["feedback"])

    @router.post(
        "/v1/feedback",
        summary="Say what a score should have been",
        status_code=201,
        responses={
            **problem_responses(*_WRITE_PROBLEMS),
            200: {"model": FeedbackAnswer, "description": "This reviewer's latest word on the score was the same."},
        },
    )
    async def keep_feedback(request: Annotated[FeedbackRequest, Body()], response: Response) -> FeedbackAnswer:
        """Keep the label that a stored score should have had, apart from the score. It counts against no quota.

        The score stays as it is, and is shown as disputed from now on if the label is another than its outcome.
        """
        admit_feedback(request)
        kept = await run_in_threadpool(store.keep, request.to_new())
        if kept is None:
            raise missing_record("score")
        if not kept.is_new:
            response.status_code = 200
        return FeedbackAnswer.from_stored(kept.feedback)

    @router.get("/v1/feedback", summary="List feedback", responses=problem_responses(*_READ_PROBLEMS))
    async def list_feedback(query: Annotated[FeedbackQuery, Query()]) -> FeedbackPage:
        """Return feedback on all scores, newest first."""
        return await _read_page(store, query.to_filter(), query)

    @router.get(
        "/v1/scores/{score_id}/feedback",
        summary="List the feedback on a score",
        responses=problem_responses(ProblemType.NO_SUCH_RECORD, *_READ_PROBLEMS),
    )
    async def list_score_feedback(
        score_id: Annotated[UUID, Path()], query: Annotated[PageRequest, Query()]
    ) -> FeedbackPage:
        """Return the feedback on one score, newest first."""
        page = await _read_page(store, FeedbackFilter(score_id=score_id), query)
        if not page.rows and not await run_in_threadpool(store.has_score, score_id):
            raise missing_record("score")
        return page

    @router.delete(
        "/v1/feedback/{feedback_id}",
        summary="Delete feedback",
        status_code=204,
        responses=problem_responses(
            ProblemType.NO_SUCH_RECORD,
            ProblemType.INVALID_FIELD,
            ProblemType.STORAGE_UNAVAILABLE,
            ProblemType.INTERNAL_ERROR,
        ),
    )
    async def delete_feedback(feedback_id: Annotated[UUID, Path()]) -> None:
        """Delete one piece of feedback; the score stays."""
        if not await run_in_threadpool(store.delete, feedback_id):
            raise missing_record("feedback")

    return router


def admit_feedback(request: FeedbackRequest) -> None:
    """Let feedback through, or raise ``RefusedRequestError`` with every fault in it."""
    faults: list[Fault] = []
    for name in ("reason", "reviewer"):
        value = getattr(request, name)
        try:
            if value is not None:
                check_text(value)
        except InvalidTextError as error:
            faults.append(text_fault(error, f"/{name}"))
    if faults:
        raise RefusedRequestError(faults)


async def _read_page(store: FeedbackStore, chosen: FeedbackFilter, page: PageRequest) -> FeedbackPage:
    # One more than fits says whether there is a next page.
    found = await run_in_threadpool(store.list_feedback, chosen, limit=page.limit + 1, before_seq=page.before_seq)
    return FeedbackPage.from_stored(found, limit=page.limit)
