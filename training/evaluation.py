"""Scores examples with a bundle through ``credence``, as the service does, and sums the figures up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from credence import Scorer
from credence.labels import OUTCOMES, Outcome
from training.corpora import Example
from training.metrics import METRICS, Floats, Interval, Ints, Metric, bootstrap, f1_by_outcome

_BATCH: Final = 256


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of examples: probabilities (n, n_outcomes), prediction sets, and which texts it scored.

    ``sets`` is null for models that give no sets.
    """

    name: str
    probabilities: Floats
    is_scored: tuple[bool, ...]
    sets: tuple[tuple[Outcome, ...], ...] | None = None


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
    )


def measure(
    predictions: Predictions, examples: Sequence[Example], names: Collection[str] | None = None
) -> dict[str, Interval]:
    """Return the figures named, or every figure of merit and the F1 of each outcome, with their intervals."""
    by_outcome: dict[str, Metric] = {f"f1_{outcome}": _f1_of(column) for column, outcome in enumerate(OUTCOMES)}
    known = {**METRICS, **by_outcome}
    asked = known if names is None else {name: known[name] for name in names}
    return bootstrap(asked, predictions.probabilities, gold_columns(examples), clusters_of(examples))


def _f1_of(column: int) -> Metric:
    return lambda probabilities, gold: float(f1_by_outcome(probabilities, gold)[column])


def set_coverage(predictions: Predictions, examples: Sequence[Example]) -> tuple[float, float] | None:
    """Return the share of prediction sets that hold the truth and their mean size, or null without sets."""
    if predictions.sets is None:
        return None
    hits = [example.label in chosen for example, chosen in zip(examples, predictions.sets, strict=True)]
    return float(np.mean(hits)), float(np.mean([len(chosen) for chosen in predictions.sets]))


def subset(predictions: Predictions, rows: Sequence[int]) -> Predictions:
    """Return the predictions of some rows."""
    return Predictions(
        name=predictions.name,
        probabilities=predictions.probabilities[list(rows)],
        is_scored=tuple(predictions.is_scored[r] for r in rows),
        sets=None if predictions.sets is None else tuple(predictions.sets[r] for r in rows),
    )
