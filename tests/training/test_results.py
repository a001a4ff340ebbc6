"""A result comes back from its file as it was, and a file that is none is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

import training.metrics
from credence.labels import OUTCOMES
from training.corpora import Example
from training.evaluation import Predictions, evaluate_predictions
from training.metrics import Interval
from training.results import EvaluationResult, ResultError, read_result, worst_language_figures, write_result
from training.suites import SuiteResult
from training.targets import LEFT_OUT_SOURCE_TARGET, SUITE_TARGETS, TARGETS, Target

SUITE = SuiteResult("typos", "the same outcome", 2, Interval(0.5, 0.0, 1.0), "higher", None, None, ("t1",))


@pytest.fixture
def result(monkeypatch: pytest.MonkeyPatch) -> EvaluationResult:
    monkeypatch.setattr(training.metrics, "RESAMPLES", 20)
    examples = [
        Example(f"s{n}", f"A secret line {n}.", ("en", "uk")[n % 2], OUTCOMES[n % 4], 6, 3, "dev", f"c{n}", "gold/x")
        for n in range(8)
    ]
    probabilities = np.random.default_rng(0).dirichlet([1] * 4, 8)
    sets = tuple(OUTCOMES[: 1 + n % 3] for n in range(8))
    model, other = (
        Predictions("model", probabilities, (True,) * 8, sets),
        Predictions("other", probabilities, (True,) * 8),
    )
    return evaluate_predictions(model, examples, digests={"gold/dev.jsonl": "a" * 64}, suites=[SUITE], others=[other])


def test_a_result_comes_back_from_its_file(result: EvaluationResult, tmp_path: Path) -> None:
    path = tmp_path / "new" / "dev.json"
    write_result(result, path)
    assert read_result(path) == result


def test_a_file_of_a_result_holds_no_text(result: EvaluationResult, tmp_path: Path) -> None:
    write_result(result, tmp_path / "dev.json")
    written = (tmp_path / "dev.json").read_text(encoding="utf-8")
    assert "s0" in written
    assert "secret" not in written


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"dev\.json is missing; python -m training\.evaluate"):
        read_result(tmp_path / "dev.json")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"statements": "many"}, "statements: Input should be a valid integer"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"metrics": {"macro_f1": {"value": 1}}}, "metrics.macro_f1.low: Field required"),
    ],
)
def test_the_first_fault_of_a_file_is_named(
    result: EvaluationResult, tmp_path: Path, change: dict[str, object], fault: str
) -> None:
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({**json.loads(result.model_dump_json()), **change}), encoding="utf-8")
    with pytest.raises(ResultError) as caught:
        read_result(path)
    assert fault in str(caught.value)
    assert "dev.json" in str(caught.value)


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(ResultError, match="the file: Invalid JSON"):
        read_result(path)


def test_the_worst_language_lends_its_figure_and_interval() -> None:
    def figures(f1: float, ece: float, coverage: Interval) -> dict[str, Interval]:
        return {"macro_f1": Interval(f1, 0, 1), "ece": Interval(ece, 0, 1), "coverage_90": coverage}

    languages = {
        "en": figures(0.8, 0.02, Interval(0.94, 0.92, 0.96)),
        "uk": figures(0.7, 0.05, Interval(0.89, 0.86, 0.93)),
    }
    worst = worst_language_figures(languages)
    assert worst["macro_f1_weakest_language"].value == 0.7
    assert worst["ece_worst_language"].value == 0.05
    gap = worst["coverage_90_worst_gap"]
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.04, 0.02, 0.06))


def test_a_gap_may_be_none_where_the_interval_holds_the_promise() -> None:
    figures = {"macro_f1": Interval(1, 1, 1), "ece": Interval(0, 0, 0), "coverage_90": Interval(0.89, 0.86, 0.93)}
    gap = worst_language_figures({"en": figures})["coverage_90_worst_gap"]
    assert (gap.low, gap.high) == pytest.approx((0, 0.04))


def test_models_without_sets_have_no_gap() -> None:
    figures = {"macro_f1": Interval(1, 1, 1), "ece": Interval(0, 0, 0)}
    assert worst_language_figures({"en": figures}).keys() == {"macro_f1_weakest_language", "ece_worst_language"}


@pytest.mark.parametrize("target", [*TARGETS.values(), *SUITE_TARGETS.values(), LEFT_OUT_SOURCE_TARGET])
def test_a_goal_is_further_than_what_must_be(target: Target) -> None:
    assert target.is_met(target.must)
    assert target.is_met(target.goal)
    beyond = target.must + (0.001 if target.better == "lower" else -0.001)
    assert not target.is_met(beyond)
