"""Fitting a calibration: known temperatures are found again, and sets cover what they state."""

import numpy as np
import pytest

from credence.calibration import softmax
from credence.labels import OUTCOMES
from training.config import CalibrationConfig
from training.fit_calibration import cross_fitted, fit_calibration, fit_scaling, reliability_table, set_threshold
from training.metrics import Floats, Ints, expected_calibration_error

CODES = ("en", "uk", "ru")


def draw(n: int, seed: int, temperature: float = 1.0) -> tuple[Floats, Ints]:
    """Return logits that are ``temperature`` times too sharp, and outcomes drawn from their honest probabilities."""
    generator = np.random.default_rng(seed)
    honest = generator.normal(0, 1.5, (n, len(OUTCOMES)))
    honest -= honest.mean(1, keepdims=True)
    gold = np.asarray([generator.choice(len(OUTCOMES), p=row) for row in softmax(honest)])
    return honest * temperature, gold


def test_a_known_temperature_is_found_again() -> None:
    logits, gold = draw(6000, 1, temperature=3.0)
    scaling = fit_scaling(logits, gold)
    np.testing.assert_allclose(scaling.weights, 1 / 3, atol=0.03)
    np.testing.assert_allclose(np.asarray(scaling.biases) - np.mean(scaling.biases), 0, atol=0.12)


def test_boastful_logits_become_honest_on_rows_never_seen() -> None:
    logits, gold = draw(3000, 2, temperature=4.0)
    scaling = fit_scaling(logits[:1500], gold[:1500])
    before = expected_calibration_error(softmax(logits[1500:]), gold[1500:])
    after = expected_calibration_error(scaling.apply(logits[1500:]), gold[1500:])
    assert after < 0.04 < 0.15 < before


def test_a_network_that_learned_from_smoothed_labels_is_believed_where_it_is_surest() -> None:
    honest, _ = draw(4000, 10)
    honest, learned = 3 * honest, 0.8 * softmax(3 * honest) + 0.2 / len(OUTCOMES)
    gold = np.asarray([np.random.default_rng(i).choice(len(OUTCOMES), p=row) for i, row in enumerate(softmax(honest))])
    errors = []
    for smoothing in (0.0, 0.2):
        scaling = fit_scaling(np.log(learned[:2000]), gold[:2000], smoothing)
        errors.append(expected_calibration_error(scaling.apply(np.log(learned[2000:])), gold[2000:]))
    assert errors[1] < errors[0]


def test_few_rows_cannot_bend_the_scaling_far() -> None:
    logits, gold = draw(12, 3)
    scaling = fit_scaling(logits, gold)
    assert max(scaling.weights) / min(scaling.weights) < 5
    assert np.isfinite([*scaling.weights, *scaling.biases]).all()


def test_the_threshold_equals_a_hand_computation() -> None:
    of_truth = np.asarray([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.35, 0.3, 0.25])
    probabilities = np.column_stack([of_truth, 1 - of_truth, 0 * of_truth, 0 * of_truth])
    gold = np.zeros(9, np.int64)
    # ceil(10 * 0.8) = 8: the eighth greatest probability of the truth.
    assert set_threshold(probabilities, gold, 0.8) == 0.3
    assert set_threshold(probabilities, gold, 0.9) == 0.25


def test_too_few_rows_for_the_coverage_let_every_outcome_in() -> None:
    assert set_threshold(np.eye(4)[:3], np.arange(3), 0.9) == 0


def test_sets_cover_at_least_what_they_state_on_exchangeable_rows() -> None:
    logits, gold = draw(4000, 4)
    probabilities = softmax(logits)
    covered = []
    for seed in range(40):
        order = np.random.default_rng(seed).permutation(4000)
        fitted, fresh = order[:200], order[200:]
        threshold = set_threshold(probabilities[fitted], gold[fitted], 0.9)
        covered.append((probabilities[fresh, gold[fresh]] >= threshold).mean())
    # The guarantee is on the mean over calibration sets; 40 of them are within a hundredth of it.
    assert np.mean(covered) == pytest.approx(0.9, abs=0.012)


def test_higher_coverage_never_raises_the_threshold() -> None:
    logits, gold = draw(500, 5)
    probabilities = softmax(logits)
    thresholds = [set_threshold(probabilities, gold, coverage) for coverage in (0.6, 0.7, 0.8, 0.9, 0.99)]
    assert thresholds == sorted(thresholds, reverse=True)


def rows_apart(n: int) -> list[str]:
    return [f"c{i}" for i in range(n)]


def test_a_calibration_holds_a_threshold_and_a_table_for_each_language() -> None:
    logits, gold = draw(300, 6)
    languages = [CODES[n % 3] for n in range(300)]
    config = CalibrationConfig(coverage=0.8, ambiguous_below=0.4)
    calibration = fit_calibration(logits, gold, languages, rows_apart(300), config, fitted_on="300 drawn rows")
    assert set(calibration.set_thresholds) == set(CODES)
    assert {row.language for row in calibration.reliability} == {"all", *CODES}
    assert (calibration.coverage, calibration.ambiguous_below) == (0.8, 0.4)
    assert "300 drawn rows" in calibration.measured_on
    rows = np.asarray([code == "uk" for code in languages])
    expected = set_threshold(calibration.scaling.apply(logits)[rows], gold[rows], 0.8)
    assert calibration.set_thresholds["uk"] == expected


def test_a_language_without_rows_is_refused_by_name() -> None:
    logits, gold = draw(60, 7)
    with pytest.raises(ValueError, match="no held-back statements in ru"):
        fit_calibration(logits, gold, ["en", "uk"] * 30, rows_apart(60), CalibrationConfig(), fitted_on="60 rows")


def test_no_row_is_judged_by_a_scaling_that_saw_its_cluster() -> None:
    logits, gold = draw(100, 8)
    clusters = ["same", "same", *rows_apart(98)]
    before = cross_fitted(logits, gold, clusters, n_folds=2)
    flipped = gold.copy()
    flipped[0] = (gold[0] + 1) % 4
    after = cross_fitted(logits, flipped, clusters, n_folds=2)
    np.testing.assert_array_equal(before[:2], after[:2])
    assert (before != after).any()


def test_the_reliability_table_counts_every_row_once() -> None:
    logits, gold = draw(305, 9)
    languages = [CODES[n % 3] for n in range(305)]
    table = reliability_table(softmax(logits), gold, languages)
    for code in ("all", *CODES):
        rows = [row for row in table if row.language == code]
        n = sum(row.n_statements for row in rows)
        assert n == (305 if code == "all" else languages.count(code))
        assert all(row.lower <= row.mean_confidence <= row.upper for row in rows)
        assert [row.upper for row in rows] == sorted(row.upper for row in rows)
    right = sum(row.accuracy * row.n_statements for row in table if row.language == "all")
    assert right == pytest.approx((logits.argmax(1) == gold).sum())
