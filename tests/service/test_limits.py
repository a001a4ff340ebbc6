import re
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from service.door.addresses import to_caller
from service.door.api_keys import Scope
from service.door.door import install_door, install_front
from service.door.key_ring import KeyRing
from service.door.rate_limits import Policy, Quota, QuotaExceededError, document_cost, get_quota
from service.settings import Settings
from service.store.database import Database
from service.store.key_store import KeyStore

STRANGER = ("203.0.113.7", 50000)
POLICY = re.compile(r'"(?P<name>[a-z]+)";q=(?P<quota>\d+);w=(?P<window>\d+)')
LEFT = re.compile(r'"(?P<name>[a-z]+)";r=(?P<left>\d+);t=(?P<seconds>\d+)')


class Elapsed:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def left(headers: dict[str, str]) -> tuple[int, int]:
    found = LEFT.fullmatch(headers["RateLimit"])
    assert found, headers
    return int(found["left"]), int(found["seconds"])


def test_a_window_is_spent_and_comes_back_when_it_was_said_to() -> None:
    elapsed = Elapsed()
    policy = Policy("key", "10/minute", elapsed=elapsed)
    policy.quota_of("a").take(7)
    elapsed.seconds = 20.5
    policy.quota_of("a").take(3)
    with pytest.raises(QuotaExceededError) as refused:
        policy.quota_of("a").take()
    wait = int(refused.value.headers["Retry-After"])
    assert (left(refused.value.headers), wait) == ((0, 40), 40)
    elapsed.seconds += wait - 1
    with pytest.raises(QuotaExceededError):
        policy.quota_of("a").take()
    elapsed.seconds += 1
    policy.quota_of("a").take(10)


def test_what_is_refused_costs_nothing() -> None:
    policy = Policy("key", "10/minute")
    policy.quota_of("a").take(8)
    with pytest.raises(QuotaExceededError):
        policy.quota_of("a").take(3)
    policy.quota_of("a").take(2)


def test_a_request_costs_what_it_holds_and_what_it_has_paid_counts() -> None:
    quota = Policy("key", "10/minute").quota_of("a")
    quota.take()
    quota.charge(6)
    quota.charge(1)
    assert left(quota.to_headers())[0] == 4


@pytest.mark.parametrize("rate", ["10/minute", "1/minute"])
def test_a_request_dearer_than_a_window_takes_a_whole_one(rate: str) -> None:
    quota = Policy("key", rate, elapsed=Elapsed()).quota_of("a")
    quota.take()
    quota.charge(256)
    assert left(quota.to_headers()) == (0, 60)


def test_callers_do_not_use_up_what_others_have() -> None:
    policy = Policy("key", "1/minute")
    policy.quota_of("a").take()
    policy.quota_of("b").take()


def test_without_a_limit_there_is_neither_a_count_nor_a_header() -> None:
    policy = Policy("none", "none")
    quota = policy.quota_of("a")
    quota.take(10_000)
    assert (quota.to_headers(), len(policy.storage)) == ({}, 0)


def test_the_memory_for_many_addresses_is_bounded_and_the_oldest_makes_room() -> None:
    policy = Policy("address", "1/minute", max_windows=100)
    for number in range(1000):
        policy.quota_of(f"address {number}").take()
    assert len(policy.storage) == 100
    with pytest.raises(QuotaExceededError):
        policy.quota_of("address 999").take()
    policy.quota_of("address 0").take()


@pytest.mark.parametrize(("n_chars", "cost"), [(1, 1), (500, 1), (501, 2), (100_000, 200)])
def test_a_document_costs_by_its_length(n_chars: int, cost: int) -> None:
    assert document_cost("x" * n_chars) == cost


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
    ],
)
def test_an_ipv6_network_is_one_caller(one: str, other: str, is_same: bool) -> None:
    assert (to_caller(one) == to_caller(other)) is is_same


def build(database: Database, **given: Any) -> FastAPI:
    """Build an application with the real door before two small routes."""
    settings = Settings.model_validate(
        {"rate_limit": "5/minute", "open_rate_limit": "3/minute", "feedback_rate_limit": "1/minute", **given}
    )
    app = FastAPI()

    @app.post("/v1/score")
    async def score(quota: Annotated[Quota, Depends(get_quota)], cost: int = 1) -> str:
        quota.charge(cost)
        return "scored"

    @app.post("/v1/feedback")
    async def send_feedback() -> str:
        return "thanks"

    @app.get("/livez")
    async def report() -> str:
        return "alive"

    install_door(app, settings, KeyRing(KeyStore(database)))
    install_front(app, settings)
    return app


@pytest.fixture
def stranger(database: Database) -> Iterator[TestClient]:
    with TestClient(build(database), client=STRANGER) as client:
        yield client


def test_what_is_left_is_said_with_every_answer_of_a_limited_route(stranger: TestClient) -> None:
    answer = stranger.post("/v1/score?cost=2")
    assert POLICY.fullmatch(answer.headers["RateLimit-Policy"])
    assert answer.headers["RateLimit-Policy"] == '"address";q=3;w=60'
    assert left(dict(answer.headers) | {"RateLimit": answer.headers["RateLimit"]})[0] == 1
    assert "RateLimit" not in stranger.get("/livez").headers


def assert_limited(answer: Any) -> None:
    assert (answer.status_code, answer.json()["type"]) == (429, "urn:credence:problem:rate-limited")
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert LEFT.fullmatch(answer.headers["RateLimit"])
    assert STRANGER[0] not in answer.text


def test_a_caller_who_asks_for_too_much_is_told_when_to_come_back(stranger: TestClient) -> None:
    stranger.post("/v1/score")
    assert_limited(stranger.post("/v1/score?cost=3"))
    stranger.post("/v1/score")
    assert_limited(stranger.post("/v1/score"))
    assert stranger.get("/livez").status_code == 200


def test_feedback_is_free_of_what_scoring_costs_but_has_a_guard(stranger: TestClient) -> None:
    assert [stranger.post("/v1/score").status_code for _ in range(4)] == [200, 200, 200, 429]
    assert stranger.post("/v1/feedback").status_code == 200
    assert_limited(stranger.post("/v1/feedback"))


def test_a_key_has_a_limit_of_its_own_wherever_it_is_sent_from(database: Database) -> None:
    headers = [
        {"Authorization": f"Bearer {KeyStore(database).create(name, [Scope.SCORE])[1].text}"} for name in ("a", "b")
    ]
    app = build(database, require_keys=True)
    with TestClient(app, client=STRANGER) as client, TestClient(app, client=("198.51.100.9", 1)) as elsewhere:
        answers = [where.post("/v1/score", headers=headers[0]) for where in (client, elsewhere) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429]
        assert answers[0].headers["RateLimit-Policy"] == '"key";q=5;w=60'
        assert client.post("/v1/score", headers=headers[1]).status_code == 200


def test_whoever_tries_keys_out_is_slowed_down_and_a_good_key_is_not(database: Database) -> None:
    good = {"Authorization": f"Bearer {KeyStore(database).create('a', [Scope.SCORE])[1].text}"}
    bad = {"Authorization": "Bearer cred_00000000_" + "0" * 64}
    with TestClient(build(database, require_keys=True), client=STRANGER) as client:
        assert [client.post("/v1/score", headers=bad).status_code for _ in range(5)] == [401, 401, 401, 429, 429]
        assert client.post("/v1/score", headers=good).status_code == 200


@pytest.mark.parametrize(("limit_loopback", "last"), [(False, 200), (True, 429)])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_this_machine_is_unlimited_unless_it_is_set(
    database: Database, address: str, limit_loopback: bool, last: int
) -> None:
    with TestClient(build(database, limit_loopback=limit_loopback), client=(address, 1)) as client:
        assert [client.post("/v1/score").status_code for _ in range(4)] == [200, 200, 200, last]


def test_only_a_trusted_proxy_is_believed_about_where_a_request_comes_from(database: Database) -> None:
    def statuses(**given: Any) -> list[int]:
        with TestClient(build(database, **given), client=("10.1.2.3", 1)) as client:
            told = ({"X-Forwarded-For": f"192.0.2.1, 198.51.100.{n}, 10.9.9.9"} for n in range(4))
            return [client.post("/v1/score", headers=headers).status_code for headers in told]

    assert statuses() == [200, 200, 200, 429]
    assert statuses(trusted_proxies="10.0.0.0/8") == [200] * 4
