"""The shapes of feedback, as it is sent and shown."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from credence.labels import DISCLAIMER, Outcome
from service.history.query_parameters import PageRequest, Time
from service.schemas import StrictRequest
from service.store.feedback_store import MAX_REASON_CHARS, FeedbackFilter, NewFeedback, StoredFeedback
from service.store.tables import MAX_TAG_CHARS

_TIME: Final = "ISO 8601 with an offset, as in 2026-03-01T00:00:00Z."


class FeedbackRequest(StrictRequest):
    """What somebody says of a stored score."""

    # JSON has neither ids nor labels of its own, so that these two are read from strings.
    score_id: Annotated[UUID, Field(strict=False, description="The score, as `score_id` of a result names it.")]
    proposed_label: Annotated[
        Outcome, Field(strict=False, description="What it should have been; `not_a_claim` stands for no label.")
    ]
    reason: Annotated[str | None, Field(max_length=MAX_REASON_CHARS, description="Why, in words of your own.")] = None
    reviewer: Annotated[
        Annotated[str, StringConstraints(strip_whitespace=True)] | None,
        Field(
            max_length=MAX_TAG_CHARS,
            description="Who says so: any name that stays the same. The same words again are then kept once.",
        ),
    ] = None

    def to_new(self) -> NewFeedback:
        """Return the feedback as it is kept."""
        return NewFeedback(self.score_id, self.proposed_label, self.reason, self.reviewer)


class FeedbackQuery(PageRequest):
    """Which feedback is asked for; what is not given does not matter."""

    is_dispute: bool | None = Field(None, description="true: only what disagrees with the score; false: only the rest.")
    score_id: UUID | None = Field(None, description="The id of the score that it is about.")
    since: Time | None = Field(None, description=f"Given from this time on: {_TIME}")
    until: Time | None = Field(None, description=f"Given before this time: {_TIME}")

    def to_filter(self) -> FeedbackFilter:
        """Return what the store is asked for."""
        return FeedbackFilter(self.is_dispute, self.score_id, self.since, self.until)


class FeedbackRow(BaseModel):
    """Feedback as it was kept."""

    id: UUID
    score_id: UUID
    created_at: datetime
    proposed_label: Outcome = Field(description="What it should have been; `not_a_claim` stands for no label.")
    is_dispute: bool = Field(description="Whether that is another than the outcome that was scored.")
    outcome: Outcome | None = Field(description="The outcome that was scored; null where the statement was not.")
    reason: str | None
    reviewer: str | None


class FeedbackAnswer(FeedbackRow):
    """Feedback that is kept now."""

    disclaimer: str = DISCLAIMER

    @classmethod
    def from_stored(cls, stored: StoredFeedback) -> Self:
        """Take over the fields of stored feedback."""
        return cls.model_validate(asdict(stored))


class FeedbackPage(BaseModel):
    """Feedback, newest first. ``next_cursor`` is null where there is no more."""

    rows: list[FeedbackRow]
    next_cursor: str | None
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_stored(cls, stored: Sequence[StoredFeedback], *, limit: int) -> Self:
        """Take over stored feedback, one more than fits on the page where there is a next one."""
        rows = [FeedbackRow.model_validate(asdict(row)) for row in stored[:limit]]
        return cls(rows=rows, next_cursor=str(stored[limit - 1].seq) if len(stored) > limit else None)
