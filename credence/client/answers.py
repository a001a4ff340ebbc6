"""What goes to the service and what it answers, as plain values. Fields that a later service adds are passed over."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from credence.labels import DISCLAIMER, OUTCOMES, Outcome, Reason
from credence.scoring import ModelInfo, Rollup, StatementScore

_Kind = TypeVar("_Kind")
# The types of the fields of each class: to find them takes longer than to read an answer.
_HINTS: Final[dict[type[Any], dict[str, Any]]] = {}
_OPEN_STATES: Final = frozenset({"queued", "running"})


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that is to be scored, where a string alone does not say enough. Tags are words of your own."""

    text: str
    id: str | None = None
    language: str | None = None
    source: str | None = None
    author: str | None = None
    document_id: str | None = None


@dataclass(frozen=True, slots=True)
class ScoredStatement:
    """A scored statement. ``score_id`` is what it is kept under, null where it is not."""

    score: StatementScore
    score_id: UUID | None
    id: str | None = None
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ScoredStatement":
        """Read a result of the service."""
        return cls(
            score=read_answer(StatementScore, content),
            score_id=_convert(UUID | None, content.get("score_id")),
            id=content.get("id"),
        )


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """The scores of a list of statements, in its order."""

    results: tuple[ScoredStatement, ...]
    request_id: UUID
    stored: bool
    model: ModelInfo
    disclaimer: str


@dataclass(frozen=True, slots=True)
class DocumentResult:
    """The scores of the statements of a document in reading order, and their roll-up."""

    id: str | None
    statements: tuple[ScoredStatement, ...]
    rollup: Rollup
    is_cut: bool
    stored_document_id: UUID | None
    request_id: UUID
    stored: bool
    model: ModelInfo
    disclaimer: str


@dataclass(frozen=True, slots=True)
class KeptScore:
    """A score as it is kept. ``scores`` and ``prediction_set`` are as in ``StatementScore``."""

    score_id: UUID
    scored_at: datetime
    label: Outcome | None
    reason: Reason | None
    outcome: Outcome | None
    scores: dict[Outcome, float] | None
    confidence: float | None
    prediction_set: tuple[Outcome, ...] | None
    language: str | None
    text: str
    start_char: int
    end_char: int
    is_cut: bool
    source: str | None
    author: str | None
    document_id: str | None
    id: str | None
    stored_document_id: UUID | None
    batch_id: UUID | None
    request_id: UUID
    model_version: str
    bundle_digest: str
    calibration_id: str
    is_disputed: bool
    n_disputes: int
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "KeptScore":
        """Read a row of the service, which is flat."""
        scores = {outcome: content[f"score_{outcome}"] for outcome in OUTCOMES}
        names = content["prediction_set"]
        whole = {
            **content,
            "scores": None if content["confidence"] is None else scores,
            "prediction_set": None if names is None else [name for name in names.split("|") if name],
        }
        return _build(cls, whole)


@dataclass(frozen=True, slots=True)
class ScorePage:
    """Some kept scores, the newest first; with ``next_cursor`` the page after this one is asked for."""

    rows: tuple[KeptScore, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a score comes from: what it came in with, and its model down to the training run and the data."""

    score_id: UUID
    scored_at: datetime
    request_id: UUID
    stored_document_id: UUID | None
    batch_id: UUID | None
    batch_line: int | None
    model: ModelInfo
    is_served_now: bool


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a reviewer says of a score; ``outcome`` is the score's."""

    id: UUID
    score_id: UUID
    created_at: datetime
    proposed_label: Outcome
    is_dispute: bool
    outcome: Outcome | None
    reason: str | None
    reviewer: str | None
    disclaimer: str = DISCLAIMER


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """The scores of one bucket of time, or of one group in it; ``share`` is of the bucket."""

    time: datetime
    group: str | None
    n: int
    share: float
    n_labelled: int
    n_abstained: int
    mean_confidence: float | None
    n_disputed: int


@dataclass(frozen=True, slots=True)
class Series:
    """Counts over time, the oldest first."""

    rows: tuple[SeriesRow, ...]
    has_other: bool
    disclaimer: str


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """The scores that have one value in one dimension; ``share`` is of all."""

    dimension: str
    value: str | None
    n: int
    share: float
    mean_confidence: float | None
    n_disputed: int
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts by every dimension, the greatest first."""

    rows: tuple[SummaryRow, ...]
    has_other: bool
    disclaimer: str


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands: ``state`` is queued, running, done, cancelled or failed."""

    id: UUID
    state: str
    n_rows: int | None
    n_done_rows: int
    n_error_rows: int
    share_done: float
    rows_per_second: float | None
    seconds_left: float | None
    created_at: datetime
    finished_at: datetime | None
    format: str
    stored: bool
    failure: str | None
    disclaimer: str

    @property
    def has_ended(self) -> bool:
        """Say whether its results can be fetched."""
        return self.state not in _OPEN_STATES


@dataclass(frozen=True, slots=True)
class BadRow:
    """Why a row of a batch was not scored; ``line`` counts from 1."""

    kind: str
    message: str
    line: int


@dataclass(frozen=True, slots=True)
class BatchRow:
    """The result of a row of a batch: a score, or why there is none."""

    id: str | int | None
    score: StatementScore | None
    score_id: UUID | None
    error: BadRow | None
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "BatchRow":
        """Read a line of the results."""
        if (error := content.get("error")) is not None:
            return cls(content["id"], None, None, read_answer(BadRow, {**error, "line": content["line"]}))
        score_id = _convert(UUID | None, content.get("score_id"))
        return cls(content["id"], read_answer(StatementScore, content), score_id, None)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: ``kind`` is scores, batch, feedback, or gap where events were missed for good.

    Whoever resumes after ``id`` misses nothing.
    """

    id: str | None
    kind: str
    data: dict[str, Any]
    disclaimer: str = DISCLAIMER


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What is served; ``card`` is Markdown."""

    version: str
    lineage: ModelInfo
    outcomes: tuple[Outcome, ...]
    calibration: dict[str, Any]
    card: str
    disclaimer: str


def read_answer(kind: type[_Kind], content: Any) -> _Kind:
    """Turn decoded JSON into a value of a class. Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    from_json = getattr(kind, "from_json", None)
    return _build(kind, content) if from_json is None else from_json(content)


def _build(kind: type[_Kind], content: Mapping[str, Any]) -> _Kind:
    hints = _hints(kind)
    return kind(**{name: _convert(hint, content[name]) for name, hint in hints.items() if name in content})


def _hints(kind: type[Any]) -> dict[str, Any]:
    if kind not in _HINTS:
        assert is_dataclass(kind), "only dataclasses are read"
        hints = get_type_hints(kind)
        _HINTS[kind] = {field.name: hints[field.name] for field in fields(kind)}
    return _HINTS[kind]


def _convert(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        kinds = [kind for kind in arguments if kind is not NoneType]
        return None if value is None else _convert(kinds[0], value) if len(kinds) == 1 else value
    if origin is tuple:
        return tuple(_convert(arguments[0], item) for item in value)
    if origin is dict:
        return {_convert(arguments[0], key): _convert(arguments[1], item) for key, item in value.items()}
    if hint is datetime:
        return datetime.fromisoformat(value)
    if isinstance(hint, type) and is_dataclass(hint):
        return read_answer(hint, value)
    if hint is UUID or (isinstance(hint, type) and issubclass(hint, Enum)):
        return hint(value)
    if hint is float:
        return float(value)
    if hint is not Any and not isinstance(value, hint):
        raise TypeError(f"expected {hint.__name__}, found {type(value).__name__}")
    return value
