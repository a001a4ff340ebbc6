"""A real server that is told to stop answers what it has taken, and ends without a failure."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from service.store.database import open_database
from service.store.records import ScoreFilter
from service.store.score_store import ScoreStore
from tests.service.held_scorer import PATIENCE_SECONDS, wait_until

ROOT = Path(__file__).parents[2]
N_CLIENTS = 20
CANARY = "CANARY-55d1 was seen in the harbour."


class Server:
    """A server in a process of its own, whose scorer waits for a gate; the gate is closed when it is ready."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.gate = folder / "gate"
        self.gate.touch()
        self.log = folder / "server.log"
        self.database_url = f"sqlite:///{folder / 'kept.db'}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.service.gated_server", str(self.gate)],
                cwd=ROOT,
                env={**os.environ, "CREDENCE_DATABASE_URL": self.database_url, **environment},
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"
        wait_until(lambda: self.status() == httpx.codes.OK)
        self.gate.unlink()

    def status(self) -> int | None:
        """Return what the probe says, or nothing where the server takes no connection."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=PATIENCE_SECONDS, trust_env=False).status_code
        except httpx.TransportError:
            return None

    def n_in_progress(self) -> int:
        text = httpx.get(f"{self.url}/metrics", timeout=PATIENCE_SECONDS, trust_env=False).text
        line = next(line for line in text.splitlines() if line.startswith("credence_http_requests_in_progress "))
        return int(float(line.split()[1])) - 1

    def ask(self) -> httpx.Response:
        body = {"statements": [{"text": CANARY}]}
        return httpx.post(f"{self.url}/v1/score", json=body, timeout=PATIENCE_SECONDS, trust_env=False)

    def listen(self) -> str:
        """Listen to events until they end."""
        with httpx.stream("GET", f"{self.url}/v1/events", timeout=PATIENCE_SECONDS, trust_env=False) as stream:
            return "".join(stream.iter_text())


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:

        def start(**environment: str) -> Server:
            server = Server(tmp_path, environment)
            stack.callback(server.process.wait)
            stack.callback(server.process.kill)
            assert server.process.stdout is not None
            stack.callback(server.process.stdout.close)
            return server

        yield start


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(N_CLIENTS + 1) as clients:
        yield clients


def test_no_request_that_was_taken_is_lost_when_the_server_is_stopped(
    serve: Callable[..., Server], clients: ThreadPoolExecutor
) -> None:
    server = serve(CREDENCE_LOG_LEVEL="debug")
    listening = clients.submit(server.listen)
    answers: list[Future[httpx.Response]] = [clients.submit(server.ask) for _ in range(N_CLIENTS)]
    wait_until(lambda: server.n_in_progress() == N_CLIENTS + 1)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.status() in (None, 503))
    assert not any(answer.done() for answer in answers)
    server.gate.touch()
    assert [answer.result().status_code for answer in answers] == [200] * N_CLIENTS
    assert "event: hello" in listening.result()
    assert server.process.wait(PATIENCE_SECONDS) == 0
    assert count_kept(server) == N_CLIENTS
    lines = [json.loads(line) for line in server.log.read_text(encoding="utf-8").splitlines()]
    assert sum(line.get("route") == "/v1/score" and line["status"] == 200 for line in lines) == N_CLIENTS
    assert "CANARY" not in server.log.read_text(encoding="utf-8")


def test_a_server_that_is_stopped_waits_no_longer_than_it_may(
    serve: Callable[..., Server], clients: ThreadPoolExecutor
) -> None:
    server = serve(CREDENCE_DRAIN_SECONDS="0", CREDENCE_SCORING_THREADS="1", CREDENCE_MAX_BATCH_TOKENS="1")
    answers = [clients.submit(server.ask) for _ in range(4)]
    wait_until(lambda: server.n_in_progress() == 4)
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: sum(answer.done() for answer in answers) >= 3)
    # The one that is being scored may end with the connection.
    ended = [answer.result() for answer in answers if answer.done() and answer.exception() is None]
    refused = [answer for answer in ended if answer.status_code == 503]
    assert len(refused) == 3
    assert {answer.json()["type"] for answer in refused} == {"urn:credence:problem:stopping"}
    assert {answer.headers["Connection"] for answer in refused} == {"close"}
    server.gate.touch()
    assert server.process.wait(PATIENCE_SECONDS) == 0


def count_kept(server: Server) -> int:
    database = open_database(server.database_url)
    try:
        return len(ScoreStore(database).list_scores(ScoreFilter(), limit=10 * N_CLIENTS))
    finally:
        database.close()
