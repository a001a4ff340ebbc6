"""Applying a calibration: probabilities, prediction sets, and a file that survives the way through JSON."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from credence.calibration import Calibration, ReliabilityBin, Scaling, softmax, undo_label_smoothing

CALIBRATION = Calibration(
    scaling=Scaling((0.5, 0.6, 0.7, 0.8), (0.1, -0.1, 0.0, 1 / 3)),
    coverage=0.9,
    set_thresholds={"en": 0.2, "uk": 0.05, "ru": 0.6},
    ambiguous_below=0.45,
    fitted_on="471 statements",
    measured_on="471 statements, out of fold",
    reliability=(ReliabilityBin("all", 0.5, 0.7, 47, 0.6, 0.58), ReliabilityBin("uk", 0.7, 1.0, 46, 0.9, 0.91)),
)
ROWS = st.lists(st.floats(0.001, 1), min_size=4, max_size=4).map(lambda row: np.asarray(row) / sum(row))


def test_a_calibration_survives_json() -> None:
    again = Calibration.from_json(CALIBRATION.to_json())
    assert again == CALIBRATION
    assert again.calibration_id == CALIBRATION.calibration_id


def test_the_id_changes_with_any_figure() -> None:
    changed = [
        replace(CALIBRATION, coverage=0.91),
        replace(CALIBRATION, set_thresholds={**CALIBRATION.set_thresholds, "ru": 0.61}),
        replace(CALIBRATION, scaling=Scaling((0.5, 0.6, 0.7, 0.8), (0.1, -0.1, 0.0, 0.3333))),
        replace(CALIBRATION, reliability=CALIBRATION.reliability[:1]),
    ]
    assert len({calibration.calibration_id for calibration in (CALIBRATION, *changed)}) == 5


def test_a_calibration_with_label_smoothing_survives_json_and_has_another_id() -> None:
    smoothed = replace(CALIBRATION, scaling=replace(CALIBRATION.scaling, label_smoothing=0.1))
    assert Calibration.from_json(smoothed.to_json()) == smoothed
    assert smoothed.calibration_id != CALIBRATION.calibration_id


def test_a_calibration_without_label_smoothing_is_written_as_ever() -> None:
    assert set(json.loads(CALIBRATION.to_json())["scaling"]) == {"weights", "biases"}


@pytest.mark.parametrize(
    "change",
    [
        {"scaling": {"weights": [1, 1, 1, 1], "biases": [0, 0, 0, 0], "label_smoothing": 1}},
        {"scaling": {"weights": [1, 1, 1, 1], "biases": [0, 0, 0, 0], "smoothing": 0.1}},
        {"scaling": {"weights": [1, 1, 1], "biases": [0, 0, 0, 0]}},
        {"scaling": {"weights": [1, 1, 1, 1]}},
        {"reliability": [{"language": "en"}]},
        {"temperature": 1.5},
    ],
)
def test_a_malformed_calibration_is_refused(change: dict[str, object]) -> None:
    text = json.dumps({**json.loads(CALIBRATION.to_json()), **change})
    with pytest.raises((KeyError, TypeError, ValueError)):
        Calibration.from_json(text)


def test_scaling_equals_a_hand_computation() -> None:
    logits = np.asarray([[np.log(4.0), 0.0, 0.0, 0.0]])
    # Half the logit is log 2, and the last outcome is raised by log 3: weights 2, 1, 1, 3.
    scaling = Scaling((0.5, 0.5, 0.5, 0.5), (0.0, 0.0, 0.0, float(np.log(3.0))))
    np.testing.assert_allclose(scaling.apply(logits), [[2 / 7, 1 / 7, 1 / 7, 3 / 7]])


@given(ROWS, st.floats(0.01, 0.5))
def test_what_label_smoothing_hid_is_found_again(row: NDArray[np.float64], smoothing: float) -> None:
    smoothed = np.log((1 - smoothing) * row + smoothing / 4)[None]
    found = softmax(undo_label_smoothing(smoothed, smoothing))[0]
    # What is rarer than two in a thousand is raised to that, so the others may lose as much.
    np.testing.assert_allclose(found, row, atol=0.007)
    assert found.argmax() == row.argmax() or row.max() - row[found.argmax()] < 1e-9


def test_probabilities_sum_to_one_even_for_extreme_logits() -> None:
    probabilities = softmax(np.asarray([[1000.0, -1000.0, 0.0, 999.0], [0.0, 0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(probabilities.sum(1), 1)
    np.testing.assert_array_equal(probabilities[1], 0.25)


@given(ROWS, st.sampled_from(["en", "uk", "ru"]))
def test_a_set_holds_the_most_probable_outcome_and_is_ordered(row: NDArray[np.float64], language: str) -> None:
    columns = CALIBRATION.prediction_set(row, language)
    assert columns[0] == row.argmax()
    assert len(set(columns)) == len(columns)
    assert [row[c] for c in columns] == sorted((row[c] for c in columns), reverse=True)


@given(ROWS, st.floats(0, 1), st.floats(0, 1))
def test_a_set_grows_as_its_threshold_falls(row: NDArray[np.float64], first: float, second: float) -> None:
    low, high = (
        replace(CALIBRATION, set_thresholds={"en": threshold}).prediction_set(row, "en")
        for threshold in sorted((first, second))
    )
    assert low[: len(high)] == high


@given(ROWS)
def test_a_set_holds_every_outcome_at_or_over_the_threshold_of_its_language(row: NDArray[np.float64]) -> None:
    for language, threshold in CALIBRATION.set_thresholds.items():
        inside = {int(c) for c in np.flatnonzero(row >= threshold)} | {int(row.argmax())}
        assert set(CALIBRATION.prediction_set(row, language)) == inside
