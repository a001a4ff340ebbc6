import logging
import threading
from collections.abc import Iterator

import pytest

from service.settings import Settings
from service.store.announcements import AnnouncementStore
from service.store.database import Database, StorageUnavailableError
from service.store.webhook_records import WebhookKind
from service.store.webhook_store import WebhookStore
from service.webhooks.delivery import build_dispatcher
from service.webhooks.signing import new_secret
from tests.service.happenings import keep
from tests.service.webhook_receiver import Handler, Receiver, receiving

PATIENCE_SECONDS = 30
STORYLINE = "They secretly run the world."


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_the_service_announces_and_delivers_by_itself_and_stops_at_once(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.webhooks.delivery.LOOK_SECONDS", 0.01)
    caplog.set_level(logging.INFO)
    has_arrived = threading.Event()

    def hang(handler: Handler) -> None:
        has_arrived.set()
        handler.server.has_ended.wait(PATIENCE_SECONDS)

    webhooks = WebhookStore(database)
    webhook = webhooks.create_webhook(receiver.url, new_secret(), [WebhookKind.STORYLINE_LINE], None)
    dispatcher = build_dispatcher(Settings(webhook_allow_private=True), database)
    dispatcher.start()
    try:
        receiver.answers.extend([204, hang])
        keep(database, STORYLINE)
        keep(database, STORYLINE)
        assert has_arrived.wait(PATIENCE_SECONDS)
    finally:
        dispatcher.close()
    # What was broken off is neither delivered nor failed.
    found = webhooks.list_deliveries(webhook.id, None, limit=10) or []
    assert [(d.state, d.n_attempts, d.last_fault) for d in found] == [("pending", 1, None), ("delivered", 1, None)]
    assert not {"webhooks"} & {thread.name for thread in threading.enumerate()}
    assert caplog.text == ""


def test_a_database_that_is_away_is_waited_for_and_said_once(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.webhooks.delivery.LOOK_SECONDS", 0.001)
    looks = threading.Semaphore(0)

    def be_away(store: AnnouncementStore) -> None:
        looks.release()
        raise StorageUnavailableError("the database did not answer")

    monkeypatch.setattr(AnnouncementStore, "read_news", be_away)
    dispatcher = build_dispatcher(Settings(), database)
    dispatcher.start()
    for _ in range(3):
        assert looks.acquire(timeout=PATIENCE_SECONDS)
    dispatcher.close()
    assert [record.getMessage() for record in caplog.records] == ["webhooks: the database did not answer"]
