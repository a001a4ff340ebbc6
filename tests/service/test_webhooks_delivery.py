import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from typing import Any

import pytest

from credence.labels import DISCLAIMER
from service.store.announcements import AnnouncementStore
from service.store.database import Database, StorageUnavailableError
from service.store.delivery_queue import LEASE, MAX_DELAY, DeliveryQueue
from service.store.webhook_records import Delivery, DeliveryState, Webhook, WebhookKind
from service.store.webhook_store import WebhookStore
from service.webhooks.announcer import Announcer, build_ping
from service.webhooks.delivery import RETRY_DELAYS, WebhookDispatcher
from service.webhooks.posting import WebhookPoster
from service.webhooks.signing import new_secret
from tests.service.happenings import keep
from tests.service.store.conftest import START, Clock
from tests.service.webhook_receiver import Received, Receiver, receiving

STORYLINE = "They secretly run the world."


class InlineExecutor(Executor):
    """Does everything at once, so that nothing need be waited for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class House:
    """A service with one webhook, a clock that stands, and senders that send at once."""

    def __init__(self, database: Database, url: str, *, allow_private: bool = True, jitter: float = 0.0) -> None:
        self.clock = Clock()
        self.webhooks = WebhookStore(database, now=self.now)
        self.queue = DeliveryQueue(database, now=self.now)
        self.dispatcher = WebhookDispatcher(
            self.queue,
            Announcer(AnnouncementStore(database, now=self.now)),
            WebhookPoster(allow_private=allow_private),
            now=self.clock,
            jitter=lambda: jitter,
            executor=InlineExecutor(),
        )
        self.webhook = self.create(url)

    def now(self, connection: object) -> datetime:
        return self.clock()

    def create(self, url: str) -> Webhook:
        return self.webhooks.create_webhook(url, new_secret(), [WebhookKind.STORYLINE_LINE], None)

    def ping(self) -> Delivery:
        queued = self.webhooks.queue_delivery(self.webhook.id, "test.ping", build_ping)
        assert queued is not None
        return queued

    def look(self) -> Delivery:
        """Send what is due, and return the newest delivery."""
        self.dispatcher.look()
        return self.list()[0]

    def list(self, state: DeliveryState | None = None) -> list[Delivery]:
        return self.webhooks.list_deliveries(self.webhook.id, state, limit=100) or []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def house(database: Database, receiver: Receiver) -> House:
    return House(database, receiver.url)


def is_signed(got: Received, secret: str) -> bool:
    """Check a signature as a receiver would that has only read the specification."""
    signed = b".".join([got.headers["webhook-id"].encode(), got.headers["webhook-timestamp"].encode(), got.body])
    expected = hmac.new(b64decode(secret.split("whsec_")[1]), signed, "sha256").digest()
    return got.headers["webhook-signature"] == "v1," + b64encode(expected).decode()


@pytest.mark.on_both_databases
def test_a_storyline_is_delivered_signed_and_without_its_text(
    database: Database, house: House, receiver: Receiver
) -> None:
    new = keep(database, "The court met on Monday.", STORYLINE)
    delivery = house.look()
    (got,) = receiver.received
    assert (delivery.state, delivery.n_attempts, delivery.last_fault) == ("delivered", 1, None)
    assert got.headers["webhook-id"] == str(delivery.id)
    assert got.headers["webhook-timestamp"] == str(int(START.timestamp()))
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("Credence/")
    assert is_signed(got, house.webhook.secret)
    assert not is_signed(got, new_secret())
    body = json.loads(got.body)
    assert (body["type"], body["data"]["lines"][0]["score_id"]) == ("storyline.line", str(new[1].id))
    assert body["data"]["disclaimer"] == DISCLAIMER
    assert "secretly" not in got.body.decode()


def test_a_secret_has_the_form_that_the_standard_names() -> None:
    secrets = {new_secret() for _ in range(10)}
    assert len(secrets) == 10
    assert {len(b64decode(secret.removeprefix("whsec_"), validate=True)) for secret in secrets} == {32}


def test_what_fails_is_tried_again_under_the_same_id_until_it_arrives(house: House, receiver: Receiver) -> None:
    receiver.answers.extend([500, 503])
    house.ping()
    first = house.look()
    assert (first.state, first.n_attempts, first.last_fault) == ("pending", 1, "the answer had status 500")
    assert first.next_attempt_at == START + timedelta(seconds=5)
    assert house.look() == first
    house.clock.time += timedelta(seconds=5)
    second = house.look()
    assert second.next_attempt_at == house.clock.time + timedelta(minutes=5)
    house.clock.time += timedelta(minutes=5)
    third = house.look()
    assert (third.state, third.n_attempts, third.last_fault, third.next_attempt_at) == ("delivered", 3, None, None)
    assert [got.headers["webhook-id"] for got in receiver.received] == [str(first.id)] * 3
    assert len({got.headers["webhook-timestamp"] for got in receiver.received}) == 3
    assert len({got.body for got in receiver.received}) == 1
    assert all(is_signed(got, house.webhook.secret) for got in receiver.received)


def test_what_never_arrives_is_dead_after_more_than_two_days_and_can_be_revived(
    house: House, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers.extend([500] * 9)
    house.ping()
    delays = []
    while (delivery := house.look()).next_attempt_at is not None:
        delays.append(delivery.next_attempt_at - house.clock.time)
        house.clock.time = delivery.next_attempt_at
    assert tuple(delays) == RETRY_DELAYS
    assert house.clock.time - START == timedelta(hours=51, minutes=35, seconds=5)
    assert (delivery.state, delivery.n_attempts) == ("dead", 9)
    assert house.list(DeliveryState.DEAD) == [delivery]
    house.clock.time += timedelta(days=9)
    assert house.look() == delivery
    house.webhooks.retry_delivery(delivery.id)
    assert house.look().state == "delivered"
    assert "dead: the answer had status 500" in caplog.text
    assert "t0ken" not in caplog.text


def test_those_who_failed_together_do_not_come_back_together(database: Database, receiver: Receiver) -> None:
    receiver.answers.extend([500, 500])
    waits = []
    for jitter in (0.0, 0.999):
        house = House(database, receiver.url, jitter=jitter)
        house.ping()
        next_attempt_at = house.look().next_attempt_at
        assert next_attempt_at is not None
        waits.append(next_attempt_at - house.clock.time)
    assert waits[0] == timedelta(seconds=5)
    assert timedelta(seconds=5.9) < waits[1] < timedelta(seconds=6)


@pytest.mark.parametrize(
    ("asked", "delay"), [("1", timedelta(seconds=5)), ("60", timedelta(seconds=60)), ("999999", MAX_DELAY)]
)
def test_a_receiver_that_asks_for_time_gets_it(house: House, receiver: Receiver, asked: str, delay: timedelta) -> None:
    receiver.answers.append(429)
    receiver.answer_headers["Retry-After"] = asked
    house.ping()
    assert house.look().next_attempt_at == START + delay


def test_a_webhook_that_is_gone_for_good_is_deleted(
    house: House, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers.append(410)
    for _ in range(3):
        house.ping()
    house.dispatcher.look()
    house.dispatcher.look()
    assert house.webhooks.list_webhooks() == []
    assert len(receiver.received) == 1
    assert str(house.webhook.id) in caplog.text
    assert "t0ken" not in caplog.text


def test_a_redirect_is_a_fault_that_is_tried_again(house: House, receiver: Receiver) -> None:
    receiver.answers.append(302)
    receiver.answer_headers["Location"] = receiver.url
    house.ping()
    delivery = house.look()
    assert (delivery.state, len(receiver.received)) == ("pending", 1)
    assert delivery.last_fault == "the answer was a redirect (302), which is not followed"


def test_a_private_address_gets_nothing_where_it_is_not_allowed(database: Database, receiver: Receiver) -> None:
    # It may have been registered when it was still allowed.
    house = House(database, receiver.url, allow_private=False)
    house.ping()
    delivery = house.look()
    assert (delivery.state, delivery.last_fault, receiver.received) == ("pending", "the host has a private address", [])


def test_a_webhook_that_fails_holds_up_no_other(database: Database, receiver: Receiver, house: House) -> None:
    with receiving() as broken:
        broken.answers.extend([500] * 3)
        other = house.create(broken.url)
        keep(database, STORYLINE)
        house.look()
        house.ping()
        house.look()
    assert [d.state for d in house.list()] == ["delivered", "delivered"]
    assert [d.state for d in house.webhooks.list_deliveries(other.id, None, limit=10) or []] == ["pending"]
    assert (len(receiver.received), len(broken.received)) == (2, 1)


def test_a_delivery_that_cannot_be_noted_is_sent_again_when_its_lease_has_run_out(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def be_away(queue: DeliveryQueue, claim: object) -> None:
        raise StorageUnavailableError("the database did not answer")

    house.ping()
    with monkeypatch.context() as away:
        away.setattr(DeliveryQueue, "settle", be_away)
        house.look()
    assert "may be sent again" in caplog.text
    house.clock.time += LEASE
    assert house.look().state == "delivered"
    assert len({got.headers["webhook-id"] for got in receiver.received}) == 1
    assert len(receiver.received) == 2


def test_an_unexpected_fault_stops_neither_the_senders_nor_says_what_was_sent(
    house: House, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(poster: WebhookPoster, url: str, headers: object, body: object) -> None:
        raise ValueError(url)

    house.ping()
    with monkeypatch.context() as failing:
        failing.setattr(WebhookPoster, "post", fail)
        house.look()
    assert "unexpected ValueError" in caplog.text
    assert "t0ken" not in caplog.text
    house.clock.time += LEASE
    assert house.look().state == "delivered"
