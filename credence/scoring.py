"""What a score is, what a scorer promises, and how a document becomes one answer."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from credence.labels import LABELS, Outcome, Reason


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which model made a score: enough to walk back to the run and the data."""

    model_version: str
    bundle_digest: str
    calibration_id: str
    codebook_version: int
    mlflow_run_id: str
    data_digests: dict[str, str]


@dataclass(frozen=True, slots=True)
class StatementScore:
    """The answer for one statement.

    ``label`` is null exactly when ``reason`` is not. ``outcome``, ``scores``, ``confidence`` and ``prediction_set``
    are null only where the statement was not scored (``too_short``, ``unsupported_language``). ``scores`` are
    calibrated probabilities over the four outcomes that sum to 1; ``confidence`` is the highest of them.
    ``start_char`` and ``end_char`` are offsets in characters into the text as sent. Where ``is_cut``, nothing after
    ``read_end_char`` was read.
    """

    label: Outcome | None
    reason: Reason | None
    outcome: Outcome | None
    scores: dict[Outcome, float] | None
    confidence: float | None
    prediction_set: tuple[Outcome, ...] | None
    language: str | None
    start_char: int
    end_char: int
    is_cut: bool
    read_end_char: int
    model_version: str
    bundle_digest: str


@dataclass(frozen=True, slots=True)
class Rollup:
    """A document in figures. Shares are of all statements; the mean confidence is over the scored ones."""

    n_statements: int
    label_counts: dict[Outcome, int]
    label_shares: dict[Outcome, float]
    reason_counts: dict[Reason, int]
    mean_confidence: float | None


@dataclass(frozen=True, slots=True)
class DocumentScore:
    """The answer for one document: its statements in reading order, and their roll-up."""

    statements: tuple[StatementScore, ...]
    rollup: Rollup
    is_cut: bool
    model_version: str
    bundle_digest: str


@dataclass(frozen=True, slots=True)
class TimedScores:
    """The scores of a list of statements, how many tokens were read for them, and what each part of the work took."""

    scores: list[StatementScore]
    n_tokens: int
    tokenise_seconds: float
    infer_seconds: float


class Scorer(Protocol):
    """Anything that scores statements and documents. A score never depends on the other texts of a call."""

    @property
    def info(self) -> ModelInfo:
        """Return which model makes the scores."""
        ...

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        """Score each text as one statement, in the order given.

        ``languages`` overrides detection where not null. Raises ``InvalidTextError`` (with the index) and
        ``UnknownLanguageError``.
        """
        ...

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        """Split a text into statements and score each. Raises as ``score_statements`` does."""
        ...


@runtime_checkable
class TimedScorer(Scorer, Protocol):
    """A scorer that also says what its work took."""

    def score_timed(self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None) -> TimedScores:
        """Score as ``score_statements`` does. To tokenise is all that comes before the network."""
        ...


def roll_up(statements: Sequence[StatementScore]) -> Rollup:
    """Sum up the statements of one document."""
    labels = Counter(s.label for s in statements if s.label is not None)
    reasons = Counter(s.reason for s in statements if s.reason is not None)
    confidences = [s.confidence for s in statements if s.confidence is not None]
    total = len(statements)
    return Rollup(
        n_statements=total,
        label_counts={label: labels[label] for label in LABELS},
        label_shares={label: labels[label] / total if total else 0.0 for label in LABELS},
        reason_counts={reason: reasons[reason] for reason in Reason},
        mean_confidence=sum(confidences) / len(confidences) if confidences else None,
    )
