from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Connection

from service.store import webhook_store
from service.store.database import Database
from service.store.delivery_queue import LEASE, MAX_DELAY, DeliveryQueue
from service.store.webhook_records import Delivery, DeliveryState, ShareThreshold, Webhook, WebhookKind
from service.store.webhook_store import TooManyWebhooksError, WebhookStore
from tests.service.store.conftest import START, Clock

pytestmark = pytest.mark.on_both_databases
THRESHOLD = ShareThreshold("allegation", 0.5, 60, 10, "wire")
SECRET = "whsec_SECRET"


@pytest.fixture
def webhooks(database: Database, clock: Clock) -> WebhookStore:
    return WebhookStore(database, now=lambda connection: clock())


@pytest.fixture
def queue(database: Database, clock: Clock) -> DeliveryQueue:
    return DeliveryQueue(database, now=lambda connection: clock())


def create(webhooks: WebhookStore, *kinds: WebhookKind, threshold: ShareThreshold | None = None) -> Webhook:
    return webhooks.create_webhook("https://hooks.test/a", SECRET, kinds or tuple(WebhookKind), threshold)


def tell(webhooks: WebhookStore, webhook: Webhook, number: int = 0) -> Delivery:
    told = webhooks.queue_delivery(webhook.id, "test.ping", lambda w, at: {"number": number})
    assert told is not None
    return told


def read(webhooks: WebhookStore, delivery: Delivery) -> Delivery:
    found = webhooks.list_deliveries(delivery.webhook_id, None, limit=100)
    return next(d for d in found or [] if d.id == delivery.id)


def test_a_webhook_is_kept_as_it_was_given(webhooks: WebhookStore) -> None:
    created = create(webhooks, WebhookKind.SHARE_ABOVE, WebhookKind.BATCH_DONE, threshold=THRESHOLD)
    other = create(webhooks, WebhookKind.STORYLINE_LINE)
    assert webhooks.list_webhooks() == [created, other]
    assert webhooks.read_webhook(created.id) == created
    assert (created.kinds, created.threshold) == ((WebhookKind.SHARE_ABOVE, WebhookKind.BATCH_DONE), THRESHOLD)
    assert (created.secret, created.is_above, created.created_at) == (SECRET, False, START)


def test_a_secret_does_not_show_by_accident(webhooks: WebhookStore, queue: DeliveryQueue) -> None:
    webhook = create(webhooks)
    tell(webhooks, webhook)
    assert SECRET not in repr([webhook, *queue.claim_due(limit=1)])


def test_a_deleted_webhook_takes_its_deliveries_along(webhooks: WebhookStore, queue: DeliveryQueue) -> None:
    webhook = create(webhooks)
    delivery = tell(webhooks, webhook)
    assert [webhooks.delete_webhook(webhook.id), webhooks.delete_webhook(webhook.id)] == [True, False]
    assert webhooks.read_webhook(webhook.id) is None
    assert webhooks.list_deliveries(webhook.id, None, limit=10) is None
    assert webhooks.retry_delivery(delivery.id) is None
    assert queue.claim_due(limit=10) == []


def test_there_can_be_only_so_many_webhooks(webhooks: WebhookStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_store, "MAX_WEBHOOKS", 2)
    create(webhooks)
    webhook = create(webhooks)
    with pytest.raises(TooManyWebhooksError):
        create(webhooks)
    webhooks.delete_webhook(webhook.id)
    create(webhooks)


def test_nothing_is_queued_for_a_webhook_that_is_not_there(webhooks: WebhookStore) -> None:
    assert webhooks.queue_delivery(uuid4(), "test.ping", lambda w, at: {}) is None


def test_deliveries_are_listed_newest_first_by_state_and_page(webhooks: WebhookStore, queue: DeliveryQueue) -> None:
    webhook, other = create(webhooks), create(webhooks)
    told = [tell(webhooks, webhook, number) for number in range(5)]
    tell(webhooks, other)
    dead = next(claim for claim in queue.claim_due(limit=10) if claim.webhook_seq == webhook.seq)
    queue.give_up(dead, "it is broken")
    first = webhooks.list_deliveries(webhook.id, None, limit=3) or []
    second = webhooks.list_deliveries(webhook.id, None, limit=3, before_seq=first[-1].seq) or []
    assert [d.id for d in first + second] == [d.id for d in reversed(told)]
    (found,) = webhooks.list_deliveries(webhook.id, DeliveryState.DEAD, limit=10) or []
    assert (found.id, found.last_fault, found.next_attempt_at, found.n_attempts) == (dead.id, "it is broken", None, 1)
    assert webhooks.list_deliveries(webhook.id, DeliveryState.DELIVERED, limit=10) == []


def test_a_claimed_delivery_is_nobody_elses_until_its_lease_runs_out(
    webhooks: WebhookStore, queue: DeliveryQueue, clock: Clock
) -> None:
    told = tell(webhooks, create(webhooks), 7)
    (claim,) = queue.claim_due(limit=10)
    assert (claim.id, claim.payload, claim.n_attempts, claim.secret) == (told.id, {"number": 7}, 1, SECRET)
    clock.time += LEASE - timedelta(microseconds=1)
    assert queue.claim_due(limit=10) == []
    clock.time += timedelta(microseconds=1)
    (again,) = queue.claim_due(limit=10)
    assert (again.id, again.n_attempts) == (told.id, 2)


def test_a_claim_that_another_process_wins_is_not_won(
    database: Database, webhooks: WebhookStore, queue: DeliveryQueue, clock: Clock
) -> None:
    tell(webhooks, create(webhooks))
    rivals: list[int] = []

    def let_another_claim_first(connection: Connection) -> object:
        # The clock is asked before the queue looks, and again before it claims.
        if not rivals:
            rivals.append(len(queue.claim_due(limit=10)))
        return clock()

    late = DeliveryQueue(database, now=let_another_claim_first)  # type: ignore[arg-type]
    assert (late.claim_due(limit=10), rivals) == ([], [1])


def test_a_webhook_gets_one_delivery_at_a_time_and_holds_up_no_other(
    webhooks: WebhookStore, queue: DeliveryQueue
) -> None:
    slow, quick = create(webhooks), create(webhooks)
    for number in range(3):
        tell(webhooks, slow, number)
    tell(webhooks, quick, 9)
    first = queue.claim_due(limit=10)
    assert sorted((c.webhook_seq, c.payload["number"]) for c in first) == [(slow.seq, 0), (quick.seq, 9)]
    assert queue.claim_due(limit=10, busy_webhooks={slow.seq, quick.seq}) == []
    assert [c.payload["number"] for c in queue.claim_due(limit=10, busy_webhooks={quick.seq})] == [1]
    assert len(queue.claim_due(limit=0)) == 0


def test_a_delivery_that_was_put_off_comes_back_when_it_is_due(
    webhooks: WebhookStore, queue: DeliveryQueue, clock: Clock
) -> None:
    told = tell(webhooks, create(webhooks))
    (claim,) = queue.claim_due(limit=1)
    queue.put_off(claim, "it is broken", timedelta(minutes=5))
    assert read(webhooks, told) == replace(
        told, n_attempts=1, last_fault="it is broken", next_attempt_at=clock.time + timedelta(minutes=5)
    )
    clock.time += timedelta(minutes=5) - timedelta(microseconds=1)
    assert queue.claim_due(limit=1) == []
    clock.time += timedelta(microseconds=1)
    (claim,) = queue.claim_due(limit=1)
    queue.settle(claim)
    done = read(webhooks, told)
    assert (done.state, done.n_attempts, done.next_attempt_at, done.last_fault) == ("delivered", 2, None, None)
    clock.time += timedelta(days=30)
    assert queue.claim_due(limit=1) == []


def test_a_clock_that_was_set_back_holds_up_no_delivery_for_years(
    webhooks: WebhookStore, queue: DeliveryQueue, clock: Clock
) -> None:
    tell(webhooks, create(webhooks))
    (claim,) = queue.claim_due(limit=1)
    queue.put_off(claim, "it is broken", MAX_DELAY)
    clock.time -= timedelta(days=365)
    assert len(queue.claim_due(limit=1)) == 1


@pytest.mark.parametrize("write", [DeliveryQueue.settle, lambda q, c: q.give_up(c, "it is broken")])
def test_who_has_lost_a_claim_writes_nothing(
    webhooks: WebhookStore, queue: DeliveryQueue, clock: Clock, write: Callable[..., None]
) -> None:
    told = tell(webhooks, create(webhooks))
    (lost,) = queue.claim_due(limit=1)
    clock.time += LEASE
    (claim,) = queue.claim_due(limit=1)
    write(queue, lost)
    assert read(webhooks, told).state == DeliveryState.PENDING
    queue.settle(claim)
    queue.give_up(lost, "it is broken")
    assert read(webhooks, told).state == DeliveryState.DELIVERED


def test_a_dead_delivery_can_be_tried_again_from_the_start(
    webhooks: WebhookStore, queue: DeliveryQueue, clock: Clock
) -> None:
    told = tell(webhooks, create(webhooks))
    (claim,) = queue.claim_due(limit=1)
    queue.give_up(claim, "it is broken")
    assert queue.claim_due(limit=1) == []
    retried = webhooks.retry_delivery(told.id)
    assert retried is not None
    assert (retried.state, retried.n_attempts, retried.last_fault) == ("pending", 0, "it is broken")
    (claim,) = queue.claim_due(limit=1)
    assert (claim.id, claim.n_attempts) == (told.id, 1)
    assert webhooks.retry_delivery(uuid4()) is None


def test_old_deliveries_go_unless_they_are_still_to_arrive(
    webhooks: WebhookStore, queue: DeliveryQueue, clock: Clock
) -> None:
    webhook, other, waiting = create(webhooks), create(webhooks), create(webhooks)
    for name in (webhook, other, waiting):
        tell(webhooks, name)
    claims = {claim.webhook_seq: claim for claim in queue.claim_due(limit=3)}
    queue.settle(claims[webhook.seq])
    queue.give_up(claims[other.seq], "it is broken")
    assert webhooks.delete_deliveries_before(clock.time) == 0
    clock.time += timedelta(days=1)
    assert webhooks.delete_deliveries_before(clock.time) == 2
    assert [len(webhooks.list_deliveries(w.id, None, limit=10) or []) for w in (webhook, other, waiting)] == [0, 0, 1]


def test_deliveries_do_not_look_like_news(webhooks: WebhookStore, queue: DeliveryQueue, database: Database) -> None:
    webhook = create(webhooks)
    before = database.read_revision()
    tell(webhooks, webhook)
    (claim,) = queue.claim_due(limit=1)
    queue.settle(claim)
    assert database.read_revision() == before
