"""Keeps what reviewers say of scores, apart from the scores, and finds and deletes it again."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select

from credence.labels import Outcome
from service.store.database import Database
from service.store.score_store import utc_now
from service.store.score_writes import insert_event
from service.store.tables import feedback, scores

FEEDBACK_EVENT: Final = "feedback"
MAX_REASON_CHARS: Final = 2_000
_SELECT: Final = select(feedback, scores.c.id.label("score_id"), scores.c.outcome).select_from(
    feedback.join(scores, scores.c.seq == feedback.c.score_seq)
)


@dataclass(frozen=True, slots=True)
class NewFeedback:
    """What somebody says of a score: the label that it should have had; ``not_a_claim`` stands for none."""

    score_id: UUID
    proposed_label: Outcome
    reason: str | None = None
    reviewer: str | None = None


@dataclass(frozen=True, slots=True)
class StoredFeedback:
    """Feedback as it was kept. ``seq`` orders it by when it became visible; ``outcome`` is the score's."""

    seq: int
    id: UUID
    score_id: UUID
    created_at: datetime
    proposed_label: Outcome
    is_dispute: bool
    outcome: Outcome | None
    reason: str | None
    reviewer: str | None


@dataclass(frozen=True, slots=True)
class KeptFeedback:
    """Feedback that is kept now; ``is_new`` is false where the reviewer's latest word on the score was the same."""

    feedback: StoredFeedback
    is_new: bool


@dataclass(frozen=True, slots=True)
class FeedbackFilter:
    """Which feedback is asked for; what is null does not matter. Times are from ``since`` on and before ``until``."""

    is_dispute: bool | None = None
    score_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


class FeedbackStore:
    """What is kept of feedback. Every method is whole transactions, and raises ``StorageUnavailableError``."""

    def __init__(self, database: Database, *, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    def keep(self, new: NewFeedback) -> KeptFeedback | None:
        """Keep feedback, with the event that says so; null where there is no such score.

        A reviewer who says again what was that reviewer's latest word on the score is kept once. Without a name nobody
        can be known again, so that every word is kept.
        """
        # Whoever knows no score, or repeats a word, need not take the turn from those who write.
        with self._database.reading() as connection:
            score = _find_score(connection, new.score_id)
            if score is None:
                return None
            if (earlier := _find_same(connection, new)) is not None:
                return KeptFeedback(earlier, is_new=False)
        with self._database.writing() as connection:
            score = _find_score(connection, new.score_id)
            if score is None:
                return None
            if (earlier := _find_same(connection, new)) is not None:
                return KeptFeedback(earlier, is_new=False)
            return KeptFeedback(_insert(connection, new, score, at=self._now()), is_new=True)

    def list_feedback(
        self, chosen: FeedbackFilter, *, limit: int, before_seq: int | None = None
    ) -> list[StoredFeedback]:
        """Return the newest feedback that a filter lets through, newest first."""
        query = _SELECT.where(*_conditions(chosen)).order_by(feedback.c.seq.desc()).limit(limit)
        if before_seq is not None:
            query = query.where(feedback.c.seq < before_seq)
        with self._database.reading() as connection:
            return [_to_stored(row) for row in connection.execute(query)]

    def has_score(self, score_id: UUID) -> bool:
        """Say whether there is a score to give feedback on."""
        with self._database.reading() as connection:
            return _find_score(connection, score_id) is not None

    def delete(self, feedback_id: UUID) -> bool:
        """Delete feedback, and say whether it was there."""
        with self._database.writing() as connection:
            return connection.execute(delete(feedback).where(feedback.c.id == feedback_id)).rowcount > 0


def _find_score(connection: Connection, score_id: UUID) -> Row[Any, Any] | None:
    return connection.execute(select(scores.c.seq, scores.c.outcome).where(scores.c.id == score_id)).one_or_none()


def _find_same(connection: Connection, new: NewFeedback) -> StoredFeedback | None:
    """Return the reviewer's latest word on the score, where it is the same as the new one."""
    if new.reviewer is None:
        return None
    query = _SELECT.where(scores.c.id == new.score_id, feedback.c.reviewer == new.reviewer)
    latest = connection.execute(query.order_by(feedback.c.seq.desc()).limit(1)).one_or_none()
    is_same = latest is not None and (latest.proposed_label, latest.reason) == (new.proposed_label, new.reason)
    return _to_stored(latest) if latest is not None and is_same else None


def _insert(connection: Connection, new: NewFeedback, score: Row[Any, Any], *, at: datetime) -> StoredFeedback:
    given = asdict(new)
    del given["score_id"]
    # What was not scored has no outcome, and whoever says that it should have no label agrees.
    is_dispute = new.proposed_label != (score.outcome or Outcome.NOT_A_CLAIM)
    values = {**given, "id": uuid4(), "created_at": at, "is_dispute": is_dispute}
    query = insert(feedback).values(score_seq=score.seq, **values).returning(feedback.c.seq)
    seq = int(connection.execute(query).scalar_one())
    payload = {
        "feedback_id": str(values["id"]),
        "score_id": str(new.score_id),
        "proposed_label": new.proposed_label,
        "is_dispute": is_dispute,
    }
    insert_event(connection, FEEDBACK_EVENT, payload, at=at)
    outcome = Outcome(score.outcome) if score.outcome is not None else None
    return StoredFeedback(seq=seq, score_id=new.score_id, outcome=outcome, **values)


def _conditions(chosen: FeedbackFilter) -> list[ColumnElement[bool]]:
    bounds = (
        (chosen.is_dispute, feedback.c.is_dispute.is_),
        (chosen.score_id, scores.c.id.__eq__),
        (chosen.since, feedback.c.created_at.__ge__),
        (chosen.until, feedback.c.created_at.__lt__),
    )
    return [compare(value) for value, compare in bounds if value is not None]


def _to_stored(row: Row[Any]) -> StoredFeedback:
    return StoredFeedback(
        seq=row.seq,
        id=row.id,
        score_id=row.score_id,
        created_at=row.created_at,
        proposed_label=Outcome(row.proposed_label),
        is_dispute=row.is_dispute,
        outcome=Outcome(row.outcome) if row.outcome is not None else None,
        reason=row.reason,
        reviewer=row.reviewer,
    )
