import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event
from threading import enumerate as running_threads
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from service.settings import Settings
from service.store.database import Database, StorageUnavailableError
from service.store.event_store import EventStore
from service.store.records import NewDocument, NewScore, ScoreFilter, Tags
from service.store.score_store import ScoreStore
from service.upkeep import EVENT_AGE, IDEMPOTENCY_KEY_AGE, MAX_CLOCK_JUMP, Upkeep, UpkeepTask, build_tasks
from tests.service.store.conftest import START
from tests.service.tiny_scorer import TinyScorer

INFO = TinyScorer().info
DAY = timedelta(days=1)
TEXT = "The court met on Monday."


class Clocks:
    """A wall clock and a clock that nobody sets, which go on together until the former is set."""

    def __init__(self) -> None:
        self.time = START
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.time

    def elapsed(self) -> float:
        return self.seconds

    def pass_by(self, span: timedelta) -> None:
        self.time += span
        self.seconds += span.total_seconds()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def build(clocks: Clocks) -> Callable[..., Upkeep]:
    def build(
        *tasks: UpkeepTask, shed: Callable[[], None] = lambda: None, tidy: Callable[[], None] = lambda: None
    ) -> Upkeep:
        return Upkeep(tasks, shed_deleted=shed, tidy_deleted=tidy, now=clocks.now, elapsed=clocks.elapsed)

    return build


def build_upkeep(database: Database, clocks: Clocks, settings: Settings) -> Upkeep:
    """Return the upkeep of the service, under other clocks."""
    return Upkeep(
        build_tasks(settings, database),
        shed_deleted=database.shed_deleted,
        tidy_deleted=database.tidy_deleted,
        now=clocks.now,
        elapsed=clocks.elapsed,
    )


class Deletions:
    """Remembers before which times something was to be deleted."""

    def __init__(self, *, fault: Exception | None = None) -> None:
        self.asked: list[datetime] = []
        self._fault = fault

    def __call__(self, before: datetime) -> int:
        self.asked.append(before)
        if self._fault is not None:
            raise self._fault
        return 1


def keep(store: ScoreStore, text: str, *, key: str | None = None) -> None:
    new = NewScore(uuid4(), None, Tags(), text, TinyScorer().score_statements([text])[0])
    store.keep_statements([new], INFO, uuid4(), idempotency_key=key)


def keep_document(store: ScoreStore, text: str) -> NewDocument:
    document = NewDocument(uuid4(), None, Tags(), text, False)
    statements = [NewScore(uuid4(), None, Tags(), None, s) for s in TinyScorer().score_document(text).statements]
    store.keep_document(document, statements, INFO, uuid4())
    return document


@pytest.mark.on_both_databases
def test_what_is_older_than_the_retention_is_deleted(database: Database, clocks: Clocks) -> None:
    store = ScoreStore(database, now=clocks.now)
    upkeep = build_upkeep(database, clocks, Settings(retention_days=30))
    keep(store, "The court met on Monday.", key="first")
    old = keep_document(store, "The court met on Monday.")
    clocks.pass_by(20 * DAY)
    keep(store, "The court met on Tuesday.", key="second")
    new = keep_document(store, "The court met on Tuesday.")
    clocks.pass_by(11 * DAY)
    upkeep.run_once()
    assert {s.text for s in store.list_scores(ScoreFilter(), limit=10)} == {"The court met on Tuesday."}
    assert [store.read_document(document.id) is None for document in (old, new)] == [True, False]


@pytest.mark.on_both_databases
def test_an_idempotency_key_is_forgotten_after_a_week(database: Database, clocks: Clocks) -> None:
    store = ScoreStore(database, now=clocks.now)
    upkeep = build_upkeep(database, clocks, Settings())
    keep(store, TEXT, key="old")
    clocks.pass_by(DAY)
    keep(store, TEXT, key="young")
    clocks.pass_by(IDEMPOTENCY_KEY_AGE - DAY / 2)
    upkeep.run_once()
    assert [store.find_request(key) is None for key in ("old", "young")] == [True, False]
    assert len(store.list_scores(ScoreFilter(), limit=10)) == 2


def test_without_a_retention_no_score_is_ever_deleted(database: Database) -> None:
    names = [task.name for task in build_tasks(Settings(retention_days=None), database)]
    assert "scores" not in names


@pytest.mark.parametrize("jump", [timedelta(days=3650), timedelta(days=-3650), MAX_CLOCK_JUMP + timedelta(seconds=1)])
def test_a_clock_that_jumps_deletes_nothing_until_the_service_is_started_again(
    build: Callable[..., Upkeep], clocks: Clocks, jump: timedelta, caplog: pytest.LogCaptureFixture
) -> None:
    deletions = Deletions()
    upkeep = build(UpkeepTask("scores", DAY, deletions))
    clocks.time += jump
    upkeep.run_once()
    clocks.time -= jump
    upkeep.run_once()
    assert deletions.asked == []
    assert [(r.levelname, "check the clock and restart" in r.getMessage()) for r in caplog.records] == [
        ("WARNING", True)
    ] * 2
    build(UpkeepTask("scores", DAY, deletions)).run_once()
    assert deletions.asked == [clocks.time - DAY]


@pytest.mark.parametrize("drift", [timedelta(0), MAX_CLOCK_JUMP, -MAX_CLOCK_JUMP])
def test_a_clock_that_is_set_by_little_is_taken_as_it_is(
    build: Callable[..., Upkeep], clocks: Clocks, drift: timedelta
) -> None:
    deletions = Deletions()
    upkeep = build(UpkeepTask("scores", DAY, deletions))
    clocks.pass_by(100 * DAY)
    clocks.time += drift
    upkeep.run_once()
    assert deletions.asked == [clocks.time - DAY]


@pytest.mark.parametrize("fault", [StorageUnavailableError("the database did not answer"), ValueError(TEXT)])
def test_a_task_that_fails_stops_no_other_and_says_nothing_of_a_text(
    build: Callable[..., Upkeep], fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    deletions, tidied = Deletions(), []

    def fail_to_tidy() -> None:
        tidied.append(True)
        raise fault

    failing = UpkeepTask("scores", DAY, Deletions(fault=fault))
    build(failing, UpkeepTask("events", DAY, deletions), tidy=fail_to_tidy).run_once()
    assert (len(deletions.asked), tidied) == (1, [True])
    assert [r.levelname for r in caplog.records] == (
        ["ERROR", "INFO", "ERROR"] if isinstance(fault, ValueError) else ["WARNING", "INFO", "WARNING"]
    )
    assert TEXT not in caplog.text


def test_an_age_that_no_calendar_holds_is_no_reason_to_stop(build: Callable[..., Upkeep], clocks: Clocks) -> None:
    deletions = Deletions()
    endless = UpkeepTask("scores", timedelta(days=999_999), Deletions())
    build(endless, UpkeepTask("events", DAY, deletions)).run_once()
    assert deletions.asked == [clocks.time - DAY]


def test_the_thread_runs_by_itself_and_ends_with_the_service(
    build: Callable[..., Upkeep], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.upkeep.FIRST_RUN_SECONDS", 0.0)
    has_run = Event()
    upkeep = build(UpkeepTask("scores", DAY, Deletions()), tidy=has_run.set)
    for _ in range(2):
        has_run.clear()
        upkeep.start()
        assert has_run.wait(10)
        upkeep.close()
        assert "upkeep" not in {thread.name for thread in running_threads()}


def test_the_service_has_an_upkeep(client: TestClient) -> None:
    assert "upkeep" in {thread.name for thread in running_threads()}


@pytest.mark.parametrize(("n_deleted", "is_private", "n_sheds"), [(0, True, 0), (3, True, 1), (3, False, 0)])
def test_files_are_freed_of_what_is_private_only(
    build: Callable[..., Upkeep], n_deleted: int, is_private: bool, n_sheds: int
) -> None:
    steps: list[str] = []
    task = UpkeepTask("scores", DAY, lambda before: n_deleted, is_private=is_private)
    build(task, shed=lambda: steps.append("shed"), tidy=lambda: steps.append("tidy")).run_once()
    assert steps == ["shed"] * n_sheds + ["tidy"]


@pytest.mark.on_both_databases
def test_events_are_forgotten_after_a_week(database: Database, clocks: Clocks) -> None:
    store = ScoreStore(database, now=clocks.now)
    upkeep = build_upkeep(database, clocks, Settings())
    for _ in range(3):
        keep(store, TEXT)
        clocks.pass_by(EVENT_AGE * 0.4)
    upkeep.run_once()
    assert len(EventStore(database).read_page(0).told) == 2
    assert len(store.list_scores(ScoreFilter(), limit=10)) == 3


def test_what_deletes_nothing_stays_silent(build: Callable[..., Upkeep], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    build(UpkeepTask("scores", DAY, lambda before: 0)).run_once()
    assert caplog.records == []
