"""Figures of merit on numpy arrays, with bootstrap intervals and paired tests.

Arrays: ``probabilities`` have shape (n_statements, n_outcomes), ``gold`` holds outcome columns (n_statements,).
``members`` tells which outcomes stand in each prediction set, 1 or 0, in the shape of ``probabilities``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from credence.labels import OUTCOMES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Callable[[Floats, Ints], float]

ECE_BINS: Final = 15
RESAMPLES: Final = 2000
CALIBRATED_DRAWS: Final = 1000
# A statement whose right outcome got no probability at all must not make the whole loss infinite.
_LEAST_PROBABILITY: Final = 1e-6


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
    scores: Floats = 2 * np.diag(counts) / np.maximum(counts.sum(0) + counts.sum(1), 1)
    return scores


def precision_by_outcome(probabilities: Floats, gold: Ints) -> Floats:
    """Return the share that is right among the statements given each outcome (n_outcomes,); 0 where none was."""
    counts = confusion(probabilities.argmax(1), gold)
    scores: Floats = np.diag(counts) / np.maximum(counts.sum(0), 1)
    return scores


def recall_by_outcome(probabilities: Floats, gold: Ints) -> Floats:
    """Return the share that was found among the statements of each outcome (n_outcomes,); 0 where there are none."""
    counts = confusion(probabilities.argmax(1), gold)
    scores: Floats = np.diag(counts) / np.maximum(counts.sum(1), 1)
    return scores


def macro_f1(probabilities: Floats, gold: Ints) -> float:
    """Return the unweighted mean of F1 over the four outcomes."""
    return float(f1_by_outcome(probabilities, gold).mean())


def macro_f1_present(probabilities: Floats, gold: Ints) -> float:
    """Return the mean of F1 over the outcomes that stand in ``gold``: for parts that do not hold all four."""
    return float(f1_by_outcome(probabilities, gold)[np.unique(gold)].mean())


def accuracy(probabilities: Floats, gold: Ints) -> float:
    """Return the share of statements whose most probable outcome is the right one."""
    return float((probabilities.argmax(1) == gold).mean())


def log_loss(probabilities: Floats, gold: Ints) -> float:
    """Return the mean negative logarithm of the probability of the truth, that probability being at least 1e-6."""
    of_truth = probabilities[np.arange(len(gold)), gold]
    return float(-np.log(np.maximum(of_truth, _LEAST_PROBABILITY)).mean())


def brier(probabilities: Floats, gold: Ints) -> float:
    """Return the multi-class Brier score: the mean squared distance to the one-hot truth (Brier 1950)."""
    return float(((probabilities - np.eye(len(OUTCOMES))[gold]) ** 2).sum(1).mean())


def expected_calibration_error(probabilities: Floats, gold: Ints) -> float:
    """Return the gap between confidence and accuracy, averaged over bins of equal mass (Nguyen & O'Connor 2015).

    Statements of equal confidence share their errors evenly, so the order of the rows plays no part.
    """
    right = probabilities.argmax(1) == gold
    return float(_calibration_errors(probabilities.max(1), right[None])[0])


def calibration_error_if_calibrated(probabilities: Floats, *, seed: int = 0) -> Interval:
    """Return the error that chance alone gives a perfectly calibrated model with the same confidences.

    Mean and 95 % range over draws in which each answer is right with the probability that its confidence states
    (consistency resampling, Bröcker & Smith 2007; on the bias of the binned error, Roelofs et al. 2022,
    arXiv:2012.08668).
    """
    confidence = probabilities.max(1)
    right = np.random.default_rng(seed).random((CALIBRATED_DRAWS, len(confidence))) < confidence
    errors = _calibration_errors(confidence, right)
    return _interval(float(errors.mean()), errors)


def calibration_error_debiased(
    probabilities: Floats, gold: Ints, clusters: Sequence[str], *, seed: int = 0
) -> Interval:
    """Return the calibration error less what chance alone gives; about 0 or below for a calibrated model.

    Resampling repeats statements, which adds to the error; the interval is shifted by what the same samples give a
    perfectly calibrated model.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == gold
    generator = np.random.default_rng(seed)
    errors = []
    for rows in _resamples(clusters, seed):
        calibrated = generator.random(len(gold)) < confidence
        errors.append(_calibration_errors(confidence[rows], np.stack([right, calibrated])[:, rows]))
    found, by_chance = np.transpose(errors)
    here = calibration_error_if_calibrated(probabilities, seed=seed).value
    return _interval(expected_calibration_error(probabilities, gold) - here, found - by_chance.mean())


def _calibration_errors(confidence: Floats, right: NDArray[np.bool_]) -> Floats:
    """Return the binned calibration error (n_draws,) of answers that were right or not (n_draws, n_statements)."""
    n = len(confidence)
    n_bins = min(ECE_BINS, n)
    order = np.argsort(confidence, kind="stable")
    starts = np.arange(n_bins) * (n // n_bins) + np.minimum(np.arange(n_bins), n % n_bins)
    confidence, shares = confidence[order], right[:, order].astype(np.float64)
    levels = np.flatnonzero(np.diff(confidence, prepend=-1))
    if len(levels) < n:
        sizes = np.diff(levels, append=n)
        shares = np.repeat(np.add.reduceat(shares, levels, axis=1) / sizes, sizes, axis=1)
    gaps = np.add.reduceat(shares - confidence, starts, axis=1)
    errors: Floats = np.abs(gaps).sum(1) / n
    return errors


def risk_by_coverage(probabilities: Floats, gold: Ints) -> Floats:
    """Return the share of errors among the k statements of highest confidence, for k from 1 to all (n_statements,).

    Statements of equal confidence share their errors evenly (Geifman & El-Yaniv 2017, arXiv:1705.08500).
    """
    wrong = probabilities.argmax(1) != gold
    _, level = np.unique(-probabilities.max(1), return_inverse=True)
    sizes = np.bincount(level)
    errors = np.repeat(np.bincount(level, weights=wrong) / sizes, sizes)
    risks: Floats = np.cumsum(errors) / np.arange(1, len(gold) + 1)
    return risks


def area_under_risk_coverage(probabilities: Floats, gold: Ints) -> float:
    """Return the mean of the risk over all coverages: low where errors are few and stand among the unsure answers."""
    return float(risk_by_coverage(probabilities, gold).mean())


def accuracy_at_coverage(probabilities: Floats, gold: Ints, coverage: float = 0.7) -> float:
    """Return the accuracy over the share of statements that the model is most confident of."""
    return float(1 - risk_by_coverage(probabilities, gold)[max(1, round(coverage * len(gold))) - 1])


def set_coverage(members: Floats, gold: Ints) -> float:
    """Return the share of prediction sets that hold the truth."""
    return float(members[np.arange(len(gold)), gold].mean())


def mean_set_size(members: Floats, gold: Ints) -> float:
    """Return the mean number of outcomes in a prediction set."""
    return float(members.sum(1).mean())


METRICS: Final[dict[str, Metric]] = {
    "macro_f1": macro_f1,
    "accuracy": accuracy,
    "accuracy_at_70": accuracy_at_coverage,
    "log_loss": log_loss,
    "brier": brier,
    "ece": expected_calibration_error,
    "aurc": area_under_risk_coverage,
}
SET_METRICS: Final[dict[str, Metric]] = {"coverage_90": set_coverage, "mean_set_size": mean_set_size}


def bootstrap(
    metrics: dict[str, Metric], probabilities: Floats, gold: Ints, clusters: Sequence[str], *, seed: int = 0
) -> dict[str, Interval]:
    """Return each figure with its 95 % percentile interval, resampling whole clusters (Efron & Tibshirani 1993)."""
    samples: dict[str, list[float]] = {name: [] for name in metrics}
    for rows in _resamples(clusters, seed):
        sampled, truth = probabilities[rows], gold[rows]
        for name, metric in metrics.items():
            samples[name].append(metric(sampled, truth))
    return {name: _interval(metric(probabilities, gold), samples[name]) for name, metric in metrics.items()}


def paired_difference(
    metric: Metric, first: Floats, second: Floats, gold: Ints, clusters: Sequence[str], *, seed: int = 0
) -> Interval:
    """Return first minus second with its interval over the same resampled clusters (paired bootstrap, Koehn 2004)."""
    return paired_differences({"": metric}, first, second, gold, clusters, seed=seed)[""]


def paired_differences(
    metrics: dict[str, Metric], first: Floats, second: Floats, gold: Ints, clusters: Sequence[str], *, seed: int = 0
) -> dict[str, Interval]:
    """Return the paired difference of each figure, over the same samples."""
    samples: dict[str, list[float]] = {name: [] for name in metrics}
    for rows in _resamples(clusters, seed):
        ours, theirs, truth = first[rows], second[rows], gold[rows]
        for name, metric in metrics.items():
            samples[name].append(metric(ours, truth) - metric(theirs, truth))
    return {
        name: _interval(metric(first, gold) - metric(second, gold), samples[name]) for name, metric in metrics.items()
    }


def _resamples(clusters: Sequence[str], seed: int) -> list[Ints]:
    _, cluster_of_row = np.unique(np.asarray(clusters), return_inverse=True)
    n_clusters = int(cluster_of_row.max()) + 1
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, n_clusters, (RESAMPLES, n_clusters))
    rows = np.arange(len(clusters))
    return [np.repeat(rows, np.bincount(draw, minlength=n_clusters)[cluster_of_row]) for draw in drawn]


def _interval(value: float, samples: Sequence[float] | Floats) -> Interval:
    low, high = np.quantile(samples, [0.025, 0.975])
    return Interval(value, float(low), float(high))
