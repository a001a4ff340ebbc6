import logging
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.door.api_keys import Scope, Token
from service.door.scope_table import find_rule
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from service.store.key_store import KeyStore
from service.store.score_store import utc_now

STATEMENTS = {"statements": [{"text": "The court met on Monday."}]}


@pytest.fixture
def settings() -> Settings:
    return Settings(require_keys=True)


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


def bearer(token: Token) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.text}"}


def kind(response: Any) -> str:
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["type"]).rsplit(":", maxsplit=1)[-1]


def test_a_key_with_the_scope_opens_what_it_is_for(client: TestClient, keys: KeyStore) -> None:
    _, token = keys.create("Newsroom", [Scope.SCORE])
    assert client.post("/v1/score", json=STATEMENTS, headers=bearer(token)).status_code == 200
    assert client.post("/v1/score", json=STATEMENTS, headers={"Authorization": f"bearer  {token.text}"}).is_success


def test_without_a_key_nothing_is_opened_and_the_way_in_is_told(client: TestClient) -> None:
    response = client.post("/v1/score", json=STATEMENTS)
    assert (response.status_code, kind(response)) == (401, "api-key-missing")
    assert response.headers["www-authenticate"] == 'Bearer realm="credence"'
    assert "Authorization: Bearer" in response.json()["detail"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "cred_1a2b3c4d_" + "0" * 64,
        "Bearer cred_99999999",
        "Bearer cred_\t",
    ],
)
def test_what_is_not_a_key_is_refused_without_being_repeated(client: TestClient, header: str) -> None:
    response = client.post("/v1/score", json=STATEMENTS, headers=[("Authorization", header)])
    assert (response.status_code, kind(response)) == (401, "api-key-invalid")
    assert response.headers["www-authenticate"] == 'Bearer realm="credence", error="invalid_token"'
    assert not header.partition(" ")[2] or header.partition(" ")[2] not in response.text


def test_two_keys_in_one_request_are_none(client: TestClient, keys: KeyStore) -> None:
    _, token = keys.create("Newsroom", [Scope.SCORE])
    headers = [("Authorization", f"Bearer {token.text}")] * 2
    assert kind(client.post("/v1/score", json=STATEMENTS, headers=headers)) == "api-key-invalid"


def test_a_key_in_the_query_opens_only_what_is_like_the_api_that_has_it_there(
    client: TestClient, keys: KeyStore
) -> None:
    _, token = keys.create("Plugin", [Scope.FEEDBACK])
    asked = [client.post(f"/v1alpha1/comments:analyze?key={key}") for key in (token.text, "other")]
    # Errors of these paths have the shape of that API, too.
    reasons = [answer.json()["error"]["details"][0]["reason"] for answer in asked]
    assert reasons == ["SCOPE_MISSING", "API_KEY_INVALID"]
    assert kind(client.post(f"/v1/score?key={token.text}")) == "api-key-missing"


def test_whoever_does_not_have_the_secret_learns_nothing_of_a_key(client: TestClient, keys: KeyStore) -> None:
    usable, _ = keys.create("Newsroom", [Scope.SCORE])
    revoked, _ = keys.create("Desk", [Scope.SCORE])
    expired, _ = keys.create("Intern", [Scope.SCORE], lifetime=-timedelta(days=1))
    keys.revoke(revoked.prefix)
    answers = {
        (response.status_code, response.text, response.headers["www-authenticate"])
        for prefix in ("00000000", usable.prefix, revoked.prefix, expired.prefix)
        for response in [client.post("/v1/score", json=STATEMENTS, headers=bearer(Token(prefix, "0" * 64)))]
    }
    assert len(answers) == 1
    assert "api-key-invalid" in str(answers)


def test_whoever_has_the_secret_is_told_what_became_of_the_key(client: TestClient, keys: KeyStore) -> None:
    key, revoked = keys.create("Desk", [Scope.SCORE])
    keys.revoke(key.prefix)
    _, expired = keys.create("Intern", [Scope.SCORE], lifetime=-timedelta(days=1))
    assert kind(client.post("/v1/score", json=STATEMENTS, headers=bearer(revoked))) == "api-key-revoked"
    assert kind(client.post("/v1/score", json=STATEMENTS, headers=bearer(expired))) == "api-key-expired"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/score", "score"),
        ("POST", "/v1/documents", "score"),
        ("GET", "/v1/documents/1", "read"),
        ("DELETE", "/v1/documents/1", "admin"),
        ("DELETE", "/v1/scores/1", "admin"),
        ("GET", "/v1/scores", "read"),
        ("GET", "/v1/events", "read"),
        ("POST", "/v1/batches", "score"),
        ("GET", "/v1/batches/1/results", "read"),
        ("POST", "/v1/feedback", "feedback"),
        ("GET", "/v1/webhooks", "admin"),
        ("GET", "/metrics", "read"),
    ],
)
def test_a_missing_scope_is_named(client: TestClient, keys: KeyStore, method: str, path: str, scope: str) -> None:
    _, token = keys.create("Newsroom", [other for other in Scope if other != scope])
    response = client.request(method, path, headers=bearer(token))
    assert (response.status_code, kind(response)) == (403, "scope-missing")
    assert response.json()["detail"] == f"This needs a key with the scope {scope}."
    assert f'error="insufficient_scope", scope="{scope}"' in response.headers["www-authenticate"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v1/model", "/openapi.json"])
def test_what_everybody_may_ask_needs_no_key_and_takes_no_notice_of_one(client: TestClient, path: str) -> None:
    client.headers.update(bearer(Token.make()))
    assert client.get(path).status_code in (200, 503)
    assert "RateLimit" not in client.get(path).headers


def test_what_is_not_in_the_table_is_there_for_admin_alone(client: TestClient, keys: KeyStore) -> None:
    _, reader = keys.create("Newsroom", [Scope.READ])
    _, admin = keys.create("Operator", [Scope.ADMIN])
    answers = [client.get("/v1/nothing", headers=bearer(token)) for token in (reader, admin)]
    assert [(answer.status_code, kind(answer)) for answer in answers] == [(404, "not-found")] * 2
    assert client.get("/v1/nothing").status_code == 401


def test_every_route_has_its_line_in_the_table(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    assert not [
        path for path, operations in paths.items() for method in operations if not find_rule(method.upper(), path)
    ]


def test_no_path_is_opened_by_one_that_begins_alike() -> None:
    assert find_rule("GET", "/v1/modelling") is None
    assert find_rule("GET", "/v1/model/deeper") is not None
    assert find_rule("POST", "/livez") is None
    assert find_rule("GET", "//v1/model") is None


def test_an_open_service_needs_no_key_but_checks_one_that_is_sent(
    served_model: ServedModel, database: Database, keys: KeyStore
) -> None:
    _, reader = keys.create("Newsroom", [Scope.READ])
    with TestClient(create_app(Settings(), served_model, database)) as client:
        answers = [
            client.post("/v1/score", json=STATEMENTS, headers=headers)
            for headers in ({}, {"Authorization": "Basic dXNlcjpwYXNz"}, bearer(reader), bearer(Token.make()))
        ]
    assert [answer.status_code for answer in answers] == [200, 200, 403, 401]


def test_the_last_use_is_entered_without_being_waited_for(
    served_model: ServedModel, database: Database, keys: KeyStore
) -> None:
    _, token = keys.create("Newsroom", [Scope.SCORE])
    before = utc_now()
    with TestClient(create_app(Settings(require_keys=True), served_model, database)) as client:
        client.post("/v1/score", json=STATEMENTS, headers=bearer(token))
    last_used_at = keys.list_keys()[0].last_used_at
    assert last_used_at is not None
    assert before <= last_used_at <= utc_now()


def test_no_log_and_no_answer_holds_a_secret(
    client: TestClient, keys: KeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key, token = keys.create("Newsroom", [Scope.SCORE])
    answers = [client.get("/v1/scores", headers=bearer(token)), client.post("/v1/score", headers=bearer(token))]
    keys.revoke(key.prefix)
    told = "".join(answer.text + str(answer.headers) for answer in answers)
    told += "".join(record.getMessage() for record in caplog.records if not record.name.startswith("http"))
    assert token.secret not in told
    assert key.digest not in told


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For"])
def test_an_open_service_behind_a_proxy_is_warned_of_once(
    served_model: ServedModel, database: Database, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    with TestClient(create_app(Settings(), served_model, database)) as client:
        for _ in range(2):
            client.post("/v1/score", json=STATEMENTS, headers={header: "203.0.113.7"})
    warnings = [record.getMessage() for record in caplog.records if "proxy" in record.getMessage()]
    assert len(warnings) == 1
    assert "CREDENCE_REQUIRE_KEYS=true" in warnings[0]
    assert "203.0.113.7" not in warnings[0]


@pytest.mark.parametrize(
    ("given", "is_required"),
    [
        ({}, False),
        ({"host": "::1"}, False),
        ({"host": "localhost"}, False),
        ({"host": "127.9.9.9"}, False),
        ({"host": "0.0.0.0"}, True),
        ({"host": "::"}, True),
        ({"host": "localhost.example.org"}, True),
        ({"host": "0.0.0.0", "allow_open": True}, False),
        ({"host": "0.0.0.0", "allow_open": True, "require_keys": True}, True),
        ({"require_keys": True}, True),
    ],
    ids=str,
)
def test_keys_are_required_wherever_others_can_connect(given: dict[str, object], is_required: bool) -> None:
    assert Settings.model_validate(given).keys_are_required is is_required
