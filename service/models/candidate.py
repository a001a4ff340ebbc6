"""What is known of a model that may take over, and of those that did."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.models.shadowing import ShadowReport
from service.models.shelf import KeptModel


class CandidateState(StrEnum):
    """How far a candidate has come. Only one that is ``READY`` or ``ROLLED_BACK`` can be promoted by hand."""

    FETCHING = "fetching"
    VERIFYING = "verifying"
    SHADOWING = "shadowing"
    READY = "ready"
    REFUSED = "refused"
    EXCHANGED = "exchanged"
    ROLLED_BACK = "rolled_back"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the alias has named, and what became of it.

    ``reason`` says why it was refused, or why it waits. ``model`` is null until it is on the shelf, ``shadow`` until it
    was compared. ``retry_at`` is when a refused one is tried again at the earliest.
    """

    target_id: str
    source_version: str
    state: CandidateState
    since: datetime
    model: KeptModel | None = None
    reason: str | None = None
    shadow: ShadowReport | None = None
    retry_at: datetime | None = None

    @property
    def can_be_promoted(self) -> bool:
        """Say whether it may take over by hand."""
        return self.model is not None and self.state in {CandidateState.READY, CandidateState.ROLLED_BACK}


@dataclass(frozen=True, slots=True)
class ExchangeReport:
    """Where the exchange of models stands. ``source_fault`` says why the source could not be asked the last time."""

    source: str
    served: KeptModel
    previous: KeptModel | None
    candidate: Candidate | None
    checked_at: datetime | None
    source_fault: str | None
