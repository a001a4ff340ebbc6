"""What the database holds of webhooks and their deliveries, as plain values."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

TEST_PING: Final = "test.ping"


class WebhookKind(StrEnum):
    """What a webhook can be told of."""

    STORYLINE_LINE = "storyline.line"
    SHARE_ABOVE = "share.above"
    BATCH_DONE = "batch.done"


class DeliveryState(StrEnum):
    """Where a delivery stands. A dead one has failed so often that it is tried again only when somebody asks."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class ShareThreshold:
    """When the share of a label is announced: above ``share`` of the statements of a window, from a source or all.

    With fewer statements than ``min_statements`` in the window nothing is above anything.
    """

    label: str
    share: float
    window_minutes: int
    min_statements: int
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where somebody wants to be told of what happens. The secret signs, and is never shown again."""

    seq: int
    id: UUID
    created_at: datetime
    url: str
    kinds: tuple[WebhookKind, ...]
    threshold: ShareThreshold | None
    is_above: bool
    after_event_seq: int
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One thing that a webhook is told. ``next_attempt_at`` is null where there is no next attempt.

    ``last_fault`` says in our own words what came of the last attempt that failed.
    """

    seq: int
    id: UUID
    webhook_id: UUID
    created_at: datetime
    kind: str
    state: DeliveryState
    n_attempts: int
    next_attempt_at: datetime | None
    last_fault: str | None


@dataclass(frozen=True, slots=True)
class NewDelivery:
    """Something that a webhook is to be told. The payload holds no text."""

    webhook_seq: int
    kind: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeliveryClaim:
    """The right to try a delivery, until the lease runs out. ``n_attempts`` counts this attempt."""

    seq: int
    id: UUID
    n_attempts: int
    payload: dict[str, Any]
    webhook_seq: int
    webhook_id: UUID
    url: str
    secret: str = field(repr=False)
