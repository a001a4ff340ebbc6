from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from credence.labels import DISCLAIMER
from service.store import announcements
from service.store.announcements import AnnouncementStore
from service.store.database import Database
from service.store.score_store import ScoreStore
from service.store.score_writes import insert_event
from service.store.tables import webhook_deliveries
from service.store.webhook_records import ShareThreshold, Webhook, WebhookKind
from service.store.webhook_store import WebhookStore
from service.webhooks.announcer import MAX_LISTED_LINES, Announcer, plan_deliveries
from tests.service.store.conftest import START, Clock, NewScores, clock, new_scores, store
from tests.service.tiny_scorer import TinyScorer

__all__ = ["clock", "new_scores", "store"]
pytestmark = pytest.mark.on_both_databases
INFO = TinyScorer().info
FACT, STORYLINE = "The court met on Monday.", "They secretly run the world."


@pytest.fixture
def announcer(database: Database) -> Announcer:
    return Announcer(AnnouncementStore(database))


@pytest.fixture
def webhooks(database: Database) -> WebhookStore:
    return WebhookStore(database)


def create(webhooks: WebhookStore, *kinds: WebhookKind, threshold: ShareThreshold | None = None) -> Webhook:
    return webhooks.create_webhook("https://hooks.test/", "whsec_", kinds, threshold)


def queued(database: Database, webhook: Webhook) -> list[dict[str, Any]]:
    """Return what a webhook is to be told, in order."""
    query = select(webhook_deliveries.c.payload).where(webhook_deliveries.c.webhook_seq == webhook.seq)
    with database.reading() as connection:
        return list(connection.execute(query.order_by(webhook_deliveries.c.seq)).scalars())


def test_a_storyline_line_is_told_to_those_who_asked_for_it(
    database: Database, announcer: Announcer, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores
) -> None:
    asking, other = create(webhooks, WebhookKind.STORYLINE_LINE), create(webhooks, WebhookKind.BATCH_DONE)
    new = new_scores(FACT, STORYLINE, source="wire", document_id="d-1")
    request_id = store.keep_statements(new, INFO, uuid4())
    store.keep_statements(new_scores(FACT), INFO, uuid4())
    assert announcer.announce() == 1
    time = "2026-03-01T12:00:00Z"
    line = {
        "score_id": str(new[1].id),
        "scored_at": time,
        "label": "likely_disinformation_narrative",
        "confidence": 0.7,
        "language": "en",
        "source": "wire",
        "document_id": "d-1",
    }
    data = {"request_id": str(request_id), "batch_id": None, "n_lines": 1, "n_scores": 2, "lines": [line]}
    assert queued(database, asking) == [
        {"type": "storyline.line", "timestamp": time, "data": {**data, "disclaimer": DISCLAIMER}}
    ]
    assert queued(database, other) == []


def test_many_storyline_lines_of_one_request_are_one_delivery_that_counts_them(
    database: Database, announcer: Announcer, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores
) -> None:
    webhook = create(webhooks, WebhookKind.STORYLINE_LINE)
    store.keep_statements(new_scores(*[STORYLINE] * 50), INFO, uuid4())
    announcer.announce()
    (told,) = queued(database, webhook)
    assert (told["data"]["n_lines"], len(told["data"]["lines"])) == (50, MAX_LISTED_LINES)
    assert "secretly" not in str(told)


def test_a_storyline_line_that_was_deleted_is_not_told(
    database: Database, announcer: Announcer, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores
) -> None:
    webhook = create(webhooks, WebhookKind.STORYLINE_LINE)
    new = new_scores(STORYLINE)
    store.keep_statements(new, INFO, uuid4())
    store.delete_score(new[0].id)
    announcer.announce()
    assert queued(database, webhook) == []


def test_a_batch_is_told_when_it_is_done_and_not_when_it_has_failed(
    database: Database, announcer: Announcer, webhooks: WebhookStore
) -> None:
    webhook = create(webhooks, *WebhookKind, threshold=None)
    for state in ("cancelled", "failed", "done"):
        payload = {"batch_id": "b-1", "state": state, "n_rows": 9, "n_done_rows": 9, "n_error_rows": 2}
        with database.writing() as connection:
            insert_event(connection, "batch", payload, at=START)
    announcer.announce()
    (told,) = queued(database, webhook)
    assert (told["type"], told["data"]["state"], told["data"]["n_error_rows"]) == ("batch.done", "done", 2)
    assert told["data"]["disclaimer"] == DISCLAIMER


def test_a_webhook_is_told_only_of_what_happened_after_it_was_registered(
    database: Database, announcer: Announcer, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores
) -> None:
    store.keep_statements(new_scores(STORYLINE), INFO, uuid4())
    assert announcer.announce() == 0
    first = create(webhooks, WebhookKind.STORYLINE_LINE)
    store.keep_statements(new_scores(STORYLINE, STORYLINE), INFO, uuid4())
    second = create(webhooks, WebhookKind.STORYLINE_LINE)
    store.keep_statements(new_scores(*[STORYLINE] * 3), INFO, uuid4())
    assert announcer.announce() == 3
    assert [told["data"]["n_lines"] for told in queued(database, first)] == [2, 3]
    assert [told["data"]["n_lines"] for told in queued(database, second)] == [3]


def test_each_event_is_told_once_however_many_announce(
    database: Database,
    webhooks: WebhookStore,
    store: ScoreStore,
    new_scores: NewScores,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(announcements, "MAX_NEWS_EVENTS", 3)
    webhook = create(webhooks, WebhookKind.STORYLINE_LINE)
    ids = [store.keep_statements(new_scores(STORYLINE), INFO, uuid4()) for _ in range(20)]
    with ThreadPoolExecutor(4) as pool:
        rivals = [pool.submit(Announcer(AnnouncementStore(database)).announce) for _ in range(4)]
        assert sum(rival.result() for rival in rivals) == 20
    assert [told["data"]["request_id"] for told in queued(database, webhook)] == [str(i) for i in ids]


def test_news_that_somebody_else_has_announced_is_no_news(
    database: Database, announcer: Announcer, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores
) -> None:
    create(webhooks, WebhookKind.STORYLINE_LINE)
    store.keep_statements(new_scores(STORYLINE), INFO, uuid4())
    slow = AnnouncementStore(database)
    news = slow.read_news()
    assert news is not None
    assert announcer.announce() == 1
    assert slow.announce(news, *plan_deliveries(news)) is False
    assert slow.read_news() is None


def test_a_webhook_that_comes_or_goes_while_news_is_read_loses_nothing(
    database: Database, announcer: Announcer, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores
) -> None:
    gone = create(webhooks, WebhookKind.STORYLINE_LINE)
    store.keep_statements(new_scores(STORYLINE), INFO, uuid4())
    slow = AnnouncementStore(database)
    for change in (lambda: create(webhooks, WebhookKind.STORYLINE_LINE), lambda: webhooks.delete_webhook(gone.id)):
        news = slow.read_news()
        assert news is not None
        change()
        assert slow.announce(news, *plan_deliveries(news)) is False
    store.keep_statements(new_scores(STORYLINE), INFO, uuid4())
    (new,) = webhooks.list_webhooks()
    assert announcer.announce() == 1
    assert len(queued(database, new)) == 1


def test_announcing_comes_to_rest(
    database: Database, announcer: Announcer, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores
) -> None:
    create(webhooks, WebhookKind.STORYLINE_LINE)
    store.keep_statements(new_scores(FACT), INFO, uuid4())
    announcer.announce()
    before = database.read_revision()
    assert announcer.announce() == 0
    assert database.read_revision() == before
    store.keep_statements(new_scores(STORYLINE), INFO, uuid4())
    assert announcer.announce(goes_on=lambda: False) == 0


class Newsroom:
    """Keeps some statements, a minute after the last, and says what a webhook was told of them."""

    def __init__(self, database: Database, store: ScoreStore, clock: Clock, webhook: Webhook) -> None:
        self._database, self._store, self._clock, self._webhook = database, store, clock, webhook
        self._announcer = Announcer(AnnouncementStore(database))
        self._n_seen = 0

    def keep(self, new: Sequence[Any], *, minutes: int = 1) -> list[dict[str, Any]]:
        self._clock.time += timedelta(minutes=minutes)
        self._store.keep_statements(new, INFO, UUID(int=self._clock.time.minute))
        self._announcer.announce()
        told = queued(self._database, self._webhook)[self._n_seen :]
        self._n_seen += len(told)
        return [item["data"] for item in told]


def test_a_share_is_told_when_it_is_crossed_and_again_only_after_it_was_left(
    database: Database, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores, clock: Clock
) -> None:
    threshold = ShareThreshold("likely_disinformation_narrative", 0.5, window_minutes=60, min_statements=4)
    webhook = create(webhooks, WebhookKind.SHARE_ABOVE, threshold=threshold)
    room = Newsroom(database, store, clock, webhook)
    assert room.keep(new_scores(STORYLINE, STORYLINE, STORYLINE)) == []
    # Four are enough to tell of, and the time is that of the newest of them.
    (told,) = room.keep(new_scores(FACT))
    assert told == {
        "label": "likely_disinformation_narrative",
        "source": None,
        "share": 0.75,
        "threshold": 0.5,
        "n_statements": 4,
        "n_labelled": 3,
        "window_start": "2026-03-01T11:02:00Z",
        "window_end": "2026-03-01T12:02:00Z",
        "disclaimer": DISCLAIMER,
    }
    assert room.keep(new_scores(STORYLINE)) == []
    # A share that is just as great as the threshold is not above it.
    assert room.keep(new_scores(FACT, FACT, FACT)) == []
    assert webhooks.list_webhooks()[0].is_above is False
    (again,) = room.keep(new_scores(STORYLINE))
    assert (again["n_statements"], again["n_labelled"]) == (9, 5)
    assert webhooks.list_webhooks()[0].is_above is True


def test_a_share_is_of_its_window_alone(
    database: Database, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores, clock: Clock
) -> None:
    threshold = ShareThreshold("likely_disinformation_narrative", 0.5, window_minutes=10, min_statements=2)
    room = Newsroom(database, store, clock, create(webhooks, WebhookKind.SHARE_ABOVE, threshold=threshold))
    assert room.keep(new_scores(*[FACT] * 9)) == []
    (told,) = room.keep(new_scores(STORYLINE, STORYLINE), minutes=10)
    assert (told["n_statements"], told["share"]) == (2, 1.0)
    # Too few for the threshold are as good as left.
    assert room.keep(new_scores(STORYLINE), minutes=10) == []
    assert len(room.keep(new_scores(STORYLINE))) == 1


def test_a_share_can_be_of_one_source(
    database: Database, webhooks: WebhookStore, store: ScoreStore, new_scores: NewScores, clock: Clock
) -> None:
    threshold = ShareThreshold("likely_disinformation_narrative", 0.5, 60, min_statements=1, source="wire")
    room = Newsroom(database, store, clock, create(webhooks, WebhookKind.SHARE_ABOVE, threshold=threshold))
    assert room.keep(new_scores(*[STORYLINE] * 5, source="other")) == []
    assert room.keep(new_scores(FACT, source="wire")) == []
    (told,) = room.keep(new_scores(STORYLINE, STORYLINE, source="wire"))
    assert (told["source"], told["n_labelled"], told["n_statements"]) == ("wire", 2, 3)
