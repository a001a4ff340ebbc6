import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from fastapi.testclient import TestClient
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Connection

from service.door.browser_guard import MAX_HEADER_BYTES, MAX_URL_BYTES
from service.door.door import install_door, install_front
from service.door.key_ring import KeyRing
from service.door.security_headers import SecurityHeaders
from service.settings import Settings, SettingsError, read_settings
from service.store.database import Database
from service.store.key_store import KeyStore

DESK = "https://desk.example"


def build(database: Database, **given: Any) -> TestClient:
    """Build a client of the real door, before routes as small as can be."""
    settings = Settings.model_validate(given)
    app = FastAPI()

    @app.get("/")
    async def show_page() -> HTMLResponse:
        return HTMLResponse("<p>Paste a text.</p>", headers={"Cache-Control": "no-cache"})

    @app.post("/v1/score")
    async def score() -> str:
        return "scored"

    @app.get("/v1/scores")
    async def list_scores() -> str:
        return "scores"

    @app.delete("/v1/scores/{score_id}")
    async def delete(score_id: str) -> str:
        return "deleted"

    @app.get("/v1/stats")
    async def count() -> JSONResponse:
        return JSONResponse({}, headers={"Cache-Control": "private, max-age=5"})

    install_door(app, settings, KeyRing(KeyStore(database)))
    install_front(app, settings)
    return TestClient(app)


@pytest.fixture
def client(database: Database) -> Iterator[TestClient]:
    with build(database, cors_origins=DESK) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/v1/scores", "/v1/stats", "/nothing"])
def test_every_answer_says_how_little_of_it_may_be_used_elsewhere(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"
    assert "camera=()" in headers["permissions-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers


def test_a_refusal_before_the_routes_says_so_too(client: TestClient) -> None:
    answer = client.get("/v1/scores", headers={"Host": "rebound.example"})
    assert (answer.status_code, answer.headers["x-content-type-options"]) == (421, "nosniff")
    assert answer.headers["cache-control"] == "no-store"


def test_a_page_loads_scripts_and_styles_of_its_own_and_nothing_else(client: TestClient) -> None:
    policy = dict(part.split(" ", 1) for part in client.get("/").headers["content-security-policy"].split("; "))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:",
        "font-src": "'self'", "connect-src": "'self'", "base-uri": "'none'", "form-action": "'self'",
        "frame-ancestors": "'none'",
    }  # fmt: skip
    assert "script-src" not in client.get("/v1/scores").headers["content-security-policy"]


def test_answers_with_scores_are_kept_nowhere_unless_the_route_says_otherwise(client: TestClient) -> None:
    told = {path: client.get(path).headers["cache-control"] for path in ("/v1/scores", "/v1/stats", "/")}
    assert told == {"/v1/scores": "no-store", "/v1/stats": "private, max-age=5", "/": "no-cache"}


def test_only_an_answer_over_https_asks_for_https_next_time(database: Database) -> None:
    with build(database, trusted_proxies="10.0.0.1") as client:
        forwarded = {"X-Forwarded-Proto": "https"}
        assert "strict-transport-security" not in client.get("/", headers=forwarded).headers
        client._transport.client = ("10.0.0.1", 1)  # type: ignore[attr-defined]
        assert "max-age" in client.get("/", headers=forwarded).headers["strict-transport-security"]


def test_a_stream_is_passed_on_as_it_comes() -> None:
    seen: list[str] = []

    async def parts() -> AsyncIterator[bytes]:
        for number in range(3):
            seen.append(f"made {number}")
            yield b"x"

    async def application(scope: Connection, receive: Receive, send: Send) -> None:
        await StreamingResponse(parts())(scope, receive, send)

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message.get("body"):
            seen.append("sent")

    scope = {"type": "http", "method": "GET", "path": "/v1/events", "headers": []}
    asyncio.run(SecurityHeaders(application)(scope, receive, send))
    assert seen == ["made 0", "sent", "made 1", "sent", "made 2", "sent"]


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "192.168.1.20:8000", "app.localhost", "LOCALHOST."],
)
def test_the_names_of_this_machine_and_addresses_are_known(client: TestClient, host: str) -> None:
    assert client.get("/v1/scores", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["rebound.example", "localhost.example", "127.0.0.1.example:8000", "testserver.org", "a" * 9000, "x.y" * 99]
)
def test_a_name_that_somebody_has_turned_to_this_address_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/v1/scores", headers={"Host": host})
    assert (answer.status_code, answer.json()["type"]) == (421, "urn:credence:problem:unknown-host")
    assert "CREDENCE_ALLOWED_HOSTS" in answer.json()["detail"]
    assert host not in answer.text


@pytest.mark.parametrize(
    ("host", "status"), [("news.example", 200), ("a.b.desk.example:8000", 200), ("desk.example", 421), ("example", 421)]
)
def test_further_names_are_a_setting(database: Database, host: str, status: int) -> None:
    with build(database, allowed_hosts="news.example, *.desk.example") as client:
        assert client.get("/v1/scores", headers={"Host": host}).status_code == status


def test_a_service_with_keys_may_be_asked_under_any_name_unless_names_are_set(database: Database) -> None:
    for names, status in (((), 401), (("news.example",), 421)):
        with build(database, require_keys=True, allowed_hosts=names) as client:
            assert client.get("/v1/scores", headers={"Host": "any.example"}).status_code == status


STRANGERS = [
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Origin": "http://testserver:3000"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://[broken"},
]


@pytest.mark.parametrize("headers", STRANGERS, ids=str)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/score"), ("DELETE", "/v1/scores/1"), ("GET", "/v1/scores")])
def test_a_page_of_a_stranger_can_neither_score_nor_delete_nor_read(
    client: TestClient, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:credence:problem:foreign-origin")
    assert "access-control-allow-origin" not in answer.headers
    assert headers.get("Origin", "evil") not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Origin": "http://testserver"},
        {"Origin": "http://testserver"},
    ],
    ids=str,
)
def test_programs_and_the_pages_of_the_service_itself_may(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/v1/score", headers=headers).status_code == 200
    assert client.delete("/v1/scores/1", headers=headers).status_code == 200


def test_a_link_to_the_page_may_be_followed_and_a_form_may_not_be_sent(client: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.post("/v1/score", headers=headers).status_code == 403


def test_a_page_of_a_listed_origin_may_use_the_api_but_not_with_cookies(client: TestClient) -> None:
    headers = {"Origin": DESK, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
    asked = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}
    for answer in (client.options("/v1/scores/1", headers=headers | asked), client.post("/v1/score", headers=headers)):
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, DESK)
        assert "access-control-allow-credentials" not in answer.headers
    assert "RateLimit" in answer.headers["access-control-expose-headers"]


def test_a_listed_origin_can_read_why_it_was_refused(database: Database) -> None:
    with build(database, cors_origins=DESK, require_keys=True) as client:
        answer = client.post("/v1/score", headers={"Origin": DESK, "Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, DESK)


def test_without_a_list_no_origin_is_let_in(database: Database) -> None:
    with build(database) as client:
        answer = client.options(
            "/v1/score",
            headers={"Origin": DESK, "Sec-Fetch-Site": "cross-site", "Access-Control-Request-Method": "POST"},
        )
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origins", ["*", "https://*.example", "https://desk.example/", "desk.example", "ftp://desk"])
def test_an_origin_that_lets_others_in_is_no_setting(monkeypatch: pytest.MonkeyPatch, origins: str) -> None:
    monkeypatch.setenv("CREDENCE_CORS_ORIGINS", origins)
    with pytest.raises(SettingsError, match="CREDENCE_CORS_ORIGINS"):
        read_settings()


def test_an_endless_url_or_header_is_refused(client: TestClient) -> None:
    long = client.get(f"/v1/scores?text={'a' * MAX_URL_BYTES}")
    large = client.get("/v1/scores", headers={"X-Large": "a" * MAX_HEADER_BYTES})
    assert (long.status_code, long.json()["type"]) == (414, "urn:credence:problem:url-too-long")
    assert (large.status_code, large.json()["type"]) == (431, "urn:credence:problem:headers-too-large")
