"""What happens when more is asked for than can be scored, when nobody waits any more, and when the service stops."""

import math
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from credence.scoring import Scorer
from service.app import CredenceApi, create_app
from service.models.source import ServedModel
from service.scoring.pool import STATE_KEY, ScoringPool
from service.scoring.rate import ScoringRate
from service.settings import Settings
from service.store.database import Database
from tests.service.held_scorer import HeldScorer, wait_until

TEXT = "The court met on Monday."
MAX_WAITING = 6
MAX_PER_CALLER = 4
TIMEOUT = "X-Credence-Timeout-Ms"
# What the test client answers with; which library that is from depends on what is installed.
Response = Any


class Desk:
    """A service with one thread and a short queue, and callers that ask it at the same time."""

    def __init__(self, app: CredenceApi, client: TestClient, held: HeldScorer) -> None:
        self.app = app
        self.client = client
        self.held = held
        self.callers = ThreadPoolExecutor(20)

    @property
    def pool(self) -> ScoringPool:
        pool = self.client.app_state[STATE_KEY]
        assert isinstance(pool, ScoringPool)
        return pool

    def ask(self, n_statements: int = 1, caller: str = "192.0.2.1", headers: dict[str, str] | None = None) -> Response:
        client = TestClient(self.app, client=(caller, 50_000))
        client.app_state.update(self.client.app_state)
        body = {"statements": [{"text": TEXT}] * n_statements, "store": False}
        return client.post("/v1/score", json=body, headers=headers)

    def ask_later(self, n_statements: int = 1, caller: str = "192.0.2.1") -> "Future[Response]":
        """Ask without waiting for the answer, but for the statements to be in the queue."""
        n_before = self.pool.n_waiting
        future = self.callers.submit(self.ask, n_statements, caller)
        wait_until(lambda: self.pool.n_waiting == n_before + n_statements or future.done())
        return future

    def block(self) -> "Future[Response]":
        """Keep the one thread busy."""
        n_batches = len(self.held.batches)
        future = self.callers.submit(self.ask, 1, "192.0.2.99")
        wait_until(lambda: len(self.held.batches) == n_batches + 1)
        return future


@pytest.fixture
def desk(scorer: Scorer, database: Database) -> Iterator[Desk]:
    held = HeldScorer(scorer)
    settings = Settings(
        scoring_threads=1,
        max_waiting_statements=MAX_WAITING,
        max_waiting_per_caller=MAX_PER_CALLER,
        rate_limit="none",
        open_rate_limit="none",
    )
    app = create_app(settings, ServedModel(held, "", {}), database)
    with TestClient(app) as client:
        desk = Desk(app, client, held)
        held.let_go()
        wait_until(lambda: desk.pool.is_ready)
        yield desk
        held.open()
        desk.callers.shutdown()


def slug(response: Response) -> str:
    return str(response.json()["type"]).rpartition(":")[2]


def assert_refused(desk: Desk, response: Response, status: int, kind: str) -> None:
    assert (response.status_code, slug(response)) == (status, kind)
    assert int(response.headers["Retry-After"]) == max(1, math.ceil(desk.pool.seconds_of_work))


def test_a_full_queue_refuses_everybody(desk: Desk) -> None:
    waiting = [desk.block(), desk.ask_later(3, "192.0.2.1"), desk.ask_later(3, "192.0.2.2")]
    assert_refused(desk, desk.ask(caller="192.0.2.3"), 503, "overloaded")
    desk.held.open()
    assert [future.result().status_code for future in waiting] == [200] * 3
    assert desk.ask(caller="192.0.2.3").status_code == 200


def test_a_caller_who_holds_a_share_of_the_queue_is_refused_alone(desk: Desk) -> None:
    waiting = [desk.block(), desk.ask_later(MAX_PER_CALLER)]
    assert_refused(desk, desk.ask(), 429, "too-many-in-flight")
    waiting.append(desk.ask_later(caller="192.0.2.2"))
    desk.held.open()
    assert [future.result().status_code for future in waiting] == [200] * 3
    assert desk.ask().status_code == 200


def test_a_network_of_ipv6_is_one_caller(desk: Desk) -> None:
    desk.block()
    desk.ask_later(MAX_PER_CALLER, "2001:db8::1")
    assert desk.ask(caller="2001:db8::2").status_code == 429


def test_a_request_larger_than_the_queue_is_scored_if_there_is_room_at_all(desk: Desk) -> None:
    desk.block()
    large = desk.ask_later(5 * MAX_WAITING)
    assert_refused(desk, desk.ask(caller="192.0.2.2"), 503, "overloaded")
    desk.held.open()
    assert large.result().status_code == 200


def test_a_document_is_refused_before_it_is_split(desk: Desk) -> None:
    waiting = [desk.block(), desk.ask_later(3, "192.0.2.1"), desk.ask_later(3, "192.0.2.2")]
    assert_refused(desk, desk.client.post("/v1/documents", json={"text": TEXT}), 503, "overloaded")
    desk.held.open()
    assert [future.result().status_code for future in waiting] == [200] * 3


def test_who_cannot_wait_as_long_as_it_will_take_is_refused_at_once(desk: Desk) -> None:
    # The one before took at least so long that this much of them takes more than a millisecond.
    desk.held.let_go()
    desk.ask()
    desk.block()
    waiting = desk.ask_later(200)
    refused = desk.ask(caller="192.0.2.2", headers={TIMEOUT: "1"})
    assert slug(refused) == "overloaded"
    desk.held.open()
    assert waiting.result().status_code == 200


def test_a_request_whose_time_is_up_leaves_the_queue(desk: Desk) -> None:
    desk.block()
    late = desk.ask(3, headers={TIMEOUT: "20"})
    assert (late.status_code, slug(late)) == (503, "deadline-exceeded")
    assert int(late.headers["Retry-After"]) >= 1
    assert "queue;dur=" in late.headers["Server-Timing"]
    assert desk.pool.n_waiting == 0
    desk.held.open()
    assert desk.ask().status_code == 200
    assert sum(map(len, desk.held.batches)) == 3 + 1 + 1


def test_nobody_waits_longer_than_the_service_allows(scorer: Scorer, database: Database) -> None:
    held = HeldScorer(scorer)
    app = create_app(Settings(scoring_threads=1, max_wait_seconds=0.02), ServedModel(held, "", {}), database)
    with TestClient(app) as client:
        assert slug(client.post("/v1/score", json={"statements": [{"text": TEXT}]})) == "deadline-exceeded"
        late = client.post("/v1/score", json={"statements": [{"text": TEXT}]}, headers={TIMEOUT: "60000"})
        assert slug(late) == "deadline-exceeded"
        held.open()


@pytest.mark.parametrize("value", ["0", "-5", "1.5", "soon", "", "٣", "1" * 10])
def test_a_timeout_that_is_no_number_of_milliseconds_is_refused(desk: Desk, value: str) -> None:
    body = {"statements": [{"text": TEXT}]}
    response = desk.client.post("/v1/score", json=body, headers={TIMEOUT: value.encode()})  # type: ignore[arg-type]
    assert (response.status_code, slug(response)) == (422, "invalid-header")


@pytest.mark.parametrize("path", ["/v1/score", "/v1/documents"])
def test_what_nobody_waits_for_any_more_is_not_scored(desk: Desk, path: str) -> None:
    desk.block()
    statement = '{"text": "Nobody waits for this one."}'
    body = f'{{"statements": [{statement}]}}' if path == "/v1/score" else statement
    assert desk.client.portal is not None
    status = desk.client.portal.call(hang_up, desk.app, desk.client.app_state, path, body.encode(), desk.pool)
    assert status == 499
    assert desk.pool.n_waiting == 0
    desk.held.open()
    assert desk.ask().status_code == 200
    assert not any("Nobody waits for this one." in batch for batch in desk.held.batches)


async def hang_up(app: FastAPI, state: dict[str, Any], path: str, body: bytes, pool: ScoringPool) -> int:
    """Send a request and close the connection when it waits; return the status that nobody got."""
    import asyncio

    messages = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        if messages:
            return messages.pop()
        while not pool.n_waiting:
            await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", b"testserver")]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
        "client": ("192.0.2.7", 5), "server": ("testserver", 80), "state": dict(state),
    }  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


def test_a_service_that_stops_is_not_ready_but_answers_what_waits(desk: Desk) -> None:
    waiting = [desk.block(), desk.ask_later(2)]
    desk.app.drain.begin()
    ready = desk.client.get("/readyz")
    assert (ready.status_code, slug(ready)) == (503, "stopping")
    assert desk.client.get("/livez").status_code == 200
    desk.held.open()
    assert [future.result().status_code for future in waiting] == [200, 200]


def test_when_the_time_to_stop_is_up_what_waits_is_refused(desk: Desk) -> None:
    blocking, waiting = desk.block(), desk.ask_later(2)
    desk.app.drain.run_out()
    assert (waiting.result().status_code, slug(waiting.result())) == (503, "stopping")
    assert slug(desk.ask()) == "stopping"
    desk.held.open()
    assert blocking.result().status_code == 200


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_rate_is_that_of_all_threads_together_while_there_is_work() -> None:
    clock = Clock()
    rate = ScoringRate(clock)
    assert rate.seconds_for(100) is None
    for _ in range(20):
        for change in (rate.start_batch, rate.start_batch, lambda: rate.end_batch(50), lambda: rate.end_batch(50)):
            change()
            clock.seconds += 0.25
        clock.seconds += 100
    # 100 tokens go through in the three quarters of a second in which at least one batch runs.
    assert rate.seconds_for(100) == pytest.approx(0.75, rel=0.2)


def test_the_rate_follows_what_changes() -> None:
    clock = Clock()
    rate = ScoringRate(clock)

    def work(seconds: float, n_batches: int) -> None:
        for _ in range(n_batches):
            rate.start_batch()
            clock.seconds += seconds
            rate.end_batch(100)

    work(0.1, 100)
    assert rate.seconds_for(1000) == pytest.approx(1, rel=0.1)
    work(1.0, 30)
    assert rate.seconds_for(1000) == pytest.approx(10, rel=0.2)
