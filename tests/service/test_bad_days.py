"""What a client sees on a bad day of the database, and that all goes on by itself afterwards."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database, open_database
from service.store.records import NewScore, Tags
from service.store.score_store import ScoreStore
from tests.service.own_postgresql import find_server
from tests.service.store.conftest import Clock
from tests.service.strained_database import full, mount_small_disk, read_only
from tests.service.tiny_scorer import TinyScorer

on_both_databases = pytest.mark.on_both_databases
BUSY_SECONDS = 0.2
TEXT = "The court met on Monday."
BODY: dict[str, Any] = {"statements": [{"text": TEXT, "source": "wire"}]}
READS = ("/v1/scores", "/v1/stats/summary", "/v1/stats/timeseries")
Strain = Callable[[Database], AbstractContextManager[None]]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database that waits only a moment for whoever holds it."""
    database = open_database(database_url, busy_seconds=BUSY_SECONDS)
    yield database
    database.close()


@contextmanager
def locked(database: Database) -> Iterator[None]:
    with closing(Database(database.engine.url.render_as_string(hide_password=False))) as other, other.writing():
        yield


@contextmanager
def vanished(database: Database) -> Iterator[None]:
    path = Path(str(database.engine.url.database))
    aside = path.rename(path.with_suffix(".aside"))
    yield
    aside.rename(path)


@contextmanager
def stopped(database: Database) -> Iterator[None]:
    server = find_server(database)
    server.stop("immediate")
    try:
        yield
    finally:
        server.start()


def post(client: TestClient, **fields: Any) -> Any:
    return client.post("/v1/score", json=BODY | fields)


def check_refused(client: TestClient, method: str, path: str, options: dict[str, Any]) -> str:
    """Make sure that a request is refused as it must be, and return what is said of the reason."""
    answer = client.request(method, path, **options)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (503, "urn:credence:problem:storage-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert TEXT not in answer.text
    return str(problem["detail"])


def texts_of(client: TestClient) -> list[str]:
    return [row["text"] for row in client.get("/v1/scores").json()["rows"]]


WRITES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/v1/score", {"json": BODY}),
    ("POST", "/v1/documents", {"json": {"text": TEXT}}),
    ("DELETE", f"/v1/scores/{uuid4()}", {}),
    ("DELETE", "/v1/scores", {"params": {"source": "wire"}}),
)


@on_both_databases
@pytest.mark.parametrize(
    ("strain", "reason"), [(locked, "it is locked by another program"), (read_only, "it cannot be written to")]
)
def test_what_is_kept_is_read_while_nothing_can_be_kept(
    client: TestClient, database: Database, strain: Strain, reason: str
) -> None:
    kept = post(client).json()["results"][0]["score_id"]
    with strain(database):
        for method, path, options in WRITES:
            assert reason in check_refused(client, method, path, options)
        assert client.get(f"/v1/scores/{kept}").json()["text"] == TEXT
        assert [client.get(path).status_code for path in READS] == [200, 200, 200]
        assert post(client, store=False).json()["stored"] is False
    assert post(client).json()["stored"] is True
    assert texts_of(client) == [TEXT, TEXT]


@pytest.mark.parametrize(("database_kind", "strain"), [("sqlite", vanished), ("postgresql", stopped)])
def test_a_database_that_is_away_is_a_problem_only_for_what_needs_it(
    client: TestClient, database: Database, strain: Strain
) -> None:
    post(client)
    with strain(database):
        for method, path, options in (*WRITES, *(("GET", path, {}) for path in READS)):
            check_refused(client, method, path, options)
        assert post(client, store=False).json()["stored"] is False
        assert [client.get(path).status_code for path in ("/livez", "/v1/model")] == [200, 200]
    assert post(client).json()["stored"] is True
    assert texts_of(client) == [TEXT, TEXT]


def test_a_full_file_is_said_to_be_full_and_still_read(client: TestClient, database: Database) -> None:
    n_kept = 0
    with full(database):
        while post(client).status_code == 200:
            n_kept += 1
        assert "the disk is full" in check_refused(client, *WRITES[0])
        assert client.get("/v1/stats/summary").json()["rows"][0]["n"] == n_kept
        assert post(client, store=False).json()["stored"] is False
    assert post(client).json()["stored"] is True


def test_a_full_disk_refuses_what_is_to_be_kept_until_there_is_room(served_model: ServedModel, tmp_path: Path) -> None:
    with mount_small_disk(tmp_path / "disk", kibibytes=3072) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(os.urandom(1024 * 1024))
        settings = Settings(state_path=disk)
        body = {"statements": [{"text": TEXT * 60}] * 20}
        n_kept = 0
        with (
            closing(open_database(settings.resolved_database_url)) as database,
            TestClient(create_app(settings, served_model, database), raise_server_exceptions=False) as client,
        ):
            while client.post("/v1/score", json=body).status_code == 200:
                n_kept += 20
            assert "the disk is full" in check_refused(client, "POST", "/v1/score", {"json": body})
            assert client.get("/v1/stats/summary").json()["rows"][0]["n"] == n_kept
            ballast.unlink()
            assert client.post("/v1/score", json=body).json()["stored"] is True


@on_both_databases
def test_a_clock_that_jumps_changes_neither_the_order_of_history_nor_the_buckets(
    client: TestClient, database: Database
) -> None:
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    times = [noon, noon + timedelta(days=400), noon - timedelta(days=400), noon + timedelta(hours=1), noon]
    keep_at(database, *times)
    rows = client.get("/v1/scores").json()["rows"]
    assert [row["text"][-2] for row in rows] == ["4", "3", "2", "1", "0"]
    assert [datetime.fromisoformat(row["scored_at"]) for row in rows] == times[::-1]
    buckets = client.get("/v1/stats/timeseries", params={"bucket": "hour"}).json()["rows"]
    assert [(datetime.fromisoformat(row["time"]), row["n"]) for row in buckets] == [
        (times[2], 1), (noon, 2), (times[3], 1), (times[1], 1)
    ]  # fmt: skip
    pages = client.get("/v1/scores", params={"limit": 2}).json()
    following = client.get("/v1/scores", params={"limit": 3, "cursor": pages["next_cursor"]}).json()["rows"]
    assert pages["rows"] + following == rows


@on_both_databases
def test_a_day_on_which_the_clocks_are_changed_has_its_24_hours(client: TestClient, database: Database) -> None:
    midnight = datetime(2026, 3, 29, tzinfo=UTC)
    keep_at(database, *(midnight + timedelta(minutes=60 * hour + 59) for hour in range(24)))
    hours = client.get("/v1/stats/timeseries", params={"bucket": "hour"}).json()["rows"]
    days = client.get("/v1/stats/timeseries", params={"bucket": "day"}).json()["rows"]
    assert [(datetime.fromisoformat(row["time"]), row["n"]) for row in hours] == [
        (midnight + timedelta(hours=hour), 1) for hour in range(24)
    ]
    assert [(datetime.fromisoformat(row["time"]), row["n"]) for row in days] == [(midnight, 24)]


def keep_at(database: Database, *times: datetime) -> None:
    """Keep a score at each of some times, in this order."""
    clock = Clock()
    store = ScoreStore(database, now=clock)
    for number, clock.time in enumerate(times):
        text = f"The court met on day {number}."
        new = NewScore(uuid4(), None, Tags(), text, TinyScorer().score_statements([text])[0])
        store.keep_statements([new], TinyScorer().info, uuid4())


def test_a_fault_of_the_database_is_said_in_the_log(
    client: TestClient, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="service")
    with vanished(database):
        check_refused(client, *WRITES[0])
    assert "its file was removed or replaced" in caplog.text
    assert TEXT not in caplog.text
