"""Turns what has happened into what webhooks are told: ids, labels and counts, never a text."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_jsonable_python

from credence.labels import DISCLAIMER
from service.store.announcements import AnnouncementStore, News, NewsItem, Share
from service.store.batch_queue import BATCH_EVENT
from service.store.batch_records import BatchState
from service.store.webhook_records import TEST_PING, NewDelivery, ShareThreshold, Webhook, WebhookKind

MAX_LISTED_LINES: Final = 20
_LINE_FIELDS: Final = ("score_id", "scored_at", "label", "confidence", "language", "source", "document_id")


class Announcer:
    """Announces events to webhooks, each once, however many processes do so at the same time."""

    def __init__(self, store: AnnouncementStore) -> None:
        self._store = store

    def announce(self, *, goes_on: Callable[[], bool] = lambda: True) -> int:
        """Queue what there is to tell, and return how many deliveries. Raises ``StorageUnavailableError``."""
        n_queued = 0
        while goes_on() and (news := self._store.read_news()) is not None:
            deliveries, is_above = plan_deliveries(news)
            if self._store.announce(news, deliveries, is_above):
                n_queued += len(deliveries)
        return n_queued


def plan_deliveries(news: News) -> tuple[list[NewDelivery], dict[int, bool]]:
    """Return what is to be told, in the order of the events, and which webhooks have crossed their threshold."""
    deliveries = [
        NewDelivery(webhook.seq, kind, build_payload(kind, item.event.created_at, data))
        for item in news.items
        for kind, data in _read_item(item)
        for webhook in news.webhooks
        if kind in webhook.kinds and item.event.seq > webhook.after_event_seq
    ]
    is_above: dict[int, bool] = {}
    for webhook in news.webhooks:
        share = news.shares.get(webhook.seq)
        if share is None or webhook.threshold is None:
            continue
        if (is_now := _is_above(share, webhook.threshold)) != webhook.is_above:
            is_above[webhook.seq] = is_now
        if is_now and not webhook.is_above:
            deliveries.append(_tell_share(webhook, webhook.threshold, share))
    return deliveries, is_above


def build_payload(kind: str, at: datetime, data: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a delivery about something that happened at a time."""
    payload: dict[str, Any] = to_jsonable_python(
        {"type": kind, "timestamp": at, "data": {**data, "disclaimer": DISCLAIMER}}
    )
    return payload


def build_ping(webhook: Webhook, at: datetime) -> dict[str, Any]:
    """Return the body of a delivery that only tries whether a webhook works."""
    return build_payload(TEST_PING, at, {"webhook_id": webhook.id})


def _read_item(item: NewsItem) -> Iterator[tuple[WebhookKind, dict[str, Any]]]:
    payload = item.event.payload
    if item.storylines:
        lines = [{name: line[name] for name in _LINE_FIELDS} for line in item.storylines[:MAX_LISTED_LINES]]
        told = {name: payload[name] for name in ("request_id", "batch_id")}
        counts = {"n_lines": len(item.storylines), "n_scores": payload["n_scores"]}
        yield WebhookKind.STORYLINE_LINE, {**told, **counts, "lines": lines}
    if item.event.kind == BATCH_EVENT and payload["state"] == BatchState.DONE:
        yield WebhookKind.BATCH_DONE, payload


def _is_above(share: Share, threshold: ShareThreshold) -> bool:
    is_enough = share.n_statements >= threshold.min_statements
    return is_enough and share.n_labelled > threshold.share * share.n_statements


def _tell_share(webhook: Webhook, threshold: ShareThreshold, share: Share) -> NewDelivery:
    data = {
        "label": threshold.label,
        "source": threshold.source,
        "share": share.n_labelled / share.n_statements,
        "threshold": threshold.share,
        "n_statements": share.n_statements,
        "n_labelled": share.n_labelled,
        "window_start": share.since,
        "window_end": share.until,
    }
    return NewDelivery(webhook.seq, WebhookKind.SHARE_ABOVE, build_payload(WebhookKind.SHARE_ABOVE, share.until, data))
