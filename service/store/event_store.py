"""Reads events for those who listen to them, with the scores that they are about, and deletes old ones."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select

from service.store.database import Database
from service.store.score_reads import read_score_range
from service.store.score_writes import SCORES_EVENT
from service.store.tables import events

MAX_PAGE_EVENTS: Final = 100
# A page ends with the event that fills it, so that no page holds much more.
MAX_PAGE_SCORES: Final = 2_000
DELETE_EVENTS: Final = 5_000


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """Something that happened. ``seq`` orders events by when they became visible; later ones have greater numbers."""

    seq: int
    created_at: datetime
    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToldEvent:
    """An event with what there is to tell of its scores, which is nothing for events of other kinds."""

    event: StoredEvent
    scores: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events that follow one another. ``is_last`` where there were no later ones when it was read."""

    told: tuple[ToldEvent, ...]
    is_last: bool


class EventStore:
    """What has happened. Every method is one transaction, and raises ``StorageUnavailableError``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_revision(self) -> int:
        """Return a number that rises with everything that is written."""
        return self._database.read_revision()

    def read_bounds(self) -> tuple[int, int]:
        """Return the numbers of the oldest and of the newest event that are kept; zeros where none ever was."""
        with self._database.reading() as connection:
            oldest, newest = connection.execute(select(func.min(events.c.seq), func.max(events.c.seq))).one()
        return oldest or 0, newest or 0

    def read_page(self, after_seq: int) -> EventPage:
        """Return the events that follow on one, the oldest first."""
        told: list[ToldEvent] = []
        n_scores = 0
        with self._database.reading() as connection:
            found = read_events(connection, after_seq, limit=MAX_PAGE_EVENTS)
            for event in found:
                if n_scores >= MAX_PAGE_SCORES:
                    break
                told.append(ToldEvent(event, tuple(read_event_scores(connection, event))))
                n_scores += len(told[-1].scores)
        return EventPage(tuple(told), len(told) == len(found) < MAX_PAGE_EVENTS)

    def delete_events_before(self, time: datetime) -> int:
        """Delete what happened before a time, and return how much.

        The newest event stays, however old: its number says where those who listen go on.
        """
        newest = select(func.max(events.c.seq)).scalar_subquery()
        old = select(events.c.seq).where(events.c.created_at < time, events.c.seq < newest).limit(DELETE_EVENTS)
        n_deleted = 0
        while True:
            with self._database.writing(takes_turn=False) as connection:
                n_events = connection.execute(delete(events).where(events.c.seq.in_(old))).rowcount
            n_deleted += n_events
            if not n_events:
                return n_deleted


def read_events(connection: Connection, after_seq: int, *, limit: int) -> list[StoredEvent]:
    """Return the events that follow on one, the oldest first."""
    query = select(events).where(events.c.seq > after_seq).order_by(events.c.seq).limit(limit)
    return [StoredEvent(**row._mapping) for row in connection.execute(query)]


def read_event_scores(connection: Connection, event: StoredEvent, label: str | None = None) -> list[dict[str, Any]]:
    """Return what there is to tell of the scores of an event; with a label, only of those that have it."""
    if event.kind != SCORES_EVENT:
        return []
    first, last = event.payload["first_seq"], event.payload["last_seq"]
    return read_score_range(connection, first_seq=first, last_seq=last, label=label)
