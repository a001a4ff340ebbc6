"""Fits a calibration on held-back logits. ``credence.calibration`` applies it; here alone it is learned."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from credence.calibration import Calibration, ReliabilityBin, Scaling, undo_label_smoothing
from credence.labels import OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from training.config import CalibrationConfig
from training.metrics import Floats, Ints
from training.splits import folds_by_cluster

# Pulls the weights together and the biases to zero, so that a few hundred statements cannot bend the scaling far.
_RIDGE: Final = 0.02
_TABLE_BINS: Final = 10


def fit_scaling(logits: Floats, gold: Ints, label_smoothing: float = 0.0) -> Scaling:
    """Return the scaling with the least regularised log loss on logits (n, n_outcomes) and outcome columns (n,).

    ``label_smoothing`` is that of the training, which the scaling undoes.
    """
    n = len(OUTCOMES)
    sharp = undo_label_smoothing(logits, label_smoothing)

    def objective(parameters: NDArray[np.float64]) -> float:
        weights, biases = np.exp(parameters[:n]), parameters[n:]
        probabilities = Scaling(tuple(weights), tuple(biases)).apply(sharp)
        ridge = _RIDGE * (np.square(parameters[:n] - parameters[:n].mean()).sum() + np.square(biases).sum())
        of_truth = probabilities[np.arange(len(gold)), gold]
        return float(ridge - np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)).mean())

    found = minimize(objective, np.zeros(2 * n), method="L-BFGS-B")
    return Scaling(tuple(map(float, np.exp(found.x[:n]))), tuple(map(float, found.x[n:])), label_smoothing)


def fit_calibration(
    logits: Floats,
    gold: Ints,
    languages: Sequence[str],
    clusters: Sequence[str],
    config: CalibrationConfig,
    *,
    fitted_on: str,
    label_smoothing: float = 0.0,
) -> Calibration:
    """Fit scaling and set thresholds on held-back logits (n, n_outcomes) and measure the reliability table on them.

    The table is out of fold: each statement's probabilities come from a scaling fitted without its fold.
    """
    scaling = fit_scaling(logits, gold, label_smoothing)
    probabilities = scaling.apply(logits)
    thresholds = {
        code: set_threshold(probabilities[rows], gold[rows], config.coverage)
        for code in SUPPORTED_LANGUAGES
        if (rows := np.asarray([language == code for language in languages])).any()
    }
    missing = [code for code in SUPPORTED_LANGUAGES if code not in thresholds]
    if missing:
        raise ValueError(f"no held-back statements in {', '.join(missing)}: a calibration needs every language")
    return Calibration(
        scaling=scaling,
        coverage=config.coverage,
        set_thresholds=thresholds,
        ambiguous_below=config.ambiguous_below,
        fitted_on=fitted_on,
        measured_on=f"{fitted_on}, out of fold",
        reliability=tuple(reliability_table(cross_fitted(logits, gold, clusters, label_smoothing), gold, languages)),
    )


def cross_fitted(
    logits: Floats, gold: Ints, clusters: Sequence[str], label_smoothing: float = 0.0, n_folds: int = 5
) -> Floats:
    """Return probabilities (n, n_outcomes) of each row under a scaling fitted on folds without its cluster."""
    probabilities = np.empty_like(logits, dtype=np.float64)
    folds = np.asarray(folds_by_cluster(clusters, n_folds))
    for fold in range(n_folds):
        inside = folds == fold
        probabilities[inside] = fit_scaling(logits[~inside], gold[~inside], label_smoothing).apply(logits[inside])
    return probabilities


def set_threshold(probabilities: Floats, gold: Ints, coverage: float) -> float:
    """Return the least probability that lets a set hold the truth at the coverage (LAC, split conformal).

    With n statements the rank is ceil((n + 1) * coverage), so coverage holds for finite n (Sadinle et al. 2019).
    """
    n = len(gold)
    of_truth = np.sort(probabilities[np.arange(n), gold])[::-1]
    rank = int(np.ceil((n + 1) * coverage))
    return float(of_truth[rank - 1]) if rank <= n else 0.0


def reliability_table(probabilities: Floats, gold: Ints, languages: Sequence[str]) -> list[ReliabilityBin]:
    """Return bins of equal mass over confidence for each language that occurs, and for all under the name ``all``."""
    right, confidence = probabilities.argmax(1) == gold, probabilities.max(1)
    table = []
    for code in ("all", *SUPPORTED_LANGUAGES):
        rows = np.flatnonzero([code in ("all", language) for language in languages])
        rows = rows[np.argsort(confidence[rows], kind="stable")]
        for part in np.array_split(rows, min(_TABLE_BINS, len(rows))) if len(rows) else ():
            table.append(
                ReliabilityBin(
                    language=code,
                    lower=float(confidence[part[0]]),
                    upper=float(confidence[part[-1]]),
                    n_statements=len(part),
                    mean_confidence=float(confidence[part].mean()),
                    accuracy=float(right[part].mean()),
                )
            )
    return table
