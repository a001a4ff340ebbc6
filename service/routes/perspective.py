"""``/v1alpha1/comments``: the two methods of the Perspective API, so that its tools move by changing the host.

A comment is kept as a document. A suggestion becomes feedback on the statements of the newest kept document with
exactly this text; where there is none, the comment is scored and kept first, if the service keeps what it scores.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Response
from starlette.concurrency import run_in_threadpool

from credence.errors import InvalidTextError
from credence.labels import DISCLAIMER, Outcome
from credence.normalise import check_text
from service.admission import admit_document
from service.api_description import BODY_PROBLEMS, WAITING_PROBLEMS, problem_responses
from service.door.api_keys import Scope
from service.door.auth import Caller, get_caller
from service.errors import ProblemType, RefusedRequestError, text_fault
from service.history.representations import DISCLAIMER_HEADER
from service.keeping import Keeper
from service.middleware import get_request_id
from service.perspective.comments import build_answer, choose_attributes, propose, read_document, read_suggestions
from service.perspective.errors import CommentRefusedError
from service.perspective.schemas import AnalyzeAnswer, AnalyzeRequest, SuggestAnswer, SuggestRequest
from service.schemas import DocumentRequest
from service.scoring.request_scoring import Scoring
from service.settings import Settings
from service.store.comment_search import CommentSearch
from service.store.feedback_store import FeedbackStore, NewFeedback

ANALYZE_PATH: Final = "/v1alpha1/comments:analyze"
SUGGEST_PATH: Final = "/v1alpha1/comments:suggestscore"
_PROBLEMS: Final = problem_responses(
    *BODY_PROBLEMS, *WAITING_PROBLEMS, ProblemType.INVALID_HEADER, ProblemType.STORAGE_UNAVAILABLE
)
_KEPT_NOWHERE: Final = (
    "No score of this comment is kept, and this service keeps what it scores only where a request says so: score the "
    "comment with POST /v1/documents and store: true first."
)
_MAY_NOT_SCORE: Final = (
    "No score of this comment is kept, and this key may not have it scored: analyze it first, or take a key with the "
    "scope score."
)
_GONE: Final = "The score that this is about was deleted just now."
_DISCLAIMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"headers": {DISCLAIMER_HEADER: {"schema": {"type": "string"}, "description": DISCLAIMER}}}
}


def build_perspective_router(
    settings: Settings, keeper: Keeper, search: CommentSearch, feedback: FeedbackStore
) -> APIRouter:
    """Return the routes of the Perspective API."""
    router = APIRouter(tags=["Perspective API"])

    @router.post(
        ANALYZE_PATH,
        summary="Score a comment as the Perspective API does",
        response_model_exclude_none=True,
        responses={**_PROBLEMS, **_DISCLAIMED},
    )
    async def analyze(
        request: Annotated[AnalyzeRequest, Body()],
        scoring: Scoring,
        request_id: Annotated[UUID, Depends(get_request_id)],
        response: Response,
    ) -> AnalyzeAnswer:
        """Return how probable each asked outcome is: the highest of the comment's statements, and each by its span.

        TOXICITY and the like are not here. Offsets count UTF-16 code units. The key may stand in the query as `key`.
        """
        wanted = choose_attributes(request)
        comment = read_document(request, store=False if request.do_not_store else None)
        admit_document(comment, settings)
        scored = await scoring.score_document(comment.text, comment.language)
        answer = build_answer(request, wanted, scored.document)
        is_kept = keeper.keeps(comment)
        with scoring.answering(len(scored.document.statements), is_kept=is_kept):
            if is_kept:
                await keeper.keep_document(comment, scored.document, info=scored.info, request_id=request_id, key=None)
        response.headers[DISCLAIMER_HEADER] = DISCLAIMER
        return answer

    @router.post(
        SUGGEST_PATH,
        summary="Suggest scores of a comment as the Perspective API does",
        response_model_exclude_none=True,
        responses={**_PROBLEMS, **_DISCLAIMED},
    )
    async def suggest(
        request: Annotated[SuggestRequest, Body()],
        scoring: Scoring,
        request_id: Annotated[UUID, Depends(get_request_id)],
        caller: Annotated[Caller, Depends(get_caller)],
        response: Response,
    ) -> SuggestAnswer:
        """Keep what statements of a comment should have been, as feedback on the newest score of exactly this text.

        The attribute with the highest value, 0.5 at least, is what is proposed. Of a comment that was not kept, a score
        is made and kept first, for which the key needs the scope score, too.
        """
        suggestions, reviewer = read_suggestions(request), _read_reviewer(request)
        comment = read_document(request)
        admit_document(comment, settings)
        kept = await run_in_threadpool(search.find, comment.text, source=comment.source)
        if kept is not None:
            proposed = propose(suggestions, comment.text, [statement.score for statement in kept.statements])
            score_ids: Sequence[UUID | None] = [statement.id for statement in kept.statements]
        else:
            _require_leave(keeper, comment, caller)
            scored = await scoring.score_document(comment.text, comment.language)
            # Nothing is kept where the suggestion makes no sense.
            proposed = propose(suggestions, comment.text, scored.document.statements)
            with scoring.answering(len(scored.document.statements), is_kept=True):
                answer = await keeper.keep_document(
                    comment, scored.document, info=scored.info, request_id=request_id, key=None
                )
            score_ids = [statement.score_id for statement in answer.statements]
        said = [(score_ids[index], outcome) for index, outcome in proposed.items()]
        await run_in_threadpool(_keep_feedback, feedback, said, reviewer)
        response.headers[DISCLAIMER_HEADER] = DISCLAIMER
        return SuggestAnswer(client_token=request.client_token, requested_languages=request.languages)

    return router


def _require_leave(keeper: Keeper, comment: DocumentRequest, caller: Caller) -> None:
    if not keeper.keeps(comment):
        raise CommentRefusedError(_KEPT_NOWHERE, status="FAILED_PRECONDITION")
    if Scope.SCORE not in caller.scopes:
        raise CommentRefusedError(_MAY_NOT_SCORE, code=403, status="PERMISSION_DENIED")


def _read_reviewer(request: SuggestRequest) -> str | None:
    reviewer = (request.session_id or "").strip() or None
    try:
        if reviewer is not None:
            check_text(reviewer)
    except InvalidTextError as error:
        raise RefusedRequestError([text_fault(error, "/sessionId")]) from None
    return reviewer


def _keep_feedback(store: FeedbackStore, said: Sequence[tuple[UUID | None, Outcome]], reviewer: str | None) -> None:
    for score_id, outcome in said:
        kept = None if score_id is None else store.keep(NewFeedback(score_id, outcome, reviewer=reviewer))
        if kept is None:
            raise CommentRefusedError(_GONE, code=404, status="NOT_FOUND")
