"""What a statement weighs in the loss, and that its language can be kept from speaking for its outcome."""

from collections import defaultdict

import pytest

from credence.labels import Outcome
from training.config import DataConfig
from training.corpora import Example
from training.loss_weights import balanced_weights, loss_weights


def make(language: str, label: Outcome, *, origin: str = "gold/polnear", sure: int = 3) -> Example:
    return Example("id", "Some text.", language, label, 6, sure, "train", "c", origin)


@pytest.fixture
def lopsided() -> list[Example]:
    storyline, report = Outcome.LIKELY_DISINFORMATION_NARRATIVE, Outcome.FACTUAL_REPORT
    counts = {("en", storyline): 40, ("en", report): 40, ("uk", storyline): 5, ("uk", report): 75}
    return [make(language, label) for (language, label), n in counts.items() for _ in range(n)]


def shares(examples: list[Example], weights: list[float]) -> dict[tuple[str, Outcome], float]:
    mass: dict[tuple[str, Outcome], float] = defaultdict(float)
    for example, weight in zip(examples, weights, strict=True):
        mass[example.language, example.label] += weight / sum(weights)
    return mass


def test_balanced_in_full_every_language_has_the_same_mix_of_outcomes(lopsided: list[Example]) -> None:
    mass = shares(lopsided, balanced_weights(lopsided, 1.0))
    for label in (Outcome.LIKELY_DISINFORMATION_NARRATIVE, Outcome.FACTUAL_REPORT):
        assert mass["en", label] == pytest.approx(mass["uk", label])


def test_balancing_keeps_what_languages_and_outcomes_weigh_in_all(lopsided: list[Example]) -> None:
    mass = shares(lopsided, balanced_weights(lopsided, 1.0))
    storyline, report = Outcome.LIKELY_DISINFORMATION_NARRATIVE, Outcome.FACTUAL_REPORT
    assert mass["uk", storyline] + mass["uk", report] == pytest.approx(80 / 160)
    assert mass["en", storyline] + mass["uk", storyline] == pytest.approx(45 / 160)


def test_half_a_balance_lies_between_none_and_all(lopsided: list[Example]) -> None:
    none, half, full = (
        shares(lopsided, balanced_weights(lopsided, balance))["uk", Outcome.LIKELY_DISINFORMATION_NARRATIVE]
        for balance in (0.0, 0.5, 1.0)
    )
    assert none < half < full
    assert set(balanced_weights(lopsided, 0.0)) == {1.0}


def test_origin_and_certainty_weigh_too() -> None:
    report = Outcome.FACTUAL_REPORT
    examples = [make("en", report), make("en", report, sure=1), make("en", report, origin="statements/en", sure=1)]
    assert loss_weights(examples, DataConfig(toss_up_weight=0.5, own_weight=0.4)) == pytest.approx([1.0, 0.5, 0.2])
