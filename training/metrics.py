"""Figures of merit on numpy arrays, with bootstrap intervals and paired tests.

Arrays: ``probabilities`` have shape (n_statements, n_outcomes), ``gold`` holds outcome columns (n_statements,).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from credence.labels import OUTCOMES, Outcome

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Callable[[Floats, Ints], float]

ECE_BINS: Final = 15
RESAMPLES: Final = 2000
_DISINFORMATION: Final = OUTCOMES.index(Outcome.LIKELY_DISINFORMATION_NARRATIVE)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def confusion(predicted: Ints, gold: Ints) -> Ints:
    """Return counts (n_outcomes, n_outcomes), gold by row, predicted by column."""
    n = len(OUTCOMES)
    return np.bincount(gold * n + predicted, minlength=n * n).reshape(n, n)


def f1_by_outcome(probabilities: Floats, gold: Ints) -> Floats:
    """Return F1 of each outcome (n_outcomes,); 0 where neither predicted nor present."""
    counts = confusion(probabilities.argmax(1), gold)
    hits = np.diag(counts)
    scores: Floats = 2 * hits / np.maximum(counts.sum(0) + counts.sum(1), 1)
    return scores


def macro_f1(probabilities: Floats, gold: Ints) -> float:
    """Return the unweighted mean of F1 over the four outcomes."""
    return float(f1_by_outcome(probabilities, gold).mean())


def disinformation_f1(probabilities: Floats, gold: Ints) -> float:
    """Return F1 of ``likely_disinformation_narrative``."""
    return float(f1_by_outcome(probabilities, gold)[_DISINFORMATION])


def accuracy(probabilities: Floats, gold: Ints) -> float:
    """Return the share of statements whose most probable outcome is the right one."""
    return float((probabilities.argmax(1) == gold).mean())


def brier(probabilities: Floats, gold: Ints) -> float:
    """Return the multi-class Brier score: the mean squared distance to the one-hot truth (Brier 1950)."""
    return float(((probabilities - np.eye(len(OUTCOMES))[gold]) ** 2).sum(1).mean())


def expected_calibration_error(probabilities: Floats, gold: Ints) -> float:
    """Return the gap between confidence and accuracy, averaged over bins of equal mass (Nguyen & O'Connor 2015)."""
    right = probabilities.argmax(1) == gold
    confidence = probabilities.max(1)
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(ECE_BINS, len(gold)))
    return float(sum(len(b) * abs(confidence[b].mean() - right[b].mean()) for b in bins) / len(gold))


def accuracy_at_coverage(probabilities: Floats, gold: Ints, coverage: float = 0.7) -> float:
    """Return the accuracy over the share of statements that the model is most confident of."""
    order = np.argsort(-probabilities.max(1), kind="stable")[: max(1, round(coverage * len(gold)))]
    return accuracy(probabilities[order], gold[order])


METRICS: Final[dict[str, Metric]] = {
    "macro_f1": macro_f1,
    "disinformation_f1": disinformation_f1,
    "accuracy": accuracy,
    "brier": brier,
    "ece": expected_calibration_error,
    "accuracy_at_70": accuracy_at_coverage,
}


def bootstrap(
    metrics: dict[str, Metric], probabilities: Floats, gold: Ints, clusters: Sequence[str], *, seed: int = 0
) -> dict[str, Interval]:
    """Return each figure with its 95 % percentile interval, resampling whole clusters (Efron & Tibshirani 1993)."""
    samples: dict[str, list[float]] = {name: [] for name in metrics}
    for rows in _resamples(clusters, seed):
        for name, metric in metrics.items():
            samples[name].append(metric(probabilities[rows], gold[rows]))
    return {name: _interval(metric(probabilities, gold), samples[name]) for name, metric in metrics.items()}


def paired_difference(
    metric: Metric, first: Floats, second: Floats, gold: Ints, clusters: Sequence[str], *, seed: int = 0
) -> Interval:
    """Return first minus second with its interval over the same resampled clusters (paired bootstrap, Koehn 2004)."""
    samples = [metric(first[r], gold[r]) - metric(second[r], gold[r]) for r in _resamples(clusters, seed)]
    return _interval(metric(first, gold) - metric(second, gold), samples)


def _resamples(clusters: Sequence[str], seed: int) -> list[Ints]:
    _, cluster_of_row = np.unique(np.asarray(clusters), return_inverse=True)
    n_clusters = int(cluster_of_row.max()) + 1
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, n_clusters, (RESAMPLES, n_clusters))
    rows = np.arange(len(clusters))
    return [np.repeat(rows, np.bincount(draw, minlength=n_clusters)[cluster_of_row]) for draw in drawn]


def _interval(value: float, samples: list[float]) -> Interval:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Interval(value, float(low), float(high))
