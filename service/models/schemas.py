"""The shape of what is told about the exchange of models."""

from dataclasses import asdict
from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, Field

from credence.labels import DISCLAIMER
from service.models.candidate import CandidateState, ExchangeReport
from service.models.holder import ModelHolder


class KeptModelAnswer(BaseModel):
    """A model, by its own name and by that of the source."""

    model_version: str
    bundle_digest: str
    source_version: str | None = Field(description="What the source calls it: the version in the registry.")


class ShadowAnswer(BaseModel):
    """How a candidate differs from the served model, on the newest kept statements that both have scored."""

    n_statements: int = Field(description="How many different statements were compared.")
    compared_with: str = Field(description="The digest of the bundle that was served at the time.")
    agreement: float | None = Field(description="The share of them with the same label; no label counts as one.")
    changed_shares: dict[str, float | None] = Field(
        description="By label: of what the served model labels so, the share that the candidate labels otherwise."
    )
    mean_score_shift: float | None = Field(
        description="The mean absolute difference of the scores, over statements and outcomes."
    )
    share_shifts: dict[str, float] = Field(
        description="By label: by how much its share of all statements rises with the candidate."
    )


class CandidateAnswer(BaseModel):
    """What the alias has named, and how far it has come."""

    source_version: str
    state: CandidateState
    since: datetime
    reason: str | None = Field(description="Why it was refused, or why it waits.")
    retry_at: datetime | None = Field(description="When a refused candidate is tried again at the earliest.")
    model: KeptModelAnswer | None = Field(description="Null until it was fetched and its digests were right.")
    shadow: ShadowAnswer | None = Field(description="Null until it was compared.")


class ExchangeAnswer(BaseModel):
    """Which model is served, which one may take over, and how the two differ."""

    source: str | None = Field(description="Where models come from; null where the model is that of one folder.")
    exchange: Literal["automatic", "manual"] = Field(description="Whether a candidate takes over by itself.")
    served: KeptModelAnswer
    previous: KeptModelAnswer | None = Field(description="The model that a rollback goes back to.")
    candidate: CandidateAnswer | None
    checked_at: datetime | None = Field(description="When the source was last asked what the alias names.")
    source_fault: str | None = Field(description="Why the source gave no answer then.")
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_report(cls, report: ExchangeReport, exchange: Literal["automatic", "manual"]) -> Self:
        """Take over what an exchange reports."""
        return cls.model_validate({**asdict(report), "exchange": exchange})

    @classmethod
    def from_holder(cls, holder: ModelHolder, exchange: Literal["automatic", "manual"]) -> Self:
        """Say what is served where nothing can take over."""
        info = holder.current.scorer.info
        served = KeptModelAnswer(
            model_version=info.model_version, bundle_digest=info.bundle_digest, source_version=None
        )
        return cls(
            source=None,
            exchange=exchange,
            served=served,
            previous=None,
            candidate=None,
            checked_at=None,
            source_fault=None,
        )
