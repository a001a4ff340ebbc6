"""What goes into the database and comes out of it, as plain values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from credence.scoring import ModelInfo, StatementScore

NO_LABEL: Final = "none"
MAX_TAG_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Tags:
    """What the caller said of a statement or document: words of the caller's own, which mean what the caller means."""

    source: str | None = None
    author: str | None = None
    document_id: str | None = None


@dataclass(frozen=True, slots=True)
class NewScore:
    """A scored statement that is to be kept. ``text`` is null for a statement of a document, which keeps the text."""

    id: UUID
    caller_id: str | None
    tags: Tags
    text: str | None
    score: StatementScore
    batch_line: int | None = None


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A scored document that is to be kept, with its whole text."""

    id: UUID
    caller_id: str | None
    tags: Tags
    text: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class StoredScore:
    """A score as it was kept. ``seq`` orders scores by when they became visible; later ones have greater numbers.

    ``stored_document_id`` and ``batch_id`` name what the statement came in with. ``n_disputes`` counts the feedback
    that proposes another label.
    """

    seq: int
    id: UUID
    scored_at: datetime
    request_id: UUID
    caller_id: str | None
    tags: Tags
    stored_document_id: UUID | None
    batch_id: UUID | None
    batch_line: int | None
    text: str
    score: StatementScore
    calibration_id: str
    n_disputes: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it was kept, with its statements in reading order."""

    id: UUID
    scored_at: datetime
    request_id: UUID
    caller_id: str | None
    tags: Tags
    text: str
    is_cut: bool
    model: ModelInfo
    statements: tuple[StoredScore, ...]


@dataclass(frozen=True, slots=True)
class ScoreFilter:
    """Which scores are asked for; what is null does not matter. Times are from ``since`` on and before ``until``.

    ``label`` may be a label or ``none``, which asks for those without one.
    """

    since: datetime | None = None
    until: datetime | None = None
    label: str | None = None
    reason: str | None = None
    language: str | None = None
    source: str | None = None
    author: str | None = None
    document_id: str | None = None
    model_version: str | None = None
    batch_id: UUID | None = None
    min_confidence: float | None = None
    max_confidence: float | None = None
    is_disputed: bool | None = None
