import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
import uvicorn
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER
from service.app import create_app
from service.models.source import ServedModel
from service.serving import ApiServer
from service.settings import Settings
from service.store.database import Database, StorageUnavailableError
from service.store.event_store import EventStore
from tests.service.happenings import happen, keep

PATIENCE_SECONDS = 30
TEXT = "The court met on Monday."


@contextmanager
def serving(settings: Settings, served_model: ServedModel, database: Database) -> Iterator[tuple[ApiServer, int]]:
    """A real server in a thread: the test client would wait for the end of an answer that has none."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_app(settings, served_model, database)
    server = ApiServer(uvicorn.Config(app, log_config=None, access_log=False), app, drain_seconds=5)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE_SECONDS)
        listener.close()
        assert not thread.is_alive()


@contextmanager
def streaming(port: int, path: str = "/v1/events", **headers: str) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", path, headers=headers)
        yield connection.getresponse()


def read_block(answer: http.client.HTTPResponse) -> list[str]:
    lines = []
    while line := answer.readline().decode().rstrip("\n"):
        lines.append(line)
    return lines


def test_events_are_sent_as_they_happen(served_model: ServedModel, database: Database) -> None:
    with serving(Settings(), served_model, database) as (_, port), streaming(port, "/v1/events?kinds=scores") as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
        assert (answer.headers["Cache-Control"], answer.headers["X-Accel-Buffering"]) == ("no-cache", "no")
        hello = read_block(answer)
        assert hello[0] == "event: hello"
        assert hello[2:] == ["id: 0", "retry: 3000"]
        assert DISCLAIMER in hello[1]
        keep(database, TEXT)
        kind, data, seq = read_block(answer)
        assert (kind, seq) == ("event: scores", "id: 1")
        assert json.loads(data.removeprefix("data: "))["rows"][0]["label"] == "factual_report"


def test_a_client_resumes_by_header_before_query(served_model: ServedModel, database: Database) -> None:
    for number in range(3):
        happen(database, "batch", number=number)
    with serving(Settings(), served_model, database) as (_, port):
        for path, headers, first in (
            ("/v1/events?last_event_id=0", {}, "id: 1"),
            ("/v1/events?last_event_id=0", {"Last-Event-ID": "2"}, "id: 3"),
            ("/v1/events", {"Last-Event-ID": "1"}, "id: 2"),
        ):
            with streaming(port, path, **headers) as answer:
                read_block(answer)
                assert read_block(answer)[2] == first


def test_a_quiet_stream_is_kept_alive(
    served_model: ServedModel, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.01)
    with serving(Settings(), served_model, database) as (_, port), streaming(port) as answer:
        read_block(answer)
        assert [read_block(answer) for _ in range(2)] == [[": ping"], [": ping"]]


def test_one_client_more_than_may_listen_is_told_to_come_back(served_model: ServedModel, database: Database) -> None:
    with serving(Settings(max_event_streams=1), served_model, database) as (_, port):
        with streaming(port) as first:
            read_block(first)
            with streaming(port) as second:
                problem = json.loads(second.read())
            assert (second.status, second.headers["Retry-After"]) == (503, "10")
            assert problem["type"] == "urn:credence:problem:too-many-streams"
        tries = 0
        while tries < 1000:
            with streaming(port) as third:
                if third.status == 200:
                    break
            tries += 1
        assert (third.status, tries < 1000) == (200, True)


def test_a_server_that_is_to_stop_does_not_wait_for_streams(served_model: ServedModel, database: Database) -> None:
    with serving(Settings(), served_model, database) as (server, port), streaming(port) as answer:
        read_block(answer)
        server.should_exit = True
        assert answer.read() == b""


@pytest.mark.parametrize(
    ("path", "headers", "slug"),
    [
        ("/v1/events?kinds=scores,SECRETWORD", {}, "invalid-field"),
        ("/v1/events?kinds=", {}, "invalid-field"),
        ("/v1/events?label=SECRETWORD", {}, "invalid-field"),
        ("/v1/events?label=not_a_claim", {}, "invalid-field"),
        ("/v1/events?last_event_id=SECRETWORD", {}, "invalid-field"),
        ("/v1/events?last_event_id=-1", {}, "invalid-field"),
        ("/v1/events?last_event_id=9999999999999999999", {}, "invalid-field"),
        ("/v1/events?SECRETWORD=1", {}, "unknown-field"),
        ("/v1/events", {"Last-Event-ID": "SECRETWORD"}, "invalid-header"),
        ("/v1/events", {"Last-Event-ID": "1.5"}, "invalid-header"),
        ("/v1/events", {"Last-Event-ID": "9" * 19}, "invalid-header"),
    ],
)
def test_rubbish_is_refused_before_a_stream_begins(
    client: TestClient, path: str, headers: dict[str, str], slug: str
) -> None:
    answer = client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (422, f"urn:credence:problem:{slug}")
    assert "SECRETWORD" not in answer.text


def test_a_database_that_is_away_from_the_start_is_a_problem(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_away(store: EventStore) -> tuple[int, int]:
        raise StorageUnavailableError("the database did not answer")

    monkeypatch.setattr(EventStore, "read_bounds", be_away)
    answer = client.get("/v1/events")
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:credence:problem:storage-unavailable")
    assert "Retry-After" in answer.headers
