"""Figures of merit against scikit-learn, and what an interval must keep to."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, confusion_matrix, f1_score, precision_score, recall_score
from sklearn.metrics import log_loss as sklearn_log_loss

import training.metrics
from credence.labels import OUTCOMES
from training.metrics import (
    METRICS,
    SET_METRICS,
    Floats,
    Interval,
    Ints,
    accuracy_at_coverage,
    area_under_risk_coverage,
    bootstrap,
    calibration_error_debiased,
    calibration_error_if_calibrated,
    confusion,
    expected_calibration_error,
    f1_by_outcome,
    log_loss,
    macro_f1,
    macro_f1_present,
    paired_difference,
    paired_differences,
    precision_by_outcome,
    recall_by_outcome,
    risk_by_coverage,
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


def test_precision_and_recall_are_those_of_scikit_learn(probabilities: Floats, gold: Ints) -> None:
    predicted = probabilities.argmax(1)
    precision = precision_score(gold, predicted, labels=COLUMNS, average=None)
    recall = recall_score(gold, predicted, labels=COLUMNS, average=None)
    np.testing.assert_allclose(precision_by_outcome(probabilities, gold), precision)
    np.testing.assert_allclose(recall_by_outcome(probabilities, gold), recall)


def test_an_absent_outcome_does_not_lower_the_mean_over_those_present() -> None:
    gold = np.asarray([0, 0, 1])
    assert macro_f1_present(np.eye(4)[gold], gold) == 1
    assert macro_f1(np.eye(4)[gold], gold) == 0.5


def test_an_outcome_neither_predicted_nor_present_has_f1_zero() -> None:
    gold = np.asarray([0, 0, 1])
    np.testing.assert_array_equal(f1_by_outcome(np.eye(4)[gold], gold), [1, 1, 0, 0])


def test_the_other_figures_are_those_of_scikit_learn(probabilities: Floats, gold: Ints) -> None:
    predicted = probabilities.argmax(1)
    np.testing.assert_array_equal(confusion(predicted, gold), confusion_matrix(gold, predicted, labels=COLUMNS))
    assert METRICS["accuracy"](probabilities, gold) == accuracy_score(gold, predicted)
    expected = brier_score_loss(gold, probabilities, labels=list(COLUMNS), scale_by_half=False)
    assert METRICS["brier"](probabilities, gold) == pytest.approx(expected)
    assert log_loss(probabilities, gold) == pytest.approx(sklearn_log_loss(gold, probabilities, labels=list(COLUMNS)))


def test_a_truth_without_any_probability_costs_much_but_not_everything() -> None:
    assert log_loss(np.eye(4)[[1]], np.asarray([0])) == pytest.approx(np.log(1e6))


def test_calibration_error_is_zero_for_honest_and_large_for_boastful_confidence() -> None:
    gold = np.asarray([0] * 75 + [1] * 25)
    honest, boastful = np.tile([0.75, 0.25, 0, 0], (100, 1)), np.tile([1.0, 0, 0, 0], (100, 1))
    assert expected_calibration_error(boastful, gold) == pytest.approx(0.25)
    assert expected_calibration_error(honest, gold) == pytest.approx(0)
    assert expected_calibration_error(np.eye(4)[gold], gold) == 0


def test_calibration_error_equals_a_hand_computation() -> None:
    probabilities = np.asarray([[0.6, 0.4, 0, 0], [0.9, 0.1, 0, 0]])
    assert expected_calibration_error(probabilities, np.asarray([0, 1])) == pytest.approx((0.4 + 0.9) / 2)


def test_calibration_error_is_that_of_bins_made_one_by_one(probabilities: Floats, gold: Ints) -> None:
    right, confidence = probabilities.argmax(1) == gold, probabilities.max(1)
    bins = np.array_split(np.argsort(confidence), 15)
    expected = sum(len(b) * abs(confidence[b].mean() - right[b].mean()) for b in bins) / N
    assert expected_calibration_error(probabilities, gold) == pytest.approx(expected)


def test_calibration_error_does_not_hang_on_the_order_of_rows() -> None:
    gold = np.random.default_rng(2).integers(0, 4, 200)
    few_levels = np.tile([[0.7, 0.1, 0.1, 0.1], [0.4, 0.2, 0.2, 0.2]], (100, 1))
    order = np.argsort(gold)
    assert expected_calibration_error(few_levels[order], gold[order]) == pytest.approx(
        expected_calibration_error(few_levels, gold)
    )


def draw_calibrated(n: int, seed: int) -> tuple[Floats, Ints]:
    """Return probabilities and truths drawn from them."""
    generator = np.random.default_rng(seed)
    drawn = generator.dirichlet([0.6] * 4, n)
    gold = (drawn.cumsum(1) > generator.random((n, 1))).argmax(1)
    return drawn, gold


def test_chance_alone_gives_a_calibrated_model_the_error_that_it_shows() -> None:
    shown, expected = [], []
    for seed in range(20):
        drawn, gold = draw_calibrated(150, seed)
        shown.append(expected_calibration_error(drawn, gold))
        expected.append(calibration_error_if_calibrated(drawn).value)
    assert np.mean(shown) == pytest.approx(np.mean(expected), rel=0.15)
    assert np.mean(expected) > 0.05, "the plain error of a perfect model is far from 0 on few statements"


def test_chance_gives_less_on_more_statements() -> None:
    few, many = (calibration_error_if_calibrated(draw_calibrated(n, 1)[0]) for n in (100, 3000))
    assert few.low < few.value < few.high
    assert many.high < few.value


def test_a_debiased_calibration_error_is_about_zero_only_for_a_calibrated_model() -> None:
    drawn, gold = draw_calibrated(600, 3)
    boastful = drawn**3 / (drawn**3).sum(1, keepdims=True)
    clusters = [str(n) for n in range(600)]
    honest, wrong = (calibration_error_debiased(p, gold, clusters) for p in (drawn, boastful))
    assert honest.low < 0 < honest.high
    assert honest.low <= honest.value <= honest.high
    assert wrong.low > 0.02
    assert wrong.low <= wrong.value <= wrong.high


def test_accuracy_at_coverage_leaves_the_least_confident_out() -> None:
    probabilities = np.asarray([[0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0], [0.4, 0.3, 0.2, 0.1], [0.35, 0.3, 0.2, 0.15]])
    gold = np.asarray([0, 0, 1, 1])
    assert accuracy_at_coverage(probabilities, gold, 0.5) == 1
    assert accuracy_at_coverage(probabilities, gold, 1.0) == 0.5


def test_risk_grows_from_the_surest_statement_to_all() -> None:
    probabilities = np.asarray([[0.4, 0.3, 0.2, 0.1], [0.9, 0.1, 0, 0], [0.8, 0.2, 0, 0]])
    gold = np.asarray([1, 0, 1])
    np.testing.assert_allclose(risk_by_coverage(probabilities, gold), [0, 1 / 2, 2 / 3])
    assert area_under_risk_coverage(probabilities, gold) == pytest.approx((1 / 2 + 2 / 3) / 3)


def test_a_model_always_equally_sure_has_the_same_risk_at_every_coverage() -> None:
    gold = np.asarray([0] * 6 + [1] * 2)
    np.testing.assert_allclose(risk_by_coverage(np.tile([0.7, 0.1, 0.1, 0.1], (8, 1)), gold), [0.25] * 8)


def test_sets_are_measured_by_the_truths_inside_and_by_their_size() -> None:
    members, gold = np.asarray([[1, 1, 0, 0], [0, 1, 0, 0]], np.float64), np.asarray([1, 0])
    assert {name: metric(members, gold) for name, metric in SET_METRICS.items()} == {
        "coverage_90": 0.5,
        "mean_set_size": 1.5,
    }


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


def test_differences_of_several_figures_are_those_of_each(
    probabilities: Floats, gold: Ints, clusters: list[str]
) -> None:
    better = 0.5 * probabilities + 0.5 * np.eye(4)[gold]
    together = paired_differences(METRICS, better, probabilities, gold, clusters)
    assert together["macro_f1"] == paired_difference(macro_f1, better, probabilities, gold, clusters)
    assert together.keys() == METRICS.keys()


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
