"""Evaluation scores through the core's own promise, and a result says what was measured, on what, by what."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import training.evaluate
import training.metrics
from credence.bundle import default_bundle_path, load_bundle
from credence.calibration import Calibration, Scaling
from credence.labels import CODEBOOK_VERSION, OUTCOMES, Outcome, Reason
from credence.scoring import DocumentScore, ModelInfo, StatementScore
from training.answers import mcnemar
from training.corpora import DATA_PACK_VARIABLE, Example, load_corpus
from training.evaluation import (
    Predictions,
    evaluate_predictions,
    gold_columns,
    measure,
    predict_with_scorer,
    subset,
)
from training.results import EvaluationResult, read_result
from training.targets import TARGETS


class LengthScorer:
    """Takes short texts for reports and long ones for allegations, and finds one-word texts too short."""

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("length-1", "d" * 64, "c" * 16, 3, "r" * 32, {})

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        assert languages is None, "the service does not know the language beforehand"
        return [self._score(text) for text in texts]

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        raise NotImplementedError

    def _score(self, text: str) -> StatementScore:
        best = Outcome.ALLEGATION if len(text) > 20 else Outcome.FACTUAL_REPORT
        scores = {o: 0.7 if o is best else 0.1 for o in OUTCOMES}
        sets = (best, Outcome.NOT_A_CLAIM)
        scored = StatementScore(
            best, None, best, scores, 0.7, sets, "en", 0, len(text), False, len(text), "length-1", "d" * 64
        )
        if " " in text:
            return scored
        unscored = {"label": None, "outcome": None, "scores": None, "confidence": None, "prediction_set": None}
        return replace(scored, reason=Reason.TOO_SHORT, **unscored)  # type: ignore[arg-type]


def make_example(number: int, text: str, label: Outcome, language: str = "en") -> Example:
    return Example(f"e{number}", text, language, label, 6, 3, "dev", f"c{number}", "statements/en")


@pytest.fixture
def examples() -> list[Example]:
    return [
        make_example(0, "A bridge opened.", Outcome.FACTUAL_REPORT),
        make_example(1, "A source says that the bridge is unsafe.", Outcome.ALLEGATION, "uk"),
        make_example(2, "Short but pushed.", Outcome.LIKELY_DISINFORMATION_NARRATIVE, "ru"),
        make_example(3, "Sigh", Outcome.NOT_A_CLAIM),
    ]


@pytest.fixture
def predictions(examples: list[Example]) -> Predictions:
    return predict_with_scorer("length", LengthScorer(), examples)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.metrics, "RESAMPLES", 40)


def test_columns_follow_the_order_of_the_outcomes(predictions: Predictions, examples: list[Example]) -> None:
    assert gold_columns(examples).tolist() == [0, 1, 2, 3]
    assert predictions.probabilities.argmax(1).tolist() == [0, 1, 0, 3]


def test_a_text_without_scores_counts_as_no_claim(predictions: Predictions) -> None:
    assert predictions.is_scored == (True, True, True, False)
    assert predictions.probabilities[3].tolist() == [0, 0, 0, 1]
    assert predictions.sets is not None
    assert predictions.sets[3] == (Outcome.NOT_A_CLAIM,)


def test_every_figure_is_measured_with_the_f1_of_each_outcome(
    predictions: Predictions, examples: list[Example]
) -> None:
    figures = measure(predictions, examples)
    assert {f"f1_{outcome}" for outcome in OUTCOMES} <= set(figures)
    assert figures["accuracy"].value == 0.75
    assert figures["f1_allegation"].value == 1
    assert figures["f1_likely_disinformation_narrative"].value == 0
    by_outcome = [figures[f"f1_{outcome}"].value for outcome in OUTCOMES]
    assert figures["macro_f1"].value == pytest.approx(np.mean(by_outcome))


def test_figures_of_sets_are_measured_where_a_model_gives_sets(
    predictions: Predictions, examples: list[Example]
) -> None:
    figures = measure(predictions, examples)
    assert (figures["coverage_90"].value, figures["mean_set_size"].value) == (0.75, 1.75)
    assert "coverage_90" not in measure(replace(predictions, sets=None), examples)


def test_only_the_figures_named_are_measured(predictions: Predictions, examples: list[Example]) -> None:
    assert measure(predictions, examples, ("accuracy", "coverage_90")).keys() == {"accuracy", "coverage_90"}
    with pytest.raises(KeyError, match="no figures named macro_f2; known are macro_f1"):
        measure(predictions, examples, ["macro_f2"])


def test_a_subset_keeps_rows_together(predictions: Predictions) -> None:
    part = subset(predictions, [3, 1])
    assert part.is_scored == (False, True)
    np.testing.assert_array_equal(part.probabilities, predictions.probabilities[[3, 1]])
    assert part.sets is not None
    assert part.sets[1][0] is Outcome.ALLEGATION


def evaluate(predictions: Predictions, examples: list[Example], **given: Any) -> EvaluationResult:
    return evaluate_predictions(predictions, examples, digests={"statements/en.jsonl": "a" * 64}, **given)


def test_a_result_of_a_bundle_leads_back_to_it(predictions: Predictions, examples: list[Example]) -> None:
    calibration = Calibration(Scaling((1,) * 4, (0,) * 4), 0.9, {"en": 0.2}, 0.4, "some statements", "them", ())
    result = evaluate(predictions, examples, calibration=calibration)
    assert (result.model_kind, result.model_version, result.bundle_digest) == ("bundle", "length-1", "d" * 64)
    assert result.mlflow_run_id == "r" * 32
    assert result.calibration is not None
    assert (result.calibration.id, result.calibration.fitted_on) == (calibration.calibration_id, "some statements")


def test_a_result_of_a_baseline_has_neither_digest_nor_version(examples: list[Example]) -> None:
    guess = Predictions("my guess", np.full((4, 4), 0.25), (True,) * 4)
    result = evaluate(guess, examples, model_kind="majority", run_id="r1")
    assert (result.name, result.model_kind, result.mlflow_run_id) == ("my guess", "majority", "r1")
    assert (result.bundle_digest, result.model_version, result.calibration) == (None, None, None)
    assert evaluate(guess, examples).model_kind == "my guess"


def test_a_result_says_what_was_measured(predictions: Predictions, examples: list[Example]) -> None:
    result = evaluate(predictions, examples)
    assert (result.split, result.origin, result.statements, result.unscored) == ("dev", "statements", 4, 1)
    assert result.counts["language"] == {"en": 2, "uk": 1, "ru": 1}
    assert result.codebook_version == CODEBOOK_VERSION
    assert result.resamples == 40


def test_the_digest_names_statements_and_labels_in_any_order(predictions: Predictions, examples: list[Example]) -> None:
    digest = evaluate(predictions, examples).statements_digest
    assert evaluate(subset(predictions, [3, 1, 0, 2]), [examples[i] for i in (3, 1, 0, 2)]).statements_digest == digest
    relabelled = [*examples[:3], replace(examples[3], label=Outcome.ALLEGATION)]
    reworded = [*examples[:3], replace(examples[3], text="Sighs")]
    assert len({digest, *(evaluate(predictions, e).statements_digest for e in (relabelled, reworded))}) == 3


def test_every_figure_with_a_target_stands_in_a_result(predictions: Predictions, examples: list[Example]) -> None:
    assert TARGETS.keys() <= evaluate(predictions, examples).metrics.keys()


def test_each_language_has_the_figures_of_the_whole_measured_on_its_statements(
    predictions: Predictions, examples: list[Example]
) -> None:
    result = evaluate(predictions, examples)
    alone = measure(subset(predictions, [1]), [examples[1]])
    assert result.by_language["uk"] == alone
    assert result.by_language["en"].keys() == result.metrics.keys() - {
        "macro_f1_weakest_language",
        "ece_worst_language",
        "coverage_90_worst_gap",
    }


def test_outcomes_are_measured_by_what_was_given_and_by_what_was_found(
    predictions: Predictions, examples: list[Example]
) -> None:
    by_outcome = evaluate(predictions, examples).by_outcome
    report, disinformation = by_outcome["factual_report"], by_outcome["likely_disinformation_narrative"]
    found = [report[name].value for name in ("precision", "recall", "f1")]
    assert found == pytest.approx([1 / 2, 1, 2 / 3])
    assert (disinformation["recall"].value, disinformation["coverage_90"].value) == (0, 0)


def test_a_result_is_compared_with_each_other_model(predictions: Predictions, examples: list[Example]) -> None:
    guess = Predictions("guess", np.full((4, 4), 0.25), (True,) * 4)
    result, other = evaluate(predictions, examples, others=[guess]), evaluate(guess, examples, others=[predictions])
    assert result.compared_with.keys() == result.mcnemar.keys() == {"guess"}
    difference = result.compared_with["guess"]["macro_f1"]
    assert difference.value == pytest.approx(result.metrics["macro_f1"].value - other.metrics["macro_f1"].value)
    assert other.compared_with["length"]["macro_f1"].value == pytest.approx(-difference.value)
    assert (result.mcnemar["guess"].only_first, result.mcnemar["guess"].only_second) == (2, 0)


def test_mcnemar_is_the_exact_binomial_of_the_answers_that_differ() -> None:
    gold = np.zeros(12, np.int64)
    first, second = np.eye(4)[[0] * 8 + [1] * 4], np.eye(4)[[1] * 6 + [0] * 3 + [1] * 3]
    test = mcnemar(first, second, gold)
    assert (test.only_first, test.only_second) == (6, 1)
    assert test.p == pytest.approx(2 * (1 + 7) / 2**7)
    assert mcnemar(first, first, gold).p == 1


def test_the_worst_errors_are_the_surest_ten_of_each_kind() -> None:
    confidences = np.linspace(0.5, 0.95, 14)
    probabilities = np.stack([confidences, (1 - confidences) / 2, (1 - confidences) / 2, 0 * confidences], axis=1)
    examples = [make_example(n, f"Line {n}.", Outcome.ALLEGATION) for n in range(13)]
    examples.append(make_example(13, "Right.", Outcome.FACTUAL_REPORT))
    errors = evaluate(Predictions("sure", probabilities, (True,) * 14), examples).worst_errors
    assert [e.id for e in errors] == [f"e{n}" for n in range(12, 2, -1)]
    assert {(e.gold, e.given) for e in errors} == {(Outcome.ALLEGATION, Outcome.FACTUAL_REPORT)}
    assert errors[0].confidence == confidences[12]


def test_answers_are_counted_whole(predictions: Predictions, examples: list[Example]) -> None:
    result = evaluate(predictions, examples)
    assert np.sum(result.confusion) == sum(result.confidence_histogram) == 4
    assert sum(b.n_statements for b in result.reliability if b.language == "all") == 4
    assert len(result.risk_by_coverage) == 100
    assert result.risk_by_coverage[-1] == pytest.approx(1 - result.metrics["accuracy"].value)


def test_the_command_names_a_missing_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.evaluate.main(["--bundle", str(tmp_path)]) == 2
    assert "manifest.json is missing" in capsys.readouterr().err


def test_the_command_reports_the_shipped_bundle_on_the_statements_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(DATA_PACK_VARIABLE, raising=False)
    assert training.evaluate.main(["--no-suites", "--split", "test", "--output", str(tmp_path)]) == 0
    result = read_result(tmp_path / "test.json")
    assert result.bundle_digest == load_bundle(default_bundle_path()).digest
    assert (result.origin, result.statements) == (
        "statements",
        len(load_corpus(("statements",), None).held_back("test")),
    )
    assert str(result.metrics["macro_f1"]) in capsys.readouterr().out
    assert "python -m training.evaluate --no-suites --split test" in (tmp_path / "test.html").read_text()


def test_a_bundle_is_not_measured_on_statements_that_it_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(DATA_PACK_VARIABLE, raising=False)
    assert training.evaluate.main(["--no-suites", "--split", "dev", "--output", str(tmp_path)]) == 2
    assert "learned from our own dev statements" in capsys.readouterr().err


def test_the_command_takes_each_bundle_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(DATA_PACK_VARIABLE, raising=False)
    shutil.copytree(default_bundle_path(), tmp_path / "copy")
    named = ["--bundle", str(default_bundle_path()), "--bundle", str(tmp_path / "copy")]
    assert training.evaluate.main([*named, "--no-suites"]) == 2
    assert "hold the same bundle" in capsys.readouterr().err
