import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Connection

from service.door.api_keys import Scope, Token
from service.door.auth import Doorkeeper
from service.door.key_ring import FRESH_SECONDS, GRACE_SECONDS, RETRY_SECONDS, KeyRefusedError, KeyRing
from service.errors import ProblemType
from service.settings import Settings
from service.store.database import Database, StorageUnavailableError
from service.store.key_store import KeyStore


class Elapsed:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class CountingStore(KeyStore):
    """Counts how often it is asked, and is away when told so."""

    n_reads = 0
    is_away = False

    def list_keys(self) -> Any:
        self.n_reads += 1
        if self.is_away:
            raise StorageUnavailableError("the database did not answer: it is away")
        return super().list_keys()


@pytest.fixture
def store(database: Database) -> CountingStore:
    return CountingStore(database)


@pytest.fixture
def elapsed() -> Elapsed:
    return Elapsed()


@pytest.fixture
def ring(store: CountingStore, elapsed: Elapsed) -> KeyRing:
    return KeyRing(store, elapsed=elapsed)


def run(ring: KeyRing, work: Coroutine[Any, Any, None]) -> None:
    async def whole() -> None:
        await work
        await ring.close()

    asyncio.run(whole())


async def refusal(ring: KeyRing, token: Token) -> ProblemType:
    with pytest.raises(KeyRefusedError) as refused:
        await ring.admit(token)
    return refused.value.fault.problem


def test_the_database_is_asked_once_in_a_while_however_many_ask(
    ring: KeyRing, store: CountingStore, elapsed: Elapsed
) -> None:
    _, token = store.create("Newsroom", [Scope.SCORE])

    async def work() -> None:
        await asyncio.gather(*(ring.admit(token) for _ in range(50)))
        elapsed.seconds += FRESH_SECONDS - 0.1
        await ring.admit(token)
        assert store.n_reads == 1
        elapsed.seconds += 0.1
        await ring.admit(token)
        assert store.n_reads == 2

    run(ring, work())


def test_guessed_keys_do_not_wear_the_database_out(ring: KeyRing, store: CountingStore, elapsed: Elapsed) -> None:
    async def work() -> None:
        for _ in range(50):
            assert await refusal(ring, Token.make()) is ProblemType.API_KEY_INVALID
        assert store.n_reads == 1
        elapsed.seconds += RETRY_SECONDS
        await refusal(ring, Token.make())
        assert store.n_reads == 2

    run(ring, work())


def test_a_revoked_key_opens_nothing_more_after_the_time_that_is_promised(
    ring: KeyRing, store: CountingStore, elapsed: Elapsed
) -> None:
    key, token = store.create("Newsroom", [Scope.SCORE])

    async def work() -> None:
        await ring.admit(token)
        store.revoke(key.prefix)
        elapsed.seconds += FRESH_SECONDS
        assert await refusal(ring, token) is ProblemType.API_KEY_REVOKED
        assert not await ring.still_admits(key.prefix)

    run(ring, work())


def test_a_new_key_is_found_after_a_second(ring: KeyRing, store: CountingStore, elapsed: Elapsed) -> None:
    async def work() -> None:
        await refusal(ring, Token.make())
        _, token = store.create("Newsroom", [Scope.SCORE])
        elapsed.seconds += RETRY_SECONDS
        await ring.admit(token)

    run(ring, work())


def test_known_keys_go_on_for_a_bounded_time_without_the_database(
    ring: KeyRing, store: CountingStore, elapsed: Elapsed
) -> None:
    _, token = store.create("Newsroom", [Scope.SCORE])

    async def work() -> None:
        await ring.admit(token)
        store.is_away = True
        elapsed.seconds += GRACE_SECONDS - 1
        await ring.admit(token)
        elapsed.seconds += 1
        with pytest.raises(StorageUnavailableError):
            await ring.admit(token)
        store.is_away = False
        elapsed.seconds += RETRY_SECONDS
        await ring.admit(token)

    run(ring, work())


def test_without_a_first_look_at_the_database_nobody_comes_in(ring: KeyRing, store: CountingStore) -> None:
    store.is_away = True

    async def work() -> None:
        for _ in range(2):
            with pytest.raises(StorageUnavailableError):
                await ring.admit(Token.make())
        assert store.n_reads == 1

    run(ring, work())


def test_a_stream_of_events_ends_when_its_key_is_revoked(ring: KeyRing, store: CountingStore, elapsed: Elapsed) -> None:
    key, token = store.create("Newsroom", [Scope.READ])
    sent: list[Message] = []

    async def stream(scope: Connection, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in (b"one", b"two", b"three", b"four"):
            if part == b"three":
                store.revoke(key.prefix)
                elapsed.seconds += FRESH_SECONDS
            await send({"type": "http.response.body", "body": part, "more_body": True})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def work() -> None:
        door = Doorkeeper(stream, settings=Settings(require_keys=True), ring=ring)
        headers = [(b"authorization", f"Bearer {token.text}".encode())]
        asked = {"type": "http", "method": "GET", "path": "/v1/events", "headers": headers, "client": ("::1", 1)}
        await door(asked, receive, send)

    run(ring, work())
    assert [message["body"] for message in sent[1:]] == [b"one", b"two", b""]
    assert sent[-1]["more_body"] is False


def test_a_caller_is_told_to_try_again_where_no_key_can_be_checked(ring: KeyRing, store: CountingStore) -> None:
    store.is_away = True
    app = FastAPI()
    app.add_middleware(Doorkeeper, settings=Settings(require_keys=True), ring=ring)
    with TestClient(app) as client:
        answer = client.get("/v1/scores", headers={"Authorization": f"Bearer {Token.make().text}"})
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:credence:problem:storage-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
