"""What there is to announce to webhooks, and the one transaction that announces it and remembers how far it came.

What is new is read beforehand, so that others wait for their turn to write no longer than it takes to write. If
somebody else has announced it meanwhile, or a webhook has come or gone, nothing is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, case, func, select, update

from credence.labels import Outcome
from service.store.database import Database
from service.store.event_store import StoredEvent, read_event_scores, read_events
from service.store.score_writes import SCORES_EVENT
from service.store.tables import scores, store_state, webhooks
from service.store.webhook_records import NewDelivery, ShareThreshold, Webhook, WebhookKind
from service.store.webhook_store import insert_deliveries, read_webhooks

MAX_NEWS_EVENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Share:
    """How many of the statements that were scored in a span of time have a label; ``since`` is not part of it."""

    n_statements: int
    n_labelled: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class NewsItem:
    """An event, and those of its scores that are labelled as storylines where a webhook wants to know of them."""

    event: StoredEvent
    storylines: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class News:
    """What has happened since the last announcement, and to whom it matters; ``shares`` are by webhook."""

    after_seq: int
    until_seq: int
    items: Sequence[NewsItem]
    webhooks: Sequence[Webhook]
    shares: Mapping[int, Share]


class AnnouncementStore:
    """Reads news and writes deliveries. Every method raises ``StorageUnavailableError``."""

    def __init__(self, database: Database, *, now: Callable[[Connection], datetime] | None = None) -> None:
        self._database = database
        self._now = now or database.read_time

    def read_news(self) -> News | None:
        """Return the next events that have not been announced, or null where there are none or nobody listens."""
        with self._database.reading() as connection:
            known = read_webhooks(connection)
            if not known:
                return None
            after = _read_announced(connection)
            start = max(after, min(webhook.after_event_seq for webhook in known))
            found = read_events(connection, start, limit=MAX_NEWS_EVENTS)
            if not found:
                return None
            is_wanted = any(WebhookKind.STORYLINE_LINE in webhook.kinds for webhook in known)
            label = Outcome.LIKELY_DISINFORMATION_NARRATIVE
            items = [NewsItem(e, read_event_scores(connection, e, label) if is_wanted else ()) for e in found]
            return News(after, found[-1].seq, items, known, _read_shares(connection, found, known))

    def announce(self, news: News, deliveries: Sequence[NewDelivery], is_above: Mapping[int, bool]) -> bool:
        """Queue deliveries, note which webhooks are above their threshold, and say whether the news was still new."""
        with self._database.writing() as connection:
            present = set(connection.execute(select(webhooks.c.seq)).scalars())
            is_new = _read_announced(connection) == news.after_seq
            if not is_new or present != {webhook.seq for webhook in news.webhooks}:
                return False
            insert_deliveries(connection, deliveries, at=self._now(connection))
            for seq, value in is_above.items():
                connection.execute(update(webhooks).where(webhooks.c.seq == seq).values(is_above=value))
            connection.execute(update(store_state).values(announced_event_seq=news.until_seq))
        return True


def _read_announced(connection: Connection) -> int:
    return int(connection.execute(select(store_state.c.announced_event_seq)).scalar_one())


def _read_shares(connection: Connection, found: Sequence[StoredEvent], known: Sequence[Webhook]) -> dict[int, Share]:
    newest = next((event for event in reversed(found) if event.kind == SCORES_EVENT), None)
    if newest is None:
        return {}
    watching = ((w.seq, w.threshold) for w in known if w.after_event_seq < newest.seq)
    return {
        seq: _read_share(connection, threshold, newest.created_at)
        for seq, threshold in watching
        if threshold is not None
    }


def _read_share(connection: Connection, threshold: ShareThreshold, until: datetime) -> Share:
    since = until - timedelta(minutes=threshold.window_minutes)
    n_labelled = func.count(case((scores.c.label == threshold.label, 1)))
    query = select(func.count(), n_labelled).where(scores.c.scored_at > since, scores.c.scored_at <= until)
    if threshold.source is not None:
        query = query.where(scores.c.source == threshold.source)
    n_statements, n_labelled_found = connection.execute(query).one()
    return Share(n_statements, n_labelled_found, since, until)
