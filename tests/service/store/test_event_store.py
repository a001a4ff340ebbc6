from datetime import timedelta
from uuid import uuid4

import pytest

from service.store import event_store
from service.store.database import Database
from service.store.event_store import EventStore
from service.store.score_store import ScoreStore
from service.store.score_writes import insert_event
from tests.service.store.conftest import START, Clock, NewScores
from tests.service.tiny_scorer import TinyScorer

pytestmark = pytest.mark.on_both_databases
INFO = TinyScorer().info
TEXTS = ("The court met on Monday.", "He claims that it rained.", "Too short")


@pytest.fixture
def events(database: Database) -> EventStore:
    return EventStore(database)


def happen(database: Database, clock: Clock, *numbers: int) -> None:
    for number in numbers:
        with database.writing() as connection:
            insert_event(connection, "batch", {"number": number}, at=clock.time)


def test_events_are_read_in_the_order_in_which_they_happened(
    events: EventStore, database: Database, clock: Clock
) -> None:
    assert (events.read_bounds(), events.read_page(0)) == ((0, 0), event_store.EventPage((), True))
    happen(database, clock, 0, 1, 2)
    page = events.read_page(0)
    seqs = [told.event.seq for told in page.told]
    assert [told.event.payload for told in page.told] == [{"number": 0}, {"number": 1}, {"number": 2}]
    assert seqs == sorted(seqs)
    assert events.read_bounds() == (seqs[0], seqs[-1])
    assert [told.event.payload["number"] for told in events.read_page(seqs[0]).told] == [1, 2]
    assert {told.event.created_at for told in page.told} == {START}


def test_an_event_tells_of_its_scores_and_never_of_a_text(
    events: EventStore, store: ScoreStore, new_scores: NewScores
) -> None:
    new = new_scores(*TEXTS, source="wire", document_id="d-1")
    store.keep_statements(new, INFO, uuid4())
    (told,) = events.read_page(0).told
    assert [row["score_id"] for row in told.scores] == [n.id for n in new]
    assert told.scores[1] == {
        "score_id": new[1].id,
        "scored_at": START,
        "label": "allegation",
        "reason": None,
        "outcome": "allegation",
        "confidence": 0.7,
        "language": "en",
        "source": "wire",
        "author": None,
        "document_id": "d-1",
        "model_version": INFO.model_version,
    }
    assert not any(text in str(told) for text in TEXTS)


def test_an_event_does_not_tell_of_scores_that_were_deleted_since(
    events: EventStore, store: ScoreStore, new_scores: NewScores
) -> None:
    new = new_scores(*TEXTS)
    store.keep_statements(new, INFO, uuid4())
    store.delete_score(new[1].id)
    (told,) = events.read_page(0).told
    assert [row["score_id"] for row in told.scores] == [new[0].id, new[2].id]


@pytest.mark.parametrize(("name", "limit"), [("MAX_PAGE_EVENTS", 2), ("MAX_PAGE_SCORES", 4)])
def test_pages_end_and_meet(
    events: EventStore,
    store: ScoreStore,
    new_scores: NewScores,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    limit: int,
) -> None:
    monkeypatch.setattr(event_store, name, limit)
    for _ in range(5):
        store.keep_statements(new_scores(*TEXTS), INFO, uuid4())
    sizes, is_last, seen = [], False, 0
    while not is_last:
        page = events.read_page(seen)
        sizes.append(len(page.told))
        seen, is_last = page.told[-1].event.seq, page.is_last
    assert sizes == [2, 2, 1]
    assert seen == events.read_bounds()[1]


def test_old_events_go_but_the_newest_stays_to_be_counted_from(
    events: EventStore, database: Database, clock: Clock
) -> None:
    happen(database, clock, 0, 1)
    clock.time += timedelta(days=1)
    happen(database, clock, 2)
    newest = events.read_bounds()[1]
    assert events.delete_events_before(clock.time) == 2
    assert events.read_bounds() == (newest, newest)
    assert events.delete_events_before(clock.time + timedelta(days=1)) == 0
    happen(database, clock, 3)
    assert events.read_bounds() == (newest, newest + 1)


def test_reading_events_leaves_the_revision_as_it_is(events: EventStore, database: Database, clock: Clock) -> None:
    happen(database, clock, 0)
    before = events.read_revision()
    events.read_page(0)
    events.delete_events_before(clock.time + timedelta(days=1))
    assert events.read_revision() == before
