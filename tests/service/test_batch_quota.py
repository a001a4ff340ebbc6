from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.door.api_keys import Scope
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from service.store.key_store import KeyStore

ROWS = b'{"id": 1, "text": "The court met on Monday."}\n'
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def client(served_model: ServedModel, database: Database) -> Iterator[TestClient]:
    # Without a worker no batch ends by itself.
    settings = Settings(max_open_batches=2, batch_workers=0)
    with TestClient(create_app(settings, served_model, database)) as client:
        yield client


def enter(client: TestClient, n_batches: int, **headers: str) -> list[int]:
    return [client.post("/v1/batches", content=ROWS, headers=NDJSON | headers).status_code for _ in range(n_batches)]


def test_each_key_may_have_so_many_unfinished_batches_and_no_more(client: TestClient, database: Database) -> None:
    made = [KeyStore(database).create(name, [Scope.SCORE, Scope.READ])[1] for name in ("a", "b")]
    first, second = ({"Authorization": f"Bearer {token.text}"} for token in made)
    assert enter(client, 3, **first) == [202, 202, 429]
    assert enter(client, 3, **second) == [202, 202, 429]
    assert enter(client, 3) == [202, 202, 429]


def test_a_refused_batch_is_told_when_to_try_again_and_leaves_nothing(client: TestClient) -> None:
    enter(client, 2)
    refused = client.post("/v1/batches", content=ROWS, headers=NDJSON)
    assert refused.json()["type"] == "urn:credence:problem:too-many-batches"
    assert int(refused.headers["Retry-After"]) > 0
    assert len(client.get("/v1/batches").json()["rows"]) == 2


def test_a_batch_that_has_ended_makes_room(client: TestClient) -> None:
    entered = client.post("/v1/batches", content=ROWS, headers=NDJSON).json()
    assert enter(client, 2) == [202, 429]
    assert client.post(entered["cancel_url"]).status_code == 200
    assert enter(client, 2) == [202, 429]


def test_a_request_that_is_sent_again_under_its_key_needs_no_room(client: TestClient) -> None:
    assert enter(client, 1, **{"Idempotency-Key": "mine"}) == [202]
    enter(client, 1)
    assert enter(client, 1, **{"Idempotency-Key": "mine"}) == [200]


def test_this_machine_has_no_such_limit(served_model: ServedModel, database: Database) -> None:
    app = create_app(Settings(max_open_batches=1, batch_workers=0), served_model, database)
    with TestClient(app, client=("127.0.0.1", 1)) as client:
        assert enter(client, 3) == [202] * 3
