"""The outcome of one model on one set of statements, as other commands read it: the leaderboard, promotion, reports."""

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from credence.calibration import ReliabilityBin
from credence.labels import Outcome
from training.metrics import Interval
from training.suites import SuiteResult

Figures = dict[str, Interval]

# The coverage that ``coverage_90`` is held against.
SET_COVERAGE: Final = 0.9


class ResultError(ValueError):
    """A file that is not an evaluation result; the message names the file and its first fault."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationOrigin(_Frozen):
    """Which calibration made the probabilities, for which coverage of its sets, and what it was fitted on."""

    id: str
    coverage: float
    fitted_on: str


class McNemar(_Frozen):
    """How many statements only one of two models got right, and the chance of so uneven a split if both were as good.

    ``p`` is two-sided and exact, and takes statements as independent of each other (McNemar 1947).
    """

    only_first: int
    only_second: int
    p: float


class WorstError(_Frozen):
    """A statement that got the wrong outcome with high confidence. Its text stays with the data."""

    id: str
    language: str
    gold: Outcome
    given: Outcome
    confidence: float


class EvaluationResult(_Frozen):
    """What was measured, on what, by what, and what came of it.

    ``model_kind`` is ``bundle`` or the kind of baseline; baselines have no digest and no version. ``statements_digest``
    names the measured statements with their labels: figures compare where it is the same. ``unscored`` statements
    counted as ``not_a_claim``. ``counts`` holds the statements of each part, by ``language``, ``source``, ``outcome``,
    ``length`` and ``month``. ``metrics`` holds every figure under its plain name, and further:

    - ``ece_if_calibrated``: the calibration error that chance alone gives a perfectly calibrated model here, with its
      range; ``ece_debiased`` is ``ece`` less that;
    - ``macro_f1_weakest_language``, ``ece_worst_language``: of the language where it is worst;
    - ``coverage_90_worst_gap``: the distance of ``coverage_90`` from 0.90 in the language where it is largest.

    ``by_language`` has the same figures as ``metrics``, the other parts fewer. ``compared_with`` and ``mcnemar`` hold,
    by the name of another model, this model's figures minus that one's, and the test of their answers. ``confusion``
    counts gold outcomes by row, given ones by column. ``confidence_histogram`` counts confidences in equal steps from
    0 to 1. ``risk_by_coverage`` is the share of errors among the surest 1 %, 2 % ... 100 % of the statements.
    """

    name: str
    model_kind: str
    bundle_digest: str | None
    model_version: str | None
    mlflow_run_id: str | None
    split: str
    origin: str
    statements: int
    statements_digest: str
    unscored: int
    counts: dict[str, dict[str, int]]
    date: str
    codebook_version: int
    data_digests: dict[str, str]
    resamples: int
    calibration: CalibrationOrigin | None
    metrics: Figures
    by_language: dict[str, Figures]
    by_source: dict[str, Figures]
    by_outcome: dict[str, Figures]
    by_length: dict[str, Figures]
    by_month: dict[str, Figures]
    suites: tuple[SuiteResult, ...]
    compared_with: dict[str, Figures]
    mcnemar: dict[str, McNemar]
    confusion: tuple[tuple[int, ...], ...]
    reliability: tuple[ReliabilityBin, ...]
    confidence_histogram: tuple[int, ...]
    risk_by_coverage: tuple[float, ...]
    worst_errors: tuple[WorstError, ...]


def worst_language_figures(by_language: dict[str, Figures]) -> Figures:
    """Return the figures of the language where each is worst, with the interval that it has there."""
    languages = by_language.values()
    worst = {
        "macro_f1_weakest_language": min((f["macro_f1"] for f in languages), key=lambda i: i.value),
        "ece_worst_language": max((f["ece"] for f in languages), key=lambda i: i.value),
    }
    gaps = [_distance(figures["coverage_90"]) for figures in languages if "coverage_90" in figures]
    if gaps:
        worst["coverage_90_worst_gap"] = max(gaps, key=lambda i: i.value)
    return worst


def _distance(coverage: Interval) -> Interval:
    """Return how far a coverage is from the promised one; the least distance is 0 where the interval holds it."""
    ends = abs(coverage.low - SET_COVERAGE), abs(coverage.high - SET_COVERAGE)
    is_inside = coverage.low <= SET_COVERAGE <= coverage.high
    return Interval(abs(coverage.value - SET_COVERAGE), 0.0 if is_inside else min(ends), max(ends))


def write_result(result: EvaluationResult, path: Path) -> None:
    """Write a result as JSON, making the folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(result.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_result(path: Path) -> EvaluationResult:
    """Read a result; raises ``ResultError`` that names the file and its first fault."""
    try:
        return EvaluationResult.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ResultError(f"{path} is missing; python -m training.evaluate --output writes it") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise ResultError(
            f"{path} is not an evaluation result: {where}: {fault['msg']} ({error.error_count()} faults in all); "
            "write it anew with python -m training.evaluate"
        ) from error
