import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from service.store.records import ScoreFilter, StoredScore, Tags
from service.store.score_store import ScoreStore
from tests.service.strained_database import read_only

on_both_databases = pytest.mark.on_both_databases
TEXTS = ("The court met on Monday.", "Він заявив, що йшов дощ 😀.")
TAGS = {"source": "wire", "author": "A. Reporter", "document_id": "d-1"}
ROUTES = ("/v1/score", "/v1/documents")
N_AT_ONCE = 4
TAKES_TURN = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "UPDATE store_state"}
Answer = tuple[int, dict[str, Any]]


def body_for(route: str, *texts: str, **fields: Any) -> dict[str, Any]:
    """Return a request that holds texts, whichever the route."""
    if route == "/v1/documents":
        return {"text": " ".join(texts), **fields}
    store = {"store": fields.pop("store")} if "store" in fields else {}
    return {"statements": [{"text": text, "id": f"row {n}", **fields} for n, text in enumerate(texts)], **store}


def items_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.get("results") or answer["statements"]
    return found


def kept_in(database: Database) -> list[StoredScore]:
    """Return the scores that are kept, the oldest first."""
    return ScoreStore(database).list_scores(ScoreFilter(), limit=1000)[::-1]


def slug_of(problem: dict[str, Any]) -> str:
    return str(problem["type"]).removeprefix("urn:credence:problem:")


@on_both_databases
@pytest.mark.parametrize("route", ROUTES)
def test_what_is_scored_is_kept_with_its_tags(client: TestClient, database: Database, route: str) -> None:
    answer = client.post(route, json=body_for(route, *TEXTS, **TAGS)).json()
    stored = kept_in(database)
    assert answer["stored"] is True
    assert [str(s.id) for s in stored] == [item["score_id"] for item in items_of(answer)]
    assert [(s.text, s.tags) for s in stored] == [(text, Tags(**TAGS)) for text in TEXTS]
    assert {str(s.request_id) for s in stored} == {answer["request_id"]}
    assert [s.score.outcome for s in stored] == [item["outcome"] for item in items_of(answer)]


@on_both_databases
def test_a_document_is_kept_whole(client: TestClient, database: Database) -> None:
    answer = client.post("/v1/documents", json=body_for("/v1/documents", *TEXTS, id="article", **TAGS)).json()
    document = ScoreStore(database).read_document(UUID(answer["stored_document_id"]))
    assert document is not None
    assert (document.text, document.caller_id, document.tags) == (" ".join(TEXTS), "article", Tags(**TAGS))
    assert {str(s.stored_document_id) for s in document.statements} == {answer["stored_document_id"]}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("by_default", "asked", "is_kept"),
    [(True, None, True), (True, False, False), (True, True, True), (False, None, False), (False, True, True)],
)
def test_a_request_says_whether_it_is_kept_and_else_the_service_does(
    served_model: ServedModel, database: Database, route: str, by_default: bool, asked: bool | None, is_kept: bool
) -> None:
    app = create_app(Settings(store_by_default=by_default), served_model, database)
    with TestClient(app) as client:
        answer = client.post(route, json=body_for(route, *TEXTS, store=asked)).json()
    assert answer["stored"] is is_kept
    assert len(kept_in(database)) == (len(TEXTS) if is_kept else 0)
    ids = [item["score_id"] for item in items_of(answer)]
    ids += [answer["stored_document_id"]] if route == "/v1/documents" else []
    assert [found is not None for found in ids] == [is_kept] * len(ids)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("store", [True, False])
def test_an_answer_and_its_header_name_the_same_request(client: TestClient, route: str, store: bool) -> None:
    response = client.post(route, json=body_for(route, *TEXTS, store=store))
    assert response.headers["X-Request-Id"] == response.json()["request_id"]


@on_both_databases
@pytest.mark.parametrize("route", ROUTES)
def test_a_request_that_is_sent_again_under_its_key_is_kept_once(
    client: TestClient, database: Database, route: str
) -> None:
    body, key = body_for(route, *TEXTS, **TAGS), {"Idempotency-Key": "k"}
    first, again = (client.post(route, json=body, headers=key) for _ in range(2))
    assert first.json() == again.json()
    assert first.headers["X-Request-Id"] != again.headers["X-Request-Id"]
    assert len(kept_in(database)) == len(TEXTS)


@pytest.mark.parametrize("route", ROUTES)
def test_requests_under_other_keys_or_none_are_each_kept(client: TestClient, database: Database, route: str) -> None:
    for headers in ({}, {}, {"Idempotency-Key": "k"}, {"Idempotency-Key": "K"}):
        assert client.post(route, json=body_for(route, *TEXTS), headers=headers).json()["stored"]
    assert len(kept_in(database)) == 4 * len(TEXTS)


@on_both_databases
@pytest.mark.parametrize("first", ROUTES)
@pytest.mark.parametrize("second", ROUTES)
def test_other_texts_under_a_key_are_refused(client: TestClient, database: Database, first: str, second: str) -> None:
    key = {"Idempotency-Key": "k"}
    client.post(first, json=body_for(first, *TEXTS), headers=key)
    response = client.post(second, json=body_for(second, "The court met on Tuesday."), headers=key)
    assert (response.status_code, slug_of(response.json())) == (422, "idempotency-key-reused")
    assert len(kept_in(database)) == len(TEXTS)


@pytest.mark.parametrize("route", ROUTES)
def test_a_key_whose_request_was_deleted_is_spent(client: TestClient, database: Database, route: str) -> None:
    key = {"Idempotency-Key": "k"}
    body = body_for(route, *TEXTS, **TAGS)
    client.post(route, json=body, headers=key)
    ScoreStore(database).delete_matching(source="wire")
    response = client.post(route, json=body, headers=key)
    assert (response.status_code, slug_of(response.json())) == (409, "idempotency-key-spent")
    assert kept_in(database) == []


@pytest.mark.parametrize("deleted", [0, 1])
def test_a_key_of_which_a_statement_was_deleted_is_spent(client: TestClient, database: Database, deleted: int) -> None:
    key = {"Idempotency-Key": "k"}
    body = body_for("/v1/score", *TEXTS)
    client.post("/v1/score", json=body, headers=key)
    ScoreStore(database).delete_score(kept_in(database)[deleted].id)
    response = client.post("/v1/score", json=body, headers=key)
    assert (response.status_code, slug_of(response.json())) == (409, "idempotency-key-spent")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_that_is_empty_or_too_long_is_refused(client: TestClient, route: str, key: str) -> None:
    response = client.post(route, json=body_for(route, *TEXTS), headers={"Idempotency-Key": key})
    assert (response.status_code, slug_of(response.json())) == (422, "invalid-header")
    assert "kkk" not in response.text


@pytest.mark.parametrize("key", ["k" * 200, "'; DROP TABLE scores; --", "ключ".encode()])
def test_any_other_key_is_taken(client: TestClient, database: Database, key: str | bytes) -> None:
    headers: Any = {"Idempotency-Key": key}
    first, again = (client.post("/v1/score", json=body_for("/v1/score", *TEXTS), headers=headers) for _ in range(2))
    assert (first.status_code, first.json()) == (200, again.json())


@pytest.mark.parametrize("route", ROUTES)
def test_a_key_means_nothing_where_nothing_is_kept(client: TestClient, database: Database, route: str) -> None:
    key = {"Idempotency-Key": "k"}
    first, again = (client.post(route, json=body_for(route, *TEXTS, store=False), headers=key).json() for _ in range(2))
    assert first["request_id"] != again["request_id"]
    assert ScoreStore(database).find_request("k") is None


@pytest.fixture
def post_at_once(client: TestClient, database: Database) -> Iterator[Callable[..., list[Answer]]]:
    """Return what sends several requests under one key, of which none is kept before all are scored."""
    waiting = Semaphore(0)

    def note_waiting(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith(TAKES_TURN[database.kind]):
            waiting.release()

    with ThreadPoolExecutor(N_AT_ONCE) as pool:

        def post(route: str, bodies: Sequence[dict[str, Any]], key: str) -> list[Answer]:
            def post_one(body: dict[str, Any]) -> Answer:
                response = client.post(route, json=body, headers={"Idempotency-Key": key})
                return response.status_code, response.json()

            with database.writing():
                event.listen(database.engine, "before_cursor_execute", note_waiting)
                answers = [pool.submit(post_one, body) for body in bodies]
                assert all(waiting.acquire(timeout=30) for _ in bodies)
            return [answer.result() for answer in answers]

        yield post


@on_both_databases
@pytest.mark.parametrize("route", ROUTES)
def test_simultaneous_requests_under_one_key_end_in_one_that_is_kept(
    post_at_once: Callable[..., list[Answer]], database: Database, route: str
) -> None:
    answers = post_at_once(route, [body_for(route, *TEXTS)] * N_AT_ONCE, "k")
    assert answers == [answers[0]] * N_AT_ONCE
    assert [str(s.id) for s in kept_in(database)] == [item["score_id"] for item in items_of(answers[0][1])]


@on_both_databases
def test_of_simultaneous_requests_with_other_texts_one_is_kept(
    post_at_once: Callable[..., list[Answer]], database: Database
) -> None:
    bodies = [body_for("/v1/score", f"The court met on day {n}.") for n in range(N_AT_ONCE)]
    answers = post_at_once("/v1/score", bodies, "k")
    assert sorted(status for status, _ in answers) == [200] + [422] * (N_AT_ONCE - 1)
    (kept,) = kept_in(database)
    (winner,) = [body for body, (status, _) in zip(bodies, answers, strict=True) if status == 200]
    assert kept.text == winner["statements"][0]["text"]


@on_both_databases
@pytest.mark.parametrize("route", ROUTES)
def test_a_database_that_takes_nothing_is_a_problem_only_for_what_is_to_be_kept(
    client: TestClient, database: Database, route: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with read_only(database):
        refused = client.post(route, json=body_for(route, *TEXTS))
        unkept = client.post(route, json=body_for(route, *TEXTS, store=False))
    assert (refused.status_code, slug_of(refused.json())) == (503, "storage-unavailable")
    assert int(refused.headers["Retry-After"]) > 0
    assert "store: false" in refused.json()["detail"]
    assert (unkept.status_code, unkept.json()["stored"]) == (200, False)
    assert not [text for text in TEXTS if text in refused.text or text in caplog.text]
    assert client.post(route, json=body_for(route, *TEXTS)).json()["stored"]
