"""The shapes of webhooks and their deliveries, as they are sent and shown."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Final, Self
from uuid import UUID

from pydantic import BaseModel, Field

from credence.labels import DISCLAIMER, LABELS, Outcome
from service.admission import find_tag_fault
from service.errors import Fault, ProblemType, RefusedRequestError
from service.history.query_parameters import PageRequest
from service.schemas import StrictRequest, Tag
from service.store.webhook_records import Delivery, DeliveryState, ShareThreshold, Webhook, WebhookKind
from service.webhooks.addresses import MAX_URL_CHARS, WebhookUrlError, admit_url

MAX_WINDOW_MINUTES: Final = 7 * 24 * 60
MAX_MIN_STATEMENTS: Final = 1_000_000


class ThresholdRequest(StrictRequest):
    """When the share of a label is told of: as soon as it is above, and again only after it was not."""

    # JSON has no labels of its own, so that this one is read from a string.
    label: Annotated[
        Outcome, Field(strict=False, description="The label.", json_schema_extra={"enum": [str(x) for x in LABELS]})
    ]
    share: float = Field(ge=0, lt=1, description="The share of all statements of the window, as a fraction of 1.")
    window_minutes: int = Field(ge=1, le=MAX_WINDOW_MINUTES, description="The window, up to the newest statement.")
    min_statements: int = Field(
        ge=1, le=MAX_MIN_STATEMENTS, description="With fewer statements in the window nothing is above anything."
    )
    source: Tag = Field(None, description="Only statements from this source.")


class WebhookRequest(StrictRequest):
    """Where somebody wants to be told, and of what."""

    url: str = Field(max_length=MAX_URL_CHARS, description="Where to post to; https:// unless the service allows more.")
    kinds: list[Annotated[WebhookKind, Field(strict=False)]] = Field(
        description="What to tell: a line labelled as a storyline, a share above a threshold, a batch that is done."
    )
    threshold: ThresholdRequest | None = Field(None, description="Needed with `share.above`, and only with it.")

    def to_threshold(self) -> ShareThreshold | None:
        """Return the threshold as it is kept."""
        return None if self.threshold is None else ShareThreshold(**self.threshold.model_dump(mode="json"))

    def to_kinds(self) -> tuple[WebhookKind, ...]:
        """Return the kinds as they are kept, each once."""
        return tuple(dict.fromkeys(self.kinds))


class DeliveriesQuery(PageRequest):
    """Which deliveries are asked for, in the query."""

    state: DeliveryState | None = Field(None, description="`dead`: what has failed for good and waits for a retry.")


class ThresholdAnswer(BaseModel):
    """A threshold as it was kept."""

    label: Outcome
    share: float
    window_minutes: int
    min_statements: int
    source: str | None


class WebhookRow(BaseModel):
    """A webhook as it was kept, without its secret."""

    id: UUID
    created_at: datetime
    url: str
    kinds: list[WebhookKind]
    threshold: ThresholdAnswer | None
    is_above: bool = Field(description="Whether the share was above the threshold when it was last looked at.")

    @classmethod
    def from_stored(cls, stored: Webhook) -> Self:
        """Take over the fields of a webhook."""
        return cls.model_validate({name: value for name, value in asdict(stored).items() if name != "secret"})


class NewWebhookAnswer(WebhookRow):
    """A webhook that is kept now, with its secret, which is shown this once."""

    secret: str = Field(description="What every delivery is signed with, after Standard Webhooks.")

    @classmethod
    def from_stored(cls, stored: Webhook) -> Self:
        """Take over the fields of a webhook, with its secret."""
        return cls.model_validate(asdict(stored))


class WebhookList(BaseModel):
    """All webhooks, the oldest first."""

    rows: list[WebhookRow]


class DeliveryRow(BaseModel):
    """One thing that a webhook was told or is to be told."""

    id: UUID = Field(description="The same in every attempt: the header `webhook-id`.")
    webhook_id: UUID
    created_at: datetime
    kind: str
    state: DeliveryState
    n_attempts: int
    next_attempt_at: datetime | None
    last_fault: str | None = Field(description="What came of the last attempt that failed.")

    @classmethod
    def from_stored(cls, stored: Delivery) -> Self:
        """Take over the fields of a delivery."""
        return cls.model_validate(asdict(stored))


class DeliveryPage(BaseModel):
    """Deliveries, newest first. ``next_cursor`` is null where there is no more."""

    rows: list[DeliveryRow]
    next_cursor: str | None
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_stored(cls, stored: Sequence[Delivery], *, limit: int) -> Self:
        """Take over deliveries, one more than fits on the page where there is a next one."""
        rows = [DeliveryRow.from_stored(row) for row in stored[:limit]]
        return cls(rows=rows, next_cursor=str(stored[limit - 1].seq) if len(stored) > limit else None)


def admit_webhook(request: WebhookRequest, *, allow_private: bool) -> None:
    """Let a webhook through, or raise ``RefusedRequestError`` with every fault in it."""
    faults: list[Fault] = []
    try:
        admit_url(request.url, allow_private=allow_private)
    except WebhookUrlError as error:
        faults.append(Fault(ProblemType.WEBHOOK_URL, str(error), "/url"))
    if not request.kinds:
        faults.append(Fault(ProblemType.INVALID_FIELD, "Name at least one kind.", "/kinds"))
    threshold = request.threshold
    if threshold is None and WebhookKind.SHARE_ABOVE in request.kinds:
        faults.append(Fault(ProblemType.MISSING_FIELD, "The kind share.above needs a threshold.", "/threshold"))
    if threshold is not None and WebhookKind.SHARE_ABOVE not in request.kinds:
        detail = "A threshold is for the kind share.above; name the kind, or leave the threshold out."
        faults.append(Fault(ProblemType.INVALID_FIELD, detail, "/threshold"))
    if threshold is not None and threshold.label not in LABELS:
        faults.append(Fault(ProblemType.INVALID_FIELD, "This is no label.", "/threshold/label"))
    if threshold is not None and (fault := find_tag_fault(threshold.source or "", "/threshold/source")):
        faults.append(fault)
    if faults:
        raise RefusedRequestError(faults)
