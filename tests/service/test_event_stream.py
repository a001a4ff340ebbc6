import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from fastapi.sse import ServerSentEvent

from credence.labels import DISCLAIMER
from service.event_stream import EventChoice, EventFeed, TooManyStreamsError
from service.store.database import Database, StorageUnavailableError
from service.store.event_store import EventPage, EventStore
from service.store.score_store import ScoreStore, utc_now
from tests.service.happenings import happen, keep

PATIENCE_SECONDS = 30
TEXTS = ("The court met on Monday.", "He claims that it rained.", "They secretly run the world.", "Too short")


class FlakyStore(EventStore):
    """Counts what it is asked, and can be away."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.is_away = False
        self.pages: list[int] = []
        self.n_looks = 0

    def read_revision(self) -> int:
        self.n_looks += 1
        self._answer()
        return super().read_revision()

    def read_page(self, after_seq: int) -> EventPage:
        self.pages.append(after_seq)
        self._answer()
        return super().read_page(after_seq)

    def _answer(self) -> None:
        if self.is_away:
            raise StorageUnavailableError("the database did not answer")


@pytest.fixture
def events(database: Database) -> FlakyStore:
    return FlakyStore(database)


def listen(store: EventStore, act: Callable[[EventFeed], Awaitable[None]], *, max_streams: int = 100) -> None:
    """Let somebody listen to a feed that looks often."""

    async def run() -> None:
        feed = EventFeed(store, max_streams=max_streams, poll_seconds=0.005)
        feed.start()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await act(feed)
        finally:
            await feed.close()

    asyncio.run(run())


async def hear(
    feed: EventFeed, n_events: int, *, last_seen: int | None = None, **choice: Any
) -> list[tuple[str | None, str | None, Any]]:
    """Return id, kind and data of what is sent first."""
    with feed.take_place():
        async with aclosing(await feed.open_stream(EventChoice(**choice), last_seen)) as stream:
            return [plain(await anext(stream)) for _ in range(n_events)]


def plain(event: ServerSentEvent) -> tuple[str | None, str | None, Any]:
    return event.id, event.event, json.loads(event.raw_data) if event.raw_data else None


@pytest.mark.on_both_databases
def test_what_is_kept_is_told_without_its_text(events: FlakyStore, database: Database) -> None:
    async def act(feed: EventFeed) -> None:
        with feed.take_place():
            async with aclosing(await feed.open_stream(EventChoice(), None)) as stream:
                hello = plain(await anext(stream))
                new = await asyncio.to_thread(keep, database, *TEXTS, source="wire", author="me", document_id="d-1")
                await asyncio.to_thread(happen, database, "batch", batch_id="b-1", state="done")
                scores, batch = plain(await anext(stream)), plain(await anext(stream))
        assert hello == ("0", "hello", {"last_event_id": "0", "disclaimer": DISCLAIMER})
        assert scores[:2] == ("1", "scores")
        assert set(scores[2]) == {"occurred_at", "n_scores", "request_id", "batch_id", "rows"}
        assert [row["score_id"] for row in scores[2]["rows"]] == [str(n.id) for n in new]
        row = scores[2]["rows"][0]
        assert row.pop("scored_at") == scores[2]["occurred_at"]
        assert scores[2]["occurred_at"].endswith("Z")
        assert row == {
            **{"score_id": str(new[0].id), "label": "factual_report", "reason": None, "outcome": "factual_report"},
            **{"confidence": 0.7, "language": "en", "source": "wire", "author": "me", "document_id": "d-1"},
            "model_version": "tiny-1",
        }
        assert not any(text in str(scores) for text in TEXTS)
        assert (batch[:2], batch[2]["state"]) == (("2", "batch"), "done")

    listen(events, act)


def test_a_stream_begins_with_what_is_new_or_after_what_was_seen(events: FlakyStore, database: Database) -> None:
    for number in range(3):
        happen(database, "batch", number=number)

    async def act(feed: EventFeed) -> None:
        heard = await hear(feed, 3, last_seen=1)
        assert heard[0] == ("1", "hello", {"last_event_id": "3", "disclaimer": DISCLAIMER})
        assert [(seq, data["number"]) for seq, _, data in heard[1:]] == [("2", 1), ("3", 2)]
        assert [seq for seq, *_ in await hear(feed, 4, last_seen=0)] == ["0", "1", "2", "3"]
        assert (await hear(feed, 1))[0][0] == "3"

    listen(events, act)


def test_nothing_is_lost_and_nothing_doubled_between_streams_that_follow_one_another(
    events: FlakyStore, database: Database
) -> None:
    async def act(feed: EventFeed) -> None:
        def write() -> None:
            for number in range(60):
                happen(database, "batch", number=number)

        writing = asyncio.create_task(asyncio.to_thread(write))
        seen, numbers = 0, list[int]()
        while len(numbers) < 60:
            heard = await hear(feed, 8 if len(numbers) + 7 <= 60 else 61 - len(numbers), last_seen=seen)
            numbers += [data["number"] for _, kind, data in heard if kind == "batch"]
            seen = int(heard[-1][0] or 0)
        await writing
        assert numbers == list(range(60))

    listen(events, act)


def test_a_client_hears_only_of_the_kinds_and_labels_it_names(events: FlakyStore, database: Database) -> None:
    async def act(feed: EventFeed) -> None:
        keep(database, TEXTS[0])
        happen(database, "feedback", score_id="s-1")
        keep(database, *TEXTS)
        feedback = await hear(feed, 3, last_seen=0, kinds=frozenset({"feedback"}))
        assert feedback[1][:2] == ("2", "feedback")
        # What is left out moves the id on, so that a client that comes back need not go through it again.
        assert feedback[2] == ("3", None, None)
        allegations = await hear(feed, 2, last_seen=0, kinds=frozenset({"scores", "batch"}), label="allegation")
        assert allegations[1][:2] == ("3", "scores")
        assert [row["label"] for row in allegations[1][2]["rows"]] == ["allegation"]
        assert allegations[1][2]["n_scores"] == 4
        unlabelled = await hear(feed, 3, last_seen=0, label="none")
        assert [kind for _, kind, _ in unlabelled] == ["hello", "feedback", "scores"]
        assert [row["reason"] for row in unlabelled[2][2]["rows"]] == ["too_short"]

    listen(events, act)


def test_scores_that_were_deleted_since_are_not_told(events: FlakyStore, database: Database) -> None:
    gone, halved = keep(database, TEXTS[0]), keep(database, TEXTS[0], TEXTS[1])
    for score in (gone[0], halved[0]):
        ScoreStore(database).delete_score(score.id)

    async def act(feed: EventFeed) -> None:
        heard = await hear(feed, 2, last_seen=0)
        assert [row["score_id"] for row in heard[1][2]["rows"]] == [str(halved[1].id)]

    listen(events, act)


def test_who_has_missed_events_for_good_is_told_so(events: FlakyStore, database: Database) -> None:
    for number in range(3):
        happen(database, "batch", number=number)
    events.delete_events_before(utc_now())

    async def act(feed: EventFeed) -> None:
        heard = await hear(feed, 3, last_seen=1)
        assert [kind for _, kind, _ in heard] == ["hello", "gap", "batch"]
        assert "no longer kept" in heard[1][2]["detail"]
        assert [kind for _, kind, _ in await hear(feed, 2, last_seen=2)] == ["hello", "batch"]
        foreign = await hear(feed, 2, last_seen=999)
        assert (foreign[0][0], foreign[1][1]) == ("3", "gap")
        assert "not one of this database" in foreign[1][2]["detail"]

    listen(events, act)


def test_streams_that_are_equally_far_share_what_is_read(events: FlakyStore, database: Database) -> None:
    async def act(feed: EventFeed) -> None:
        hearing = [asyncio.create_task(hear(feed, 2)) for _ in range(20)]
        while feed.n_streams < 20 or not events.pages:
            await asyncio.sleep(0)
        n_looks = events.n_looks
        while events.n_looks < n_looks + 3:
            await asyncio.sleep(0.001)
        quiet = len(events.pages)
        keep(database, TEXTS[0])
        heard = await asyncio.gather(*hearing)
        assert {kinds[1][:2] for kinds in heard} == {("1", "scores")}
        assert quiet <= 3
        assert len(events.pages) <= quiet + 2

    listen(events, act)


def test_nobody_asks_anything_where_nobody_listens(events: FlakyStore) -> None:
    async def act(feed: EventFeed) -> None:
        await asyncio.sleep(0.05)
        assert (events.n_looks, events.pages) == (0, [])

    listen(events, act)


def test_a_stream_outlasts_a_database_that_is_away(events: FlakyStore, database: Database) -> None:
    async def act(feed: EventFeed) -> None:
        with feed.take_place():
            async with aclosing(await feed.open_stream(EventChoice(), None)) as stream:
                await anext(stream)
                events.is_away = True
                waiting = asyncio.ensure_future(anext(stream))
                n_looks = events.n_looks
                while events.n_looks < n_looks + 3 or not events.pages:
                    await asyncio.sleep(0.001)
                keep(database, TEXTS[0])
                assert not waiting.done()
                events.is_away = False
                assert plain(await waiting)[:2] == ("1", "scores")

    listen(events, act)


def test_a_place_is_free_again_as_soon_as_its_client_has_gone(events: FlakyStore) -> None:
    async def act(feed: EventFeed) -> None:
        with feed.take_place():
            with pytest.raises(TooManyStreamsError), feed.take_place():
                pass
            assert feed.n_streams == 1
        assert feed.n_streams == 0
        await hear(feed, 1)

    listen(events, act, max_streams=1)


def test_streams_end_when_they_are_told_to(events: FlakyStore, database: Database) -> None:
    async def act(feed: EventFeed) -> None:
        stream = await feed.open_stream(EventChoice(), None)
        assert (await anext(stream)).event == "hello"
        waiting = asyncio.ensure_future(anext(stream, None))
        while not events.pages:
            await asyncio.sleep(0)
        feed.end_streams()
        assert await waiting is None

    listen(events, act)
