"""What each statement weighs in the loss: by its label's certainty, who gave it, its language and its outcome."""

from collections import Counter
from collections.abc import Sequence

from training.config import DataConfig
from training.corpora import OWN_ORIGIN, Example
from training.sources import FEEDBACK_ORIGIN


def loss_weights(examples: Sequence[Example], data: DataConfig) -> list[float]:
    """Return the weight (n,) of each example, as the recipe says."""
    balanced = balanced_weights(examples, data.language_balance)
    return [_weight(example, data) * balance for example, balance in zip(examples, balanced, strict=True)]


def balanced_weights(examples: Sequence[Example], balance: float) -> list[float]:
    """Return the weight (n,) of each example under which its language says less about its outcome.

    Reweighing of Kamiran & Calders 2012 (doi:10.1007/s10115-011-0463-8): how often language and outcome would meet by
    chance, over how often they do, to the power of ``balance``. At 1 they are independent, at 0 all weigh alike.
    """
    languages, outcomes = Counter(e.language for e in examples), Counter(e.label for e in examples)
    pairs = Counter((e.language, e.label) for e in examples)
    return [
        (languages[e.language] * outcomes[e.label] / (len(examples) * pairs[e.language, e.label])) ** balance
        for e in examples
    ]


def _weight(example: Example, data: DataConfig) -> float:
    certainty = data.toss_up_weight if example.sure == 1 else 1.0
    weights = {OWN_ORIGIN: data.own_weight, FEEDBACK_ORIGIN: data.feedback_weight}
    return certainty * next((w for prefix, w in weights.items() if example.origin.startswith(prefix)), 1.0)
