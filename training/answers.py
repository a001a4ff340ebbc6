"""What the answers of a model look like one by one: confusion, reliability, confidences, the worst errors."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any, Final

import numpy as np
from scipy.stats import binomtest

from credence.labels import OUTCOMES, Outcome
from training.corpora import Example
from training.fit_calibration import reliability_table
from training.metrics import Floats, Ints, confusion, risk_by_coverage
from training.results import McNemar, WorstError

WORST_ERRORS: Final = 10
_HISTOGRAM_STEPS: Final = 20


def describe_answers(probabilities: Floats, examples: Sequence[Example], gold: Ints) -> dict[str, Any]:
    """Return the fields of an ``EvaluationResult`` that come from single answers; ``gold`` are outcome columns (n,)."""
    risks = risk_by_coverage(probabilities, gold)
    surest = np.maximum(1, np.round(np.arange(1, 101) / 100 * len(gold)).astype(int))
    return {
        "confusion": confusion(probabilities.argmax(1), gold).tolist(),
        "reliability": reliability_table(probabilities, gold, [e.language for e in examples]),
        "confidence_histogram": np.histogram(probabilities.max(1), _HISTOGRAM_STEPS, (0, 1))[0].tolist(),
        "risk_by_coverage": risks[surest - 1].tolist(),
        "worst_errors": _worst_errors(probabilities, examples),
    }


def mcnemar(first: Floats, second: Floats, gold: Ints) -> McNemar:
    """Return McNemar's exact test of the answers of two models (n_statements, n_outcomes) to the same statements."""
    first_right, second_right = first.argmax(1) == gold, second.argmax(1) == gold
    only_first, only_second = int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())
    differing = only_first + only_second
    p = float(binomtest(only_first, differing).pvalue) if differing else 1.0
    return McNemar(only_first=only_first, only_second=only_second, p=p)


def _worst_errors(probabilities: Floats, examples: Sequence[Example]) -> list[WorstError]:
    """Return the errors of highest confidence of each pair of outcomes, pair by pair in the order of the outcomes."""
    cells: dict[tuple[Outcome, Outcome], list[WorstError]] = {pair: [] for pair in permutations(OUTCOMES, 2)}
    for row in np.argsort(-probabilities.max(1), kind="stable"):
        example, given = examples[row], OUTCOMES[probabilities[row].argmax()]
        cell = cells.get((example.label, given))
        if cell is not None and len(cell) < WORST_ERRORS:
            confidence = float(probabilities[row].max())
            error = {"id": example.id, "language": example.language, "gold": example.label, "given": given}
            cell.append(WorstError(**error, confidence=confidence))
    return [error for cell in cells.values() for error in cell]
