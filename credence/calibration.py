"""Applies a fitted calibration: logits to probabilities, probabilities to prediction sets. Fitting is training's job.

Vector scaling after Guo et al. 2017 (arXiv:1706.04599), on logits from which the label smoothing of the training
(Szegedy et al. 2016, arXiv:1512.00567) is taken out; prediction sets after Sadinle, Lei & Wasserman 2019
(arXiv:1609.00451), with a threshold for each language (Mondrian conformal prediction, Vovk et al. 2005).
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from credence.labels import OUTCOMES

# What smoothed labels keep for the other outcomes is noise below this.
_LEAST_PROBABILITY: Final = 0.002


@dataclass(frozen=True, slots=True)
class Scaling:
    """Logits are multiplied by ``weights`` and shifted by ``biases``, one of each for an outcome.

    Before that, what the network learned from labels smoothed by ``label_smoothing`` is undone.
    """

    weights: tuple[float, ...]
    biases: tuple[float, ...]
    label_smoothing: float = 0.0

    def apply(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Turn logits (n_statements, n_outcomes) into probabilities of the same shape."""
        sharp = undo_label_smoothing(logits, self.label_smoothing)
        return softmax(sharp * np.asarray(self.weights) + np.asarray(self.biases))


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One row of the reliability table: statements whose confidence fell between the two bounds."""

    language: str
    lower: float
    upper: float
    n_statements: int
    mean_confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fitted calibration.

    ``set_thresholds`` holds, by language, the least probability with which an outcome enters the prediction set at
    ``coverage``. Below ``ambiguous_below`` no label is given. ``reliability`` was measured on ``measured_on``.
    """

    scaling: Scaling
    coverage: float
    set_thresholds: dict[str, float]
    ambiguous_below: float
    fitted_on: str
    measured_on: str
    reliability: tuple[ReliabilityBin, ...]

    @property
    def calibration_id(self) -> str:
        """Return a digest that changes with any figure of the calibration."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def prediction_set(self, probabilities: NDArray[np.float64], language: str) -> tuple[int, ...]:
        """Return the outcome columns of one row (n_outcomes,) that belong to its set, the most probable first."""
        order = [int(i) for i in np.argsort(-probabilities, kind="stable")]
        threshold = self.set_thresholds[language]
        return (order[0], *(i for i in order[1:] if probabilities[i] >= threshold))

    def to_json(self) -> str:
        """Return the calibration as JSON text."""
        raw = asdict(self)
        # Absent where it changes nothing: older calibrations do not have it, and keep their id.
        if not self.scaling.label_smoothing:
            del raw["scaling"]["label_smoothing"]
        return json.dumps(raw, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Build it from JSON text; raises ``KeyError``, ``TypeError`` or ``ValueError`` where that is malformed."""
        raw: dict[str, Any] = json.loads(text)
        scaling = Scaling(**{**raw["scaling"], **{name: tuple(raw["scaling"][name]) for name in ("weights", "biases")}})
        if not len(scaling.weights) == len(scaling.biases) == len(OUTCOMES):
            raise ValueError(f"a calibration needs {len(OUTCOMES)} weights and biases")
        if not 0 <= scaling.label_smoothing < 1:
            raise ValueError(f"found a label_smoothing of {scaling.label_smoothing}; expected 0 to below 1")
        bins = tuple(ReliabilityBin(**row) for row in raw["reliability"])
        return cls(**{**raw, "scaling": scaling, "reliability": bins})


def undo_label_smoothing(logits: NDArray[np.floating], smoothing: float) -> NDArray[np.floating]:
    """Return logits (n_statements, n_outcomes) of the probabilities that smoothing turned into those of ``logits``.

    Labels smoothed by s aim at (1 - s) p + s / n_outcomes, so even a network that is sure never says so: its confidence
    bunches below the top, where no scaling parts the sure from the nearly sure.
    """
    if not smoothing:
        return logits
    aimed_at = softmax(logits)
    probabilities = (aimed_at - smoothing / aimed_at.shape[-1]) / (1 - smoothing)
    result: NDArray[np.float64] = np.log(np.maximum(probabilities, _LEAST_PROBABILITY))
    return result


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities along the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    result: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result
