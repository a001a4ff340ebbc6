"""Evaluation scores through the core's own promise, and the reports say what was measured."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import training.evaluate
import training.metrics
from credence.labels import LABELS, OUTCOMES, Outcome, Reason
from credence.scoring import DocumentScore, ModelInfo, StatementScore
from training.corpora import Example
from training.evaluation import Predictions, gold_columns, measure, predict_with_scorer, set_coverage, subset
from training.report import breakdown_table, comparison_table, markdown_table, outcome_table, write_plots


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
    assert figures["disinformation_f1"].value == 0
    by_outcome = [figures[f"f1_{outcome}"].value for outcome in OUTCOMES]
    assert figures["macro_f1"].value == pytest.approx(np.mean(by_outcome))


def test_set_coverage_counts_truths_inside(predictions: Predictions, examples: list[Example]) -> None:
    assert set_coverage(predictions, examples) == (0.75, 1.75)
    assert set_coverage(replace(predictions, sets=None), examples) is None


def test_a_subset_keeps_rows_together(predictions: Predictions) -> None:
    part = subset(predictions, [3, 1])
    assert part.is_scored == (False, True)
    np.testing.assert_array_equal(part.probabilities, predictions.probabilities[[3, 1]])
    assert part.sets is not None
    assert part.sets[1][0] is Outcome.ALLEGATION


def test_tables_name_every_language_source_and_outcome(predictions: Predictions, examples: list[Example]) -> None:
    many = examples * 6
    repeated = predict_with_scorer("length", LengthScorer(), many)
    table = breakdown_table(repeated, many)
    assert [line.split("|")[1].strip() for line in table.splitlines()[2:]] == ["all", "en", "uk", "ru", "statements/en"]
    assert all(outcome in outcome_table(predictions, examples) for outcome in LABELS)


def test_a_comparison_gives_the_difference_to_each_other_model(
    predictions: Predictions, examples: list[Example]
) -> None:
    guess = Predictions("guess", np.full((4, 4), 0.25), (True,) * 4)
    first, second = comparison_table([predictions, guess], examples).splitlines()[2:]
    assert first.split("|")[-2].strip() == ""
    value = float(second.split("|")[-2].split()[0])
    expected = measure(predictions, examples)["macro_f1"].value - measure(guess, examples)["macro_f1"].value
    assert value == pytest.approx(expected, abs=5e-4)


def test_table_columns_line_up_in_plain_text() -> None:
    lines = markdown_table(["a", "long name"], [["1", "2"], ["three", "4"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len({tuple(i for i, c in enumerate(line) if c == "|") for line in lines}) == 1


def test_plots_are_pictures(predictions: Predictions, examples: list[Example], tmp_path: Path) -> None:
    write_plots(predictions, examples, None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["confusion.png"]
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_names_a_missing_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert training.evaluate.main(["--bundle", str(tmp_path)]) == 2
    assert "manifest.json is missing" in capsys.readouterr().err
