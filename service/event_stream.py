"""Tells clients what happens, as server-sent events: each goes through the events at its own pace.

One task a process asks about twice a second whether anything was written. Only then does anybody read, and those who
are equally far share what was read.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Self

from fastapi.sse import ServerSentEvent
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from credence.labels import DISCLAIMER
from service.middleware import log_unexpected
from service.store.batch_queue import BATCH_EVENT
from service.store.database import StorageUnavailableError
from service.store.event_store import EventStore, ToldEvent
from service.store.feedback_store import FEEDBACK_EVENT
from service.store.records import NO_LABEL
from service.store.score_writes import SCORES_EVENT

EVENT_KINDS: Final = (SCORES_EVENT, BATCH_EVENT, FEEDBACK_EVENT)
POLL_SECONDS: Final = 0.5
RECONNECT_MILLISECONDS: Final = 3_000
_GAP: Final = "Events after the last one that you have seen are no longer kept; those that are kept follow."
_UNKNOWN: Final = "The last event that you have seen is not one of this database; what happens from now on follows."
# Numbers that place scores within the database are nobody else's business.
_INTERNAL: Final = frozenset({"first_seq", "last_seq"})


class TooManyStreamsError(Exception):
    """As many clients listen as may."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it is sent. ``rows`` are those of its scores; ``data`` is the whole as JSON."""

    seq: int
    kind: str
    head: dict[str, Any]
    rows: tuple[dict[str, Any], ...]
    data: str

    @classmethod
    def from_told(cls, told: ToldEvent) -> Self:
        """Say what is told of an event."""
        event = told.event
        payload = {name: value for name, value in event.payload.items() if name not in _INTERNAL}
        head = {"occurred_at": event.created_at, **payload}
        return cls(event.seq, event.kind, head, told.scores, _to_data(event.kind, head, told.scores))


@dataclass(frozen=True, slots=True)
class Page:
    """Messages that follow one another; see ``EventPage``."""

    messages: tuple[Message, ...]
    is_last: bool


@dataclass(frozen=True, slots=True)
class EventChoice:
    """What a client wants to hear. ``label`` may be ``none``; where it is null, scores with any label or none."""

    kinds: frozenset[str] = frozenset(EVENT_KINDS)
    label: str | None = None

    def to_event(self, message: Message) -> ServerSentEvent | None:
        """Return what is sent, or null where there is nothing of interest in it."""
        if message.kind not in self.kinds:
            return None
        data = message.data
        if message.kind == SCORES_EVENT:
            rows = [row for row in message.rows if self.label in (None, row["label"] or NO_LABEL)]
            if not rows:
                return None
            if len(rows) < len(message.rows):
                data = _to_data(message.kind, message.head, rows)
        return ServerSentEvent(id=str(message.seq), event=message.kind, raw_data=data)


class EventFeed:
    """What happens, for at most ``max_streams`` clients at a time. It is used in the thread of the event loop."""

    def __init__(self, store: EventStore, *, max_streams: int, poll_seconds: float = POLL_SECONDS) -> None:
        self._store = store
        self._max_streams = max_streams
        self._poll_seconds = poll_seconds
        self._n_streams = 0
        self._revision: int | None = None
        self._pages: dict[int, asyncio.Task[Page]] = {}
        self._readings: set[asyncio.Task[Page]] = set()
        self._changed = asyncio.Event()
        self._has_ended = False
        self._is_closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def n_streams(self) -> int:
        """Return how many clients listen."""
        return self._n_streams

    def start(self) -> None:
        """Begin to look for what happens."""
        self._has_ended = False
        self._is_closed.clear()
        self._task = asyncio.create_task(self._poll())

    def end_streams(self) -> None:
        """Let every stream end after what it is just sending."""
        self._has_ended = True
        self._wake()

    async def close(self) -> None:
        """End every stream and stop looking. When this returns nobody reads the database any more."""
        self.end_streams()
        self._is_closed.set()
        if self._task is not None:
            await self._task
        await asyncio.gather(*self._readings, return_exceptions=True)

    @contextmanager
    def take_place(self) -> Iterator[None]:
        """Count a client as long as the block lasts. Raises ``TooManyStreamsError``."""
        if self._n_streams >= self._max_streams:
            raise TooManyStreamsError
        self._n_streams += 1
        try:
            yield
        finally:
            self._n_streams -= 1

    async def open_stream(self, choice: EventChoice, last_seen: int | None) -> AsyncGenerator[ServerSentEvent]:
        """Return what a client is sent that has seen the events up to one, or that wants only what is new.

        Raises ``StorageUnavailableError``, but not the stream itself: it goes on when the database is back.
        """
        oldest, newest = await run_in_threadpool(self._store.read_bounds)
        start, gap = newest if last_seen is None else last_seen, None
        if start > newest:
            start, gap = newest, _UNKNOWN
        elif start < oldest - 1:
            gap = _GAP
        return self._stream(choice, start, newest, gap)

    async def _stream(
        self, choice: EventChoice, start: int, newest: int, gap: str | None
    ) -> AsyncGenerator[ServerSentEvent]:
        hello = {"last_event_id": str(newest), "disclaimer": DISCLAIMER}
        yield _notice("hello", hello, id=str(start), retry=RECONNECT_MILLISECONDS)
        if gap is not None:
            yield _notice("gap", {"detail": gap})
        seen = told = start
        while not self._has_ended:
            # Whoever waits for a change must have asked for it before reading, or would miss one in between.
            changed = self._changed
            page = await self._read_page(seen)
            for message in page.messages:
                seen = message.seq
                if (event := choice.to_event(message)) is not None:
                    told = seen
                    yield event
                if self._has_ended:
                    return
            if told < seen:
                # An id alone is no event for the client, but it resumes from there.
                told = seen
                yield ServerSentEvent(id=str(seen))
            if page.is_last:
                await changed.wait()

    async def _read_page(self, after_seq: int) -> Page:
        reading = self._pages.get(after_seq)
        if reading is None:
            reading = asyncio.create_task(run_in_threadpool(self._load_page, after_seq))
            self._pages[after_seq] = reading
            self._readings.add(reading)
            reading.add_done_callback(self._readings.discard)
        try:
            # A client that goes away must not take the others' page along.
            return await asyncio.shield(reading)
        except StorageUnavailableError:
            # Whoever has read nothing is woken as soon as the database answers.
            self._revision = None
            return Page((), is_last=True)

    def _load_page(self, after_seq: int) -> Page:
        page = self._store.read_page(after_seq)
        return Page(tuple(Message.from_told(told) for told in page.told), page.is_last)

    async def _poll(self) -> None:
        while not self._is_closed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._is_closed.wait()
            if self._n_streams:
                await self._look()

    async def _look(self) -> None:
        revision = None
        try:
            revision = await run_in_threadpool(self._store.read_revision)
        except StorageUnavailableError:
            pass
        except Exception as error:
            log_unexpected(error)
        # What was read is shared for a moment only, so that nothing is told of what has been deleted since.
        self._pages.clear()
        if revision is not None and revision != self._revision:
            self._wake()
        self._revision = revision

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _notice(name: str, data: dict[str, Any], **options: Any) -> ServerSentEvent:
    return ServerSentEvent(event=name, raw_data=to_json(data).decode(), **options)


def _to_data(kind: str, head: dict[str, Any], rows: Any) -> str:
    return to_json({**head, "rows": rows} if kind == SCORES_EVENT else head).decode()
