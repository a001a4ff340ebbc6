"""Scores examples with a bundle through ``credence``, as the service does, and measures all there is to measure."""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np

import training.metrics
from credence import Scorer
from credence.calibration import Calibration
from credence.labels import CODEBOOK_VERSION, OUTCOMES, Outcome
from credence.scoring import ModelInfo
from training.answers import describe_answers, mcnemar
from training.corpora import Example, folders_of
from training.metrics import (
    METRICS,
    SET_METRICS,
    Floats,
    Interval,
    Ints,
    Metric,
    bootstrap,
    calibration_error_debiased,
    calibration_error_if_calibrated,
    f1_by_outcome,
    macro_f1_present,
    paired_differences,
    precision_by_outcome,
    recall_by_outcome,
)
from training.parts import PARTINGS
from training.results import CalibrationOrigin, EvaluationResult, Figures, worst_language_figures
from training.stand_off import text_digest
from training.suites import SuiteResult

BUNDLE_KIND: Final = "bundle"
_BATCH: Final = 256
_F1: Final = tuple(f"f1_{outcome}" for outcome in OUTCOMES)
_PART_FIGURES: Final = ("accuracy", "macro_f1_present", "log_loss", *SET_METRICS)
_COMPARED: Final = (*METRICS, f"f1_{Outcome.LIKELY_DISINFORMATION_NARRATIVE}")


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of examples: probabilities (n, n_outcomes), prediction sets, and which texts it scored.

    ``sets`` is null for models that give no sets, ``info`` for those that are no bundle.
    """

    name: str
    probabilities: Floats
    is_scored: tuple[bool, ...]
    sets: tuple[tuple[Outcome, ...], ...] | None = None
    info: ModelInfo | None = None


def gold_columns(examples: Sequence[Example]) -> Ints:
    """Return the outcome column (n,) of each example."""
    return np.asarray([OUTCOMES.index(e.label) for e in examples])


def clusters_of(examples: Sequence[Example]) -> list[str]:
    """Return the cluster of each example."""
    return [e.cluster for e in examples]


def predict_with_scorer(name: str, scorer: Scorer, examples: Sequence[Example]) -> Predictions:
    """Score the texts as the service would, without naming their language.

    A text without scores (too short, or taken for another language) gets no label and counts as ``not_a_claim``.
    """
    results = [
        result
        for start in range(0, len(examples), _BATCH)
        for result in scorer.score_statements([e.text for e in examples[start : start + _BATCH]])
    ]
    no_label = {outcome: float(outcome is Outcome.NOT_A_CLAIM) for outcome in OUTCOMES}
    scores = [result.scores or no_label for result in results]
    return Predictions(
        name=name,
        probabilities=np.asarray([[row[outcome] for outcome in OUTCOMES] for row in scores]),
        is_scored=tuple(result.scores is not None for result in results),
        sets=tuple(result.prediction_set or (Outcome.NOT_A_CLAIM,) for result in results),
        info=scorer.info,
    )


def measure(
    predictions: Predictions, examples: Sequence[Example], names: Collection[str] | None = None
) -> dict[str, Interval]:
    """Return the figures named, or every figure of merit and the F1 of each outcome, with their intervals.

    Figures of prediction sets are left out for models that give none.
    """
    gold, clusters = gold_columns(examples), clusters_of(examples)
    chosen = _known_metrics((*METRICS, *_F1) if names is None else names)
    figures = bootstrap(chosen, predictions.probabilities, gold, clusters)
    if predictions.sets is not None:
        of_sets = {name: metric for name, metric in SET_METRICS.items() if names is None or name in names}
        figures |= bootstrap(of_sets, _set_members(predictions.sets), gold, clusters)
    if names is None:
        figures["ece_if_calibrated"] = calibration_error_if_calibrated(predictions.probabilities)
        figures["ece_debiased"] = calibration_error_debiased(predictions.probabilities, gold, clusters)
    return figures


def subset(predictions: Predictions, rows: Sequence[int]) -> Predictions:
    """Return the predictions of some rows."""
    return Predictions(
        name=predictions.name,
        probabilities=predictions.probabilities[list(rows)],
        is_scored=tuple(predictions.is_scored[r] for r in rows),
        sets=None if predictions.sets is None else tuple(predictions.sets[r] for r in rows),
        info=predictions.info,
    )


def evaluate_predictions(
    predictions: Predictions,
    examples: Sequence[Example],
    *,
    digests: Mapping[str, str],
    calibration: Calibration | None = None,
    suites: Sequence[SuiteResult] = (),
    others: Sequence[Predictions] = (),
    model_kind: str | None = None,
    run_id: str | None = None,
) -> EvaluationResult:
    """Measure all that there is to measure of predictions on examples of one split, beside other models.

    ``digests`` are those of the corpus. ``model_kind`` is for baselines, their name unless given; ``run_id`` is the
    MLflow run of a model that does not carry its own.
    """
    info = predictions.info
    return EvaluationResult(
        name=predictions.name,
        model_kind=model_kind or (BUNDLE_KIND if info else predictions.name),
        bundle_digest=info.bundle_digest if info else None,
        model_version=info.model_version if info else None,
        mlflow_run_id=info.mlflow_run_id if info else run_id,
        unscored=predictions.is_scored.count(False),
        calibration=_calibration_origin(calibration),
        data_digests=dict(digests),
        suites=tuple(suites),
        **_describe_examples(examples),
        **_measure_all(predictions, examples),
        **_compare(predictions, others, examples),
        **describe_answers(predictions.probabilities, examples, gold_columns(examples)),
    )


def _known_metrics(names: Collection[str]) -> dict[str, Metric]:
    """Return those of the names that are figures of probabilities, with their functions."""
    kinds = {"f1": f1_by_outcome, "precision": precision_by_outcome, "recall": recall_by_outcome}
    of_outcomes = {f"{k}_{o}": _of_outcome(m, c) for k, m in kinds.items() for c, o in enumerate(OUTCOMES)}
    known = {**METRICS, "macro_f1_present": macro_f1_present, **of_outcomes}
    unknown = set(names) - known.keys() - SET_METRICS.keys()
    if unknown:
        raise KeyError(f"no figures named {', '.join(sorted(unknown))}; known are {', '.join([*known, *SET_METRICS])}")
    return {name: metric for name, metric in known.items() if name in names}


def _of_outcome(metric: Callable[[Floats, Ints], Floats], column: int) -> Metric:
    return lambda probabilities, gold: float(metric(probabilities, gold)[column])


def _set_members(sets: Sequence[tuple[Outcome, ...]]) -> Floats:
    return np.asarray([[float(outcome in chosen) for outcome in OUTCOMES] for chosen in sets])


def _calibration_origin(calibration: Calibration | None) -> CalibrationOrigin | None:
    if calibration is None:
        return None
    return CalibrationOrigin(
        id=calibration.calibration_id, coverage=calibration.coverage, fitted_on=calibration.fitted_on
    )


def _describe_examples(examples: Sequence[Example]) -> dict[str, Any]:
    records = sorted((e.id, text_digest(e.text), e.label) for e in examples)
    return {
        "split": examples[0].split,
        "origin": folders_of(examples),
        "statements": len(examples),
        "statements_digest": hashlib.sha256(json.dumps(records).encode()).hexdigest(),
        "counts": {
            kind: {part: len(rows) for part, rows in group(examples).items()} for kind, group in PARTINGS.items()
        },
        "date": date.today().isoformat(),
        "codebook_version": CODEBOOK_VERSION,
        "resamples": training.metrics.RESAMPLES,
    }


def _measure_all(predictions: Predictions, examples: Sequence[Example]) -> dict[str, Any]:
    by_language = _measure_parts(predictions, examples, "language", None)
    return {
        "metrics": {**measure(predictions, examples), **worst_language_figures(by_language)},
        "by_language": by_language,
        "by_outcome": _measure_outcomes(predictions, examples),
        **{
            f"by_{kind}": _measure_parts(predictions, examples, kind, _PART_FIGURES)
            for kind in ("source", "length", "month")
        },
    }


def _measure_parts(
    predictions: Predictions, examples: Sequence[Example], kind: str, names: Collection[str] | None
) -> dict[str, Figures]:
    return {
        part: measure(subset(predictions, rows), [examples[row] for row in rows], names)
        for part, rows in PARTINGS[kind](examples).items()
    }


def _measure_outcomes(predictions: Predictions, examples: Sequence[Example]) -> dict[str, Figures]:
    """Return precision, recall and F1 of each outcome, and the figures of the prediction sets of its statements."""
    kinds = ("precision", "recall", "f1")
    figures = measure(predictions, examples, [f"{kind}_{outcome}" for kind in kinds for outcome in OUTCOMES])
    of_sets = _measure_parts(predictions, examples, "outcome", tuple(SET_METRICS))
    return {
        outcome: {**{kind: figures[f"{kind}_{outcome}"] for kind in kinds}, **of_sets.get(outcome, {})}
        for outcome in map(str, OUTCOMES)
    }


def _compare(predictions: Predictions, others: Sequence[Predictions], examples: Sequence[Example]) -> dict[str, Any]:
    gold, clusters, ours = gold_columns(examples), clusters_of(examples), predictions.probabilities
    metrics = _known_metrics(_COMPARED)
    return {
        "compared_with": {
            other.name: paired_differences(metrics, ours, other.probabilities, gold, clusters) for other in others
        },
        "mcnemar": {other.name: mcnemar(ours, other.probabilities, gold) for other in others},
    }
