import json
import logging
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER
from service.settings import Settings
from service.store.database import Database
from service.store.delivery_queue import DeliveryQueue
from service.webhooks.delivery import WebhookDispatcher
from tests.service.webhook_receiver import Handler, Receiver, answer_raw, receiving

PATIENCE_SECONDS = 30
THRESHOLD: dict[str, Any] = {"label": "allegation", "share": 0.5, "window_minutes": 60, "min_statements": 10}
GOOD: dict[str, Any] = {"url": "https://hooks.test/a?token=t0ken", "kinds": ["storyline.line"]}


@pytest.fixture(autouse=True)
def _nobody_sends(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let deliveries lie in the queue, but in the test that waits for one."""
    monkeypatch.setattr("service.webhooks.delivery.LOOK_SECONDS", 0.01)
    if "receiver" not in request.fixturenames:
        monkeypatch.setattr(WebhookDispatcher, "look", lambda dispatcher: None)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    return Settings(webhook_allow_private="receiver" in request.fixturenames)


def register(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json=GOOD | changes)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


@pytest.mark.on_both_databases
def test_a_webhook_is_registered_shown_and_deleted_and_its_secret_shown_once(client: TestClient) -> None:
    first = register(client, kinds=["storyline.line", "batch.done", "batch.done"])
    second = register(client, kinds=["share.above"], threshold=THRESHOLD | {"source": "wire"})
    secret = first.pop("secret")
    assert secret.startswith("whsec_")
    assert secret != second.pop("secret")
    assert first == {
        "id": first["id"],
        "created_at": first["created_at"],
        "url": GOOD["url"],
        "kinds": ["storyline.line", "batch.done"],
        "threshold": None,
        "is_above": False,
    }
    assert first["created_at"].endswith("Z")
    assert second["threshold"] == THRESHOLD | {"source": "wire"}
    listed = client.get("/v1/webhooks")
    assert listed.json() == {"rows": [first, second]}
    path = f"/v1/webhooks/{first['id']}"
    shown = client.get(path)
    assert shown.json() == first
    assert "whsec_" not in listed.text + shown.text
    deleted = client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [client.get(path).status_code, client.delete(path).status_code] == [404, 404]
    assert client.get("/v1/webhooks").json() == {"rows": [second]}


@pytest.mark.parametrize(
    ("changes", "slug", "pointer"),
    [
        ({"url": "http://hooks.test/SECRETWORD"}, "webhook-url", "/url"),
        ({"url": "https://127.0.0.1/SECRETWORD"}, "webhook-url", "/url"),
        ({"url": "https://2130706433/SECRETWORD"}, "webhook-url", "/url"),
        ({"url": "https://[::ffff:a00:1]/SECRETWORD"}, "webhook-url", "/url"),
        ({"url": "https://me:SECRETWORD@hooks.test/"}, "webhook-url", "/url"),
        ({"url": "SECRETWORD"}, "webhook-url", "/url"),
        ({"url": "https://hooks.test/" + "SECRETWORD" * 200}, "invalid-field", "/url"),
        ({"url": 1}, "invalid-field", "/url"),
        ({"kinds": []}, "invalid-field", "/kinds"),
        ({"kinds": ["SECRETWORD"]}, "invalid-field", "/kinds/0"),
        ({"kinds": "storyline.line"}, "invalid-field", "/kinds"),
        ({"kinds": ["test.ping"]}, "invalid-field", "/kinds/0"),
        ({"kinds": ["share.above"]}, "missing-field", "/threshold"),
        ({"threshold": THRESHOLD}, "invalid-field", "/threshold"),
        ({"threshold": {"SECRETWORD": 1}}, "unknown-field", "/threshold"),
        ({"SECRETWORD": 1}, "unknown-field", ""),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_and_not_repeated(
    client: TestClient, changes: dict[str, Any], slug: str, pointer: str
) -> None:
    answer = client.post("/v1/webhooks", json=GOOD | changes)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, f"urn:credence:problem:{slug}")
    assert problem["pointer"] == pointer
    assert "SECRETWORD" not in answer.text
    assert client.get("/v1/webhooks").json() == {"rows": []}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("label", "not_a_claim"),
        ("label", "SECRETWORD"),
        ("share", 1),
        ("share", -0.1),
        ("share", "0.5"),
        ("window_minutes", 0),
        ("window_minutes", 10_081),
        ("window_minutes", 1.5),
        ("min_statements", 0),
        ("min_statements", True),
        ("source", ""),
        ("source", "SECRETWORD" * 21),
        ("source", "SECRETWORD\0"),
        ("source", "SECRETWORD\ud800"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(client: TestClient, name: str, value: Any) -> None:
    body = json.dumps(GOOD | {"kinds": ["share.above"], "threshold": THRESHOLD | {name: value}})
    answer = client.post("/v1/webhooks", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["pointer"]) == (422, f"/threshold/{name}")
    assert "SECRETWORD" not in answer.text


def test_a_number_that_is_none_is_no_share(client: TestClient) -> None:
    body = (
        '{"url": "https://hooks.test/", "kinds": ["share.above"], "threshold": {"label": "allegation", "share": NaN}}'
    )
    answer = client.post("/v1/webhooks", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


def test_one_webhook_more_than_there_may_be_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.webhook_store.MAX_WEBHOOKS", 1)
    register(client)
    answer = client.post("/v1/webhooks", json=GOOD)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:credence:problem:too-many-webhooks")


def test_a_test_is_queued_and_arrives(client: TestClient, receiver: Receiver) -> None:
    has_arrived = threading.Event()

    def arrive(handler: Handler) -> None:
        answer_raw(handler, "HTTP/1.1 204 -\r\n\r\n")
        has_arrived.set()

    receiver.answers.append(arrive)
    created = register(client, url=receiver.url)
    queued = client.post(f"/v1/webhooks/{created['id']}/test")
    assert (queued.status_code, queued.json()["kind"], queued.json()["state"]) == (202, "test.ping", "pending")
    assert has_arrived.wait(PATIENCE_SECONDS)
    (got,) = receiver.received
    assert got.headers["webhook-id"] == queued.json()["id"]
    assert b'"type":"test.ping"' in got.body


@pytest.mark.on_both_databases
def test_the_dead_are_listed_page_by_page_and_revived(client: TestClient, database: Database) -> None:
    webhook_id = register(client)["id"]
    ids = [client.post(f"/v1/webhooks/{webhook_id}/test").json()["id"] for _ in range(5)]
    queue, path = DeliveryQueue(database), f"/v1/webhooks/{webhook_id}/deliveries"
    for _ in range(3):
        queue.give_up(queue.claim_due(limit=1)[0], "the answer had status 500")
    first = client.get(path, params={"state": "dead", "limit": 2}).json()
    second = client.get(path, params={"state": "dead", "limit": 2, "cursor": first["next_cursor"]}).json()
    assert [row["id"] for row in first["rows"] + second["rows"]] == ids[2::-1]
    assert second["next_cursor"] is None
    assert first["disclaimer"] == DISCLAIMER
    assert first["rows"][0] == {
        "id": ids[2],
        "webhook_id": webhook_id,
        "created_at": first["rows"][0]["created_at"],
        "kind": "test.ping",
        "state": "dead",
        "n_attempts": 1,
        "next_attempt_at": None,
        "last_fault": "the answer had status 500",
    }
    retried = client.post(f"/v1/webhooks/deliveries/{ids[0]}/retry")
    assert (retried.status_code, retried.json()["state"], retried.json()["n_attempts"]) == (202, "pending", 0)
    counts = {s: len(client.get(path, params={"state": s}).json()["rows"]) for s in ("dead", "pending", "delivered")}
    assert counts == {"dead": 2, "pending": 3, "delivered": 0}
    assert len(client.get(path).json()["rows"]) == 5


@pytest.mark.parametrize(
    ("query", "slug"),
    [
        ("state=SECRETWORD", "invalid-field"),
        ("cursor=SECRETWORD", "invalid-field"),
        ("limit=0", "invalid-field"),
        ("SECRETWORD=1", "unknown-field"),
    ],
)
def test_a_list_that_cannot_be_is_refused(client: TestClient, query: str, slug: str) -> None:
    answer = client.get(f"/v1/webhooks/{register(client)['id']}/deliveries?{query}")
    assert (answer.status_code, answer.json()["type"]) == (422, f"urn:credence:problem:{slug}")
    assert "SECRETWORD" not in answer.text


def test_what_is_not_there_is_not_found(client: TestClient) -> None:
    missing = uuid4()
    answers = [
        client.get(f"/v1/webhooks/{missing}"),
        client.delete(f"/v1/webhooks/{missing}"),
        client.post(f"/v1/webhooks/{missing}/test"),
        client.get(f"/v1/webhooks/{missing}/deliveries"),
        client.post(f"/v1/webhooks/deliveries/{missing}/retry"),
    ]
    assert {(a.status_code, a.json()["type"]) for a in answers} == {(404, "urn:credence:problem:no-such-record")}
    assert client.get("/v1/webhooks/SECRETWORD").status_code == 422


def test_neither_a_url_nor_a_secret_reaches_the_log(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="service")
    created = register(client)
    client.get("/v1/webhooks")
    assert "t0ken" not in caplog.text
    assert created["secret"] not in caplog.text
