"""The shapes of what is answered about kept scores and documents. The rows of lists are flat."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, Field

from credence.labels import DISCLAIMER, OUTCOMES, Outcome, Reason
from credence.scoring import ModelInfo
from service.keeping import to_document_score
from service.schemas import DocumentStatement, ModelLineage, RollupAnswer
from service.store.records import StoredDocument, StoredScore


class ScoreRow(BaseModel):
    """A kept score. Columns that begin with ``score_`` hold the calibrated probabilities of the outcomes."""

    score_id: UUID
    scored_at: datetime = Field(description="In UTC.")
    label: Outcome | None = Field(description="One of the three labels; null exactly when `reason` is not.")
    reason: Reason | None = Field(description="Why there is no label.")
    outcome: Outcome | None = Field(description="The most probable outcome; null where the statement was not scored.")
    score_factual_report: float | None
    score_allegation: float | None
    score_likely_disinformation_narrative: float | None
    score_not_a_claim: float | None
    confidence: float | None = Field(description="The highest of the four.")
    prediction_set: str | None = Field(description="The outcomes that cannot be ruled out, with `|` between them.")
    language: str | None = Field(description="en, uk or ru; null where the text is in none of them.")
    text: str
    start_char: int = Field(description="Where the statement begins in the text as sent.")
    end_char: int = Field(description="Where it ends, exclusive.")
    is_cut: bool = Field(description="Whether a part of the statement was too far back to be read.")
    source: str | None = Field(description="As the caller said, like `author` and `document_id`.")
    author: str | None
    document_id: str | None
    id: str | None = Field(description="The caller's `id` of the statement.")
    stored_document_id: UUID | None = Field(description="The document that it is a statement of.")
    batch_id: UUID | None = Field(description="The batch that it came in with.")
    request_id: UUID
    model_version: str
    bundle_digest: str
    calibration_id: str
    is_disputed: bool = Field(description="Whether any feedback proposes another label.")
    n_disputes: int = Field(description="How much feedback does.")


class ScorePage(BaseModel):
    """Kept scores, the newest first."""

    rows: list[ScoreRow]
    next_cursor: str | None = Field(description="What `cursor` is to be for those before these; null at the end.")
    disclaimer: str = DISCLAIMER


class ScoreRecord(ScoreRow):
    """One kept score."""

    disclaimer: str = DISCLAIMER


class LineageAnswer(BaseModel):
    """From a score back to what it came in with, and to the model, its training run and its data."""

    score_id: UUID
    scored_at: datetime
    request_id: UUID
    stored_document_id: UUID | None
    batch_id: UUID | None
    batch_line: int | None = Field(description="The line of the batch's file, from 1.")
    model: ModelLineage
    is_served_now: bool = Field(description="Whether new scores come from the same bundle.")

    @classmethod
    def from_stored(cls, stored: StoredScore, model: ModelInfo, *, served_digest: str) -> Self:
        """Take over what is kept; ``served_digest`` is that of the bundle which is served."""
        names = ("scored_at", "request_id", "stored_document_id", "batch_id", "batch_line")
        return cls(
            score_id=stored.id,
            **{name: getattr(stored, name) for name in names},
            model=ModelLineage.from_core(model),
            is_served_now=model.bundle_digest == served_digest,
        )


class DeletionAnswer(BaseModel):
    """What has gone."""

    n_deleted: int = Field(description="How many scores; documents and feedback have gone with them.")


class KeptStatement(DocumentStatement):
    """A statement of a kept document."""

    is_disputed: bool = Field(description="Whether any feedback proposes another label.")
    n_disputes: int = Field(description="How much feedback does.")


class DocumentRecord(BaseModel):
    """A kept document: its text, and the statements that are still kept, in reading order."""

    stored_document_id: UUID
    scored_at: datetime
    request_id: UUID
    id: str | None = Field(description="The caller's `id` of the document.")
    source: str | None
    author: str | None
    document_id: str | None
    text: str
    is_cut: bool = Field(description="Whether a part of any statement was not read.")
    statements: list[KeptStatement]
    rollup: RollupAnswer
    model: ModelLineage
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_stored(cls, stored: StoredDocument) -> Self:
        """Take over what is kept."""
        statements = [
            KeptStatement.model_validate(
                asdict(s.score) | {"score_id": s.id, "is_disputed": s.n_disputes > 0, "n_disputes": s.n_disputes}
            )
            for s in stored.statements
        ]
        return cls(
            stored_document_id=stored.id,
            id=stored.caller_id,
            **asdict(stored.tags),
            statements=statements,
            rollup=RollupAnswer.model_validate(asdict(to_document_score(stored).rollup)),
            model=ModelLineage.from_core(stored.model),
            **{name: getattr(stored, name) for name in ("scored_at", "request_id", "text", "is_cut")},
        )


def to_row(stored: StoredScore) -> dict[str, Any]:
    """Return a kept score with the columns of ``ScoreRow``."""
    score, tags = stored.score, stored.tags
    scores = score.scores or {}
    return {
        "score_id": stored.id,
        "scored_at": stored.scored_at,
        "label": score.label,
        "reason": score.reason,
        "outcome": score.outcome,
        **{f"score_{outcome}": scores.get(outcome) for outcome in OUTCOMES},
        "confidence": score.confidence,
        "prediction_set": None if score.prediction_set is None else "|".join(score.prediction_set),
        "language": score.language,
        "text": stored.text,
        "start_char": score.start_char,
        "end_char": score.end_char,
        "is_cut": score.is_cut,
        "source": tags.source,
        "author": tags.author,
        "document_id": tags.document_id,
        "id": stored.caller_id,
        "stored_document_id": stored.stored_document_id,
        "batch_id": stored.batch_id,
        "request_id": stored.request_id,
        "model_version": score.model_version,
        "bundle_digest": score.bundle_digest,
        "calibration_id": stored.calibration_id,
        "is_disputed": stored.n_disputes > 0,
        "n_disputes": stored.n_disputes,
    }
