"""Figures of merit against scikit-learn, and what an interval must keep to."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, f1_score

import training.metrics
from credence.labels import OUTCOMES, Outcome
from training.metrics import (
    METRICS,
    Floats,
    Interval,
    Ints,
    accuracy_at_coverage,
    bootstrap,
    confusion,
    disinformation_f1,
    expected_calibration_error,
    f1_by_outcome,
    macro_f1,
    paired_difference,
)

N = 240
COLUMNS = range(len(OUTCOMES))


@pytest.fixture
def gold() -> Ints:
    return np.random.default_rng(5).choice(4, N, p=[0.4, 0.3, 0.2, 0.1])


@pytest.fixture
def probabilities(gold: Ints) -> Floats:
    logits = np.random.default_rng(6).normal(0, 1, (N, 4)) + 1.2 * np.eye(4)[gold]
    exponentials = np.exp(logits)
    result: Floats = exponentials / exponentials.sum(1, keepdims=True)
    return result


@pytest.fixture
def clusters() -> list[str]:
    return [f"c{n // 3}" for n in range(N)]


def test_f1_is_that_of_scikit_learn(probabilities: Floats, gold: Ints) -> None:
    predicted = probabilities.argmax(1)
    expected = f1_score(gold, predicted, labels=COLUMNS, average=None)
    np.testing.assert_allclose(f1_by_outcome(probabilities, gold), expected)
    assert macro_f1(probabilities, gold) == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert disinformation_f1(probabilities, gold) == expected[OUTCOMES.index(Outcome.LIKELY_DISINFORMATION_NARRATIVE)]


def test_an_outcome_neither_predicted_nor_present_has_f1_zero() -> None:
    gold = np.asarray([0, 0, 1])
    np.testing.assert_array_equal(f1_by_outcome(np.eye(4)[gold], gold), [1, 1, 0, 0])


def test_the_other_figures_are_those_of_scikit_learn(probabilities: Floats, gold: Ints) -> None:
    predicted = probabilities.argmax(1)
    np.testing.assert_array_equal(confusion(predicted, gold), confusion_matrix(gold, predicted, labels=COLUMNS))
    assert METRICS["accuracy"](probabilities, gold) == accuracy_score(gold, predicted)
    expected = brier_score_loss(gold, probabilities, labels=list(COLUMNS), scale_by_half=False)
    assert METRICS["brier"](probabilities, gold) == pytest.approx(expected)


def test_calibration_error_is_zero_for_honest_and_large_for_boastful_confidence() -> None:
    gold = np.asarray([0] * 75 + [1] * 25)
    honest, boastful = np.tile([0.75, 0.25, 0, 0], (100, 1)), np.tile([1.0, 0, 0, 0], (100, 1))
    # Confidence never varies here, so one bin would do; fifteen see the order of the rows as noise.
    mixed = np.random.default_rng(0).permutation(gold)
    assert expected_calibration_error(boastful, mixed) == pytest.approx(0.25)
    assert expected_calibration_error(honest, mixed) < 0.15
    assert expected_calibration_error(np.eye(4)[gold], gold) == 0


def test_calibration_error_equals_a_hand_computation() -> None:
    probabilities = np.asarray([[0.6, 0.4, 0, 0], [0.9, 0.1, 0, 0]])
    assert expected_calibration_error(probabilities, np.asarray([0, 1])) == pytest.approx((0.4 + 0.9) / 2)


def test_accuracy_at_coverage_leaves_the_least_confident_out() -> None:
    probabilities = np.asarray([[0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0], [0.4, 0.3, 0.2, 0.1], [0.35, 0.3, 0.2, 0.15]])
    gold = np.asarray([0, 0, 1, 1])
    assert accuracy_at_coverage(probabilities, gold, 0.5) == 1
    assert accuracy_at_coverage(probabilities, gold, 1.0) == 0.5


def test_every_interval_holds_its_value(probabilities: Floats, gold: Ints, clusters: list[str]) -> None:
    for name, interval in bootstrap(METRICS, probabilities, gold, clusters).items():
        assert interval.value == METRICS[name](probabilities, gold)
        assert interval.low <= interval.value <= interval.high or name == "ece"
        assert interval.low < interval.high


def test_the_same_seed_gives_the_same_interval(probabilities: Floats, gold: Ints, clusters: list[str]) -> None:
    first, again, other = (bootstrap(METRICS, probabilities, gold, clusters, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_whole_clusters_are_drawn() -> None:
    gold = np.repeat([0, 1], 50)
    probabilities = np.tile([1.0, 0, 0, 0], (100, 1))
    by_row = bootstrap(METRICS, probabilities, gold, [f"c{n}" for n in range(100)])["accuracy"]
    by_half = bootstrap(METRICS, probabilities, gold, ["first"] * 50 + ["second"] * 50)["accuracy"]
    assert (by_half.low, by_half.high) == (0, 1)
    assert 0.35 < by_row.low < by_row.high < 0.65


def test_a_model_does_not_differ_from_itself(probabilities: Floats, gold: Ints, clusters: list[str]) -> None:
    assert paired_difference(macro_f1, probabilities, probabilities, gold, clusters) == Interval(0, 0, 0)


def test_a_paired_difference_changes_sign_with_the_order(
    probabilities: Floats, gold: Ints, clusters: list[str]
) -> None:
    better = 0.5 * probabilities + 0.5 * np.eye(4)[gold]
    there = paired_difference(macro_f1, better, probabilities, gold, clusters)
    back = paired_difference(macro_f1, probabilities, better, gold, clusters)
    assert there.low > 0
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_pairing_gives_a_narrower_interval_than_two_apart(
    probabilities: Floats, gold: Ints, clusters: list[str]
) -> None:
    slightly = probabilities.copy()
    slightly[:3] = np.eye(4)[gold[:3]]
    difference = paired_difference(macro_f1, slightly, probabilities, gold, clusters)
    alone = bootstrap({"macro_f1": macro_f1}, probabilities, gold, clusters)["macro_f1"]
    assert difference.high - difference.low < (alone.high - alone.low) / 2


def test_intervals_come_from_as_many_samples_as_reports_say() -> None:
    assert training.metrics.RESAMPLES == 2000
