"""The queue of deliveries: which are due, and what came of them. Each method is one transaction.

A claim moves the next attempt ahead, so that no two processes try the same at once, and a delivery whose process has
ended is tried again when the lease runs out. Whoever has lost a claim meanwhile writes nothing.
"""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, func, or_, select, update

from service.store.database import Database
from service.store.tables import webhook_deliveries, webhooks
from service.store.webhook_records import DeliveryClaim, DeliveryState

# Longer than an attempt can take, names that nobody resolves included.
LEASE: Final = timedelta(minutes=2)
MAX_DELAY: Final = timedelta(days=1)
_CLAIMED: Final = (
    *(webhook_deliveries.c[name] for name in ("seq", "id", "n_attempts", "payload", "webhook_seq")),
    *(webhooks.c.id.label("webhook_id"), webhooks.c.url, webhooks.c.secret),
)


class DeliveryQueue:
    """Hands out deliveries that are due. Every method raises ``StorageUnavailableError``."""

    def __init__(self, database: Database, *, now: Callable[[Connection], datetime] | None = None) -> None:
        self._database = database
        self._now = now or database.read_time

    def claim_due(self, *, limit: int, busy_webhooks: Collection[int] = ()) -> list[DeliveryClaim]:
        """Claim deliveries that are due, at most one a webhook and none of the busy ones."""
        with self._database.reading() as connection:
            if not _find_due(connection, self._is_due(self._now(connection)), busy_webhooks, limit):
                return []
        with self._database.writing(takes_turn=False) as connection:
            at = self._now(connection)
            is_due = self._is_due(at)
            found = _find_due(connection, is_due, busy_webhooks, limit)
            values = {"next_attempt_at": at + LEASE, "n_attempts": webhook_deliveries.c.n_attempts + 1}
            # The condition stands here again because another process may have claimed one just now.
            query = update(webhook_deliveries).where(webhook_deliveries.c.seq.in_(found), is_due).values(**values)
            claimed = connection.execute(query.returning(webhook_deliveries.c.seq)).scalars().all()
            joined = select(*_CLAIMED).join_from(webhook_deliveries, webhooks)
            rows = connection.execute(joined.where(webhook_deliveries.c.seq.in_(claimed)))
            return [DeliveryClaim(**row._mapping) for row in rows]

    def settle(self, claim: DeliveryClaim) -> None:
        """Note that a delivery has arrived."""
        self._write(claim, None, state=DeliveryState.DELIVERED, last_fault=None)

    def put_off(self, claim: DeliveryClaim, fault: str, delay: timedelta) -> None:
        """Note why an attempt has failed, and after what time the next one is due."""
        self._write(claim, delay, last_fault=fault)

    def give_up(self, claim: DeliveryClaim, fault: str) -> None:
        """Note why the last attempt has failed."""
        self._write(claim, None, state=DeliveryState.DEAD, last_fault=fault)

    def drop_webhook(self, claim: DeliveryClaim) -> None:
        """Delete the webhook of a delivery, which wants nothing more, with everything that waits for it."""
        with self._database.writing() as connection:
            connection.execute(delete(webhooks).where(webhooks.c.seq == claim.webhook_seq))

    def _is_due(self, at: datetime) -> ColumnElement[bool]:
        time = webhook_deliveries.c.next_attempt_at
        # What is due so late was put off before the clock was set back.
        return (webhook_deliveries.c.state == DeliveryState.PENDING) & or_(time <= at, time > at + 2 * MAX_DELAY)

    def _write(self, claim: DeliveryClaim, delay: timedelta | None, **values: Any) -> None:
        is_claimed = webhook_deliveries.c.state == DeliveryState.PENDING
        where = (webhook_deliveries.c.seq == claim.seq, webhook_deliveries.c.n_attempts == claim.n_attempts, is_claimed)
        with self._database.writing(takes_turn=False) as connection:
            next_attempt_at = None if delay is None else self._now(connection) + delay
            query = update(webhook_deliveries).where(*where)
            connection.execute(query.values(next_attempt_at=next_attempt_at, **values))


def _find_due(
    connection: Connection, is_due: ColumnElement[bool], busy_webhooks: Collection[int], limit: int
) -> list[int]:
    oldest = func.min(webhook_deliveries.c.seq)
    query = select(oldest).where(is_due, webhook_deliveries.c.webhook_seq.not_in(busy_webhooks))
    query = query.group_by(webhook_deliveries.c.webhook_seq).order_by(func.min(webhook_deliveries.c.next_attempt_at))
    return list(connection.execute(query.limit(limit)).scalars())
