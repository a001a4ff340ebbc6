"""Keeps webhooks, and lists, queues and deletes what they are told."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from credence.errors import CredenceError
from service.store.database import Database
from service.store.tables import events, webhook_deliveries, webhooks
from service.store.webhook_records import Delivery, DeliveryState, NewDelivery, ShareThreshold, Webhook, WebhookKind

MAX_WEBHOOKS: Final = 100
DELETE_DELIVERIES: Final = 5_000
_DELIVERIES: Final = select(webhook_deliveries, webhooks.c.id.label("webhook_id")).join(webhooks)


class TooManyWebhooksError(CredenceError):
    """There are as many webhooks as there may be."""


class WebhookStore:
    """What is kept of webhooks. Every method is one transaction, and raises ``StorageUnavailableError``."""

    def __init__(self, database: Database, *, now: Callable[[Connection], datetime] | None = None) -> None:
        self._database = database
        self._now = now or database.read_time

    def create_webhook(
        self, url: str, secret: str, kinds: Sequence[WebhookKind], threshold: ShareThreshold | None
    ) -> Webhook:
        """Keep a webhook, which is told of what happens from now on. Raises ``TooManyWebhooksError``."""
        with self._database.writing() as connection:
            n_webhooks = connection.execute(select(func.count()).select_from(webhooks)).scalar_one()
            if n_webhooks >= MAX_WEBHOOKS:
                raise TooManyWebhooksError(f"there are {n_webhooks} webhooks")
            newest = connection.execute(select(func.max(events.c.seq))).scalar_one()
            values = {
                "id": uuid4(),
                "created_at": self._now(connection),
                "url": url,
                "secret": secret,
                "kinds": [str(kind) for kind in kinds],
                "threshold": asdict(threshold) if threshold else None,
                "is_above": False,
                "after_event_seq": newest or 0,
            }
            return _to_webhook(connection.execute(insert(webhooks).values(**values).returning(webhooks)).one())

    def list_webhooks(self) -> list[Webhook]:
        """Return all webhooks, the oldest first."""
        with self._database.reading() as connection:
            return read_webhooks(connection)

    def read_webhook(self, webhook_id: UUID) -> Webhook | None:
        """Return one webhook, or null."""
        with self._database.reading() as connection:
            return _find_webhook(connection, webhook_id)

    def delete_webhook(self, webhook_id: UUID) -> bool:
        """Delete a webhook with all its deliveries, and say whether it was there."""
        with self._database.writing() as connection:
            return connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id)).rowcount > 0

    def queue_delivery(
        self, webhook_id: UUID, kind: str, build_payload: Callable[[Webhook, datetime], dict[str, Any]]
    ) -> Delivery | None:
        """Queue something for one webhook whatever it is told of otherwise; null where there is no such webhook."""
        with self._database.writing(takes_turn=False) as connection:
            webhook = _find_webhook(connection, webhook_id)
            if webhook is None:
                return None
            at = self._now(connection)
            new = NewDelivery(webhook.seq, kind, build_payload(webhook, at))
            return _find_delivery(connection, insert_deliveries(connection, [new], at=at)[0])

    def list_deliveries(
        self, webhook_id: UUID, state: DeliveryState | None, *, limit: int, before_seq: int | None = None
    ) -> list[Delivery] | None:
        """Return what a webhook was told and is to be told, newest first; null where there is no such webhook."""
        with self._database.reading() as connection:
            if _find_webhook(connection, webhook_id) is None:
                return None
            query = _DELIVERIES.where(webhooks.c.id == webhook_id)
            if state is not None:
                query = query.where(webhook_deliveries.c.state == state)
            if before_seq is not None:
                query = query.where(webhook_deliveries.c.seq < before_seq)
            rows = connection.execute(query.order_by(webhook_deliveries.c.seq.desc()).limit(limit))
            return [_to_delivery(row) for row in rows]

    def retry_delivery(self, delivery_id: UUID) -> Delivery | None:
        """Make a delivery due at once, with all its attempts before it; null where there is none with this id."""
        with self._database.writing(takes_turn=False) as connection:
            values = {"state": DeliveryState.PENDING, "n_attempts": 0, "next_attempt_at": self._now(connection)}
            query = update(webhook_deliveries).where(webhook_deliveries.c.id == delivery_id)
            connection.execute(query.values(**values))
            return _find_delivery(connection, delivery_id)

    def delete_deliveries_before(self, time: datetime) -> int:
        """Delete the deliveries from before a time that are delivered or dead, and return how many."""
        where = (webhook_deliveries.c.created_at < time, webhook_deliveries.c.state != DeliveryState.PENDING)
        old = select(webhook_deliveries.c.seq).where(*where).limit(DELETE_DELIVERIES)
        n_deleted = 0
        while True:
            with self._database.writing(takes_turn=False) as connection:
                query = delete(webhook_deliveries).where(webhook_deliveries.c.seq.in_(old))
                n_deliveries = connection.execute(query).rowcount
            n_deleted += n_deliveries
            if not n_deliveries:
                return n_deleted


def read_webhooks(connection: Connection, *where: ColumnElement[bool]) -> list[Webhook]:
    """Return webhooks, the oldest first."""
    query = select(webhooks).where(*where).order_by(webhooks.c.seq)
    return [_to_webhook(row) for row in connection.execute(query)]


def insert_deliveries(connection: Connection, new: Sequence[NewDelivery], *, at: datetime) -> list[UUID]:
    """Queue what webhooks are to be told, due at once, and return the ids of the deliveries."""
    fresh = {"created_at": at, "state": DeliveryState.PENDING, "n_attempts": 0, "next_attempt_at": at}
    rows = [{"id": uuid4(), **asdict(delivery), **fresh} for delivery in new]
    if rows:
        connection.execute(insert(webhook_deliveries), rows)
    return [row["id"] for row in rows]


def _find_webhook(connection: Connection, webhook_id: UUID) -> Webhook | None:
    return next(iter(read_webhooks(connection, webhooks.c.id == webhook_id)), None)


def _find_delivery(connection: Connection, delivery_id: UUID) -> Delivery | None:
    row = connection.execute(_DELIVERIES.where(webhook_deliveries.c.id == delivery_id)).one_or_none()
    return None if row is None else _to_delivery(row)


def _to_webhook(row: Row[Any]) -> Webhook:
    given = dict(row._mapping)
    given["kinds"] = tuple(WebhookKind(kind) for kind in given["kinds"])
    given["threshold"] = ShareThreshold(**given["threshold"]) if given["threshold"] else None
    return Webhook(**given)


def _to_delivery(row: Row[Any]) -> Delivery:
    given = {field.name: row._mapping[field.name] for field in fields(Delivery)}
    return Delivery(**{**given, "state": DeliveryState(given["state"])})
