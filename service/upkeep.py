"""Deletes what is older than it is to be kept: a thread that looks soon after the start and then every ten minutes."""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from threading import Event, Thread
from typing import Final

from service.middleware import log_unexpected
from service.settings import Settings
from service.store.database import Database, StorageUnavailableError
from service.store.event_store import EventStore
from service.store.score_store import ScoreStore, utc_now
from service.store.webhook_store import WebhookStore

IDEMPOTENCY_KEY_AGE: Final = timedelta(days=7)
EVENT_AGE: Final = timedelta(days=7)
DELIVERY_AGE: Final = timedelta(days=30)
# A machine that has just started may still be setting its clock.
FIRST_RUN_SECONDS: Final = 60.0
INTERVAL_SECONDS: Final = 600.0
MAX_CLOCK_JUMP: Final = timedelta(hours=1)
_CLOSE_SECONDS: Final = 10.0
_LOGGER: Final = logging.getLogger("service")


@dataclass(frozen=True, slots=True)
class UpkeepTask:
    """Something that is kept for a time. ``delete_before`` deletes what is older and returns how much that was.

    ``is_private`` says whether words of callers are in it, of which nothing may be left.
    """

    name: str
    age: timedelta
    delete_before: Callable[[datetime], int]
    is_private: bool = True


def build_tasks(settings: Settings, database: Database) -> list[UpkeepTask]:
    """Return what is kept for a time, but for batches."""
    scores, events, webhooks = ScoreStore(database), EventStore(database), WebhookStore(database)
    tasks = [
        UpkeepTask("idempotency keys", IDEMPOTENCY_KEY_AGE, scores.forget_keys_before),
        UpkeepTask("events", EVENT_AGE, events.delete_events_before, is_private=False),
        UpkeepTask("webhook deliveries", DELIVERY_AGE, webhooks.delete_deliveries_before, is_private=False),
    ]
    if settings.retention_days is not None:
        tasks.append(UpkeepTask("scores", timedelta(days=settings.retention_days), scores.delete_before))
    return tasks


def read_elapsed() -> float:
    """Return seconds since some moment, by a clock that nobody sets and that goes on while the machine sleeps."""
    if sys.platform == "win32":
        return time.monotonic()
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Upkeep:
    """Runs tasks one after the other, in a thread of its own.

    Where the wall clock has jumped since the start nothing is deleted until the service is started again: a clock that
    is wrong by years would make everything look old.
    """

    def __init__(
        self,
        tasks: Sequence[UpkeepTask],
        *,
        shed_deleted: Callable[[], None],
        tidy_deleted: Callable[[], None],
        now: Callable[[], datetime] = utc_now,
        elapsed: Callable[[], float] = read_elapsed,
    ) -> None:
        self._tasks = tasks
        self._shed_deleted = shed_deleted
        self._tidy_deleted = tidy_deleted
        self._now = now
        self._elapsed = elapsed
        self._started_at, self._started_elapsed = now(), elapsed()
        self._has_jumped = False
        self._is_closed = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._is_closed.clear()
        self._thread = Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the task that is running. A long one is not waited for: what it leaves, the next start deletes."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join(timeout=_CLOSE_SECONDS)

    def run_once(self) -> None:
        """Run every task, whether the others fail or not, and let go of what the deleted rows have left."""
        now = self._now()
        if self._clock_has_jumped(now):
            _LOGGER.warning(
                "upkeep: the clock was set by more than an hour since the start, so nothing is deleted for its age; "
                "check the clock and restart the service"
            )
        else:
            for task in self._tasks:
                if not self._is_closed.is_set():
                    _attempt(task.name, partial(self._delete, task, now))
        if not self._is_closed.is_set():
            _attempt("what was deleted", self._tidy_deleted)

    def _run(self) -> None:
        seconds = FIRST_RUN_SECONDS
        while not self._is_closed.wait(seconds):
            self.run_once()
            seconds = INTERVAL_SECONDS

    def _clock_has_jumped(self, now: datetime) -> bool:
        expected = self._started_at + timedelta(seconds=self._elapsed() - self._started_elapsed)
        self._has_jumped = self._has_jumped or abs(now - expected) > MAX_CLOCK_JUMP
        return self._has_jumped

    def _delete(self, task: UpkeepTask, now: datetime) -> None:
        n_deleted = task.delete_before(now - task.age)
        if n_deleted:
            _LOGGER.info("upkeep: %d %s deleted for their age", n_deleted, task.name)
            if task.is_private:
                self._shed_deleted()


def _attempt(name: str, work: Callable[[], None]) -> None:
    try:
        work()
    except StorageUnavailableError as error:
        _LOGGER.warning("upkeep: %s: %s", name, error)
    except Exception as error:
        log_unexpected(error)
