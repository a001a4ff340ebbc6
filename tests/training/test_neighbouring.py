"""Neighbouring tasks: rows are read as their cards say, the trainer learns them, and the table holds it all."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.config import DataConfig, ExperimentConfig, OptimiserConfig
from training.corpora import DATA_PACK_VARIABLE
from training.encoders import PretrainedEncoder
from training.loop import any_labels_loss, one_outcome_loss
from training.metrics import Interval
from training.model import OutcomeClassifier
from training.neighbouring import RECIPE, best_thresholds, main, mean_f1, measure_task
from training.neighbouring_results import TaskResult, record_result
from training.neighbouring_tasks import (
    N_FOLDS,
    TASK_NAMES,
    Fold,
    LabelledText,
    Task,
    describe_task,
    label_matrix,
    read_task,
)
from training.sources import CorpusError, public_sets

CONFIG = ExperimentConfig(
    name="neighbouring",
    data=DataConfig(max_length_tokens=48, max_train_statements=40),
    optimiser=OptimiserConfig(
        epochs=12, batch_size=8, learning_rate=1e-3, head_learning_rate=1e-2, precision="float32"
    ),
)
Pack = Callable[[str, list[dict[str, Any]]], Path]


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Write rows as the file of a set, and return the data pack that holds it."""

    def write(set_name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / "pack" / public_sets()[set_name]["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return tmp_path / "pack"

    return write


def bias_rows() -> list[dict[str, Any]]:
    """Forty sentences of twenty articles, and one that the annotators could not agree on."""
    rows = [
        {"text": f"text {n}", "label_bias": ("Biased", "Non-biased")[n % 2], "url": f"article {n // 2}"}
        for n in range(40)
    ]
    return [*rows, {"text": "who knows", "label_bias": "No agreement", "url": None}]


def technique_rows() -> list[dict[str, Any]]:
    labels = describe_task("unlp_techniques").labels
    return [{"text": f"post {n}", "techniques": [labels[n % 10]] if n < 150 else []} for n in range(200)]


def wordy_fold(labels_by_word: dict[str, frozenset[int]]) -> Fold:
    """A fold whose labels hang on one word of each text."""

    def texts(start: int, count: int) -> tuple[LabelledText, ...]:
        return tuple(
            LabelledText(f"{word} {'abc'[n % 3]} {n}", labels, f"{word} {n}")
            for n in range(start, start + count)
            for word, labels in labels_by_word.items()
        )

    return Fold(train=texts(0, 12), dev=texts(12, 6), test=texts(18, 8))


@pytest.mark.parametrize("name", TASK_NAMES)
def test_every_task_scores_labels_that_it_has_in_a_set_that_is_listed(name: str) -> None:
    description = describe_task(name)
    assert set(description.scored) <= set(description.labels)
    assert description.set_name in public_sets()
    assert description.published
    assert description.differences


def test_rows_with_an_official_split_go_to_its_parts(pack: Pack) -> None:
    rows = [
        {"text": f"text {n}", "label": "Main", "split": split, "domain": "kbp", "doc_id": "7"}
        for n, split in enumerate(("train", "validation", "test", "train"))
    ]
    (fold,) = read_task("newsdiscourse", pack("newsdiscourse", rows)).folds
    assert [text.text for text in fold.train] == ["text 0", "text 3"]
    assert [text.text for text in fold.dev] == ["text 1"]
    assert fold.test == (LabelledText("text 2", frozenset({1}), "kbp/7"),)


def test_sentences_that_the_shared_task_did_not_have_are_left_out(pack: Pack) -> None:
    rows = [
        {"text": str(label), "conll2010_label": label, "conll2010_split": split, "doc_id": "d"}
        for label, split in (("certain", "train"), (None, None), ("uncertain", "eval"))
    ]
    (fold,) = read_task("uncertainty", pack("szeged_uncertainty", rows)).folds
    assert [text.text for text in (*fold.train, *fold.test)] == ["certain", "uncertain"]


def test_without_an_official_split_each_text_is_tested_once_and_no_article_is_cut(pack: Pack) -> None:
    folds = read_task("babe", pack("babe", bias_rows())).folds
    assert len(folds) == N_FOLDS
    assert sorted(text.text for fold in folds for text in fold.test) == sorted(f"text {n}" for n in range(40))
    for fold in folds:
        parts = [{text.group for text in part} for part in (fold.train, fold.dev, fold.test)]
        assert all(parts)
        assert not parts[0] & parts[1] | (parts[0] | parts[1]) & parts[2]


def test_a_post_may_have_any_number_of_techniques(pack: Pack) -> None:
    rows = technique_rows()
    rows[0]["techniques"] = ["fud", "cliche"]
    folds = read_task("unlp_techniques", pack("unlp", rows)).folds
    matrix = label_matrix([text for fold in folds for text in fold.test], 10)
    assert matrix.shape == (200, 10)
    assert (matrix.sum(1).min(), matrix.sum(1).max()) == (0, 2)


def test_a_label_that_no_card_lists_is_named_with_its_line(pack: Pack) -> None:
    rows = [*bias_rows(), {"text": "text", "label_bias": "Perhaps", "url": "article"}]
    with pytest.raises(CorpusError, match=r"babe.jsonl.gz line 42: .*not in tuple"):
        read_task("babe", pack("babe", rows))


def test_a_split_without_a_test_part_is_refused(pack: Pack) -> None:
    rows = [{"text": "text", "label": "true", "split": "train", "url": "u"}]
    with pytest.raises(CorpusError, match="liar: a part of the split holds no row"):
        read_task("liar", pack("liar", rows))


def test_f1_is_the_mean_over_labels() -> None:
    gold = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    assert mean_f1(gold.astype(float), gold) == 1.0
    # The first label: one hit, none wrong, one missed: 2/3. The second: two hits and one wrong: 4/5.
    assert mean_f1(np.array([[1.0, 0], [0, 1], [0, 1], [0, 1]]), gold) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert mean_f1(np.zeros((4, 2)), gold) == 0.0


def test_a_threshold_is_chosen_for_each_label_where_its_f1_is_best() -> None:
    scores = np.array([[-3.0, 0.9], [-2.0, 0.2], [-5.0, 0.8], [-9.0, 0.1]])
    gold = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])
    assert best_thresholds(scores, gold).tolist() == [-4.0, 0.5]


def test_a_head_has_as_many_outputs_as_told_and_four_otherwise(tiny_encoder: PretrainedEncoder) -> None:
    ids, mask = torch.zeros((2, 3), dtype=torch.long), torch.ones((2, 3))
    assert OutcomeClassifier(tiny_encoder.model, 0.0)(ids, mask).shape == (2, 4)
    assert OutcomeClassifier(tiny_encoder.model, 0.0, 9)(ids, mask).shape == (2, 9)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_a_row_falls_as_its_labels_become_likelier(smoothing: float) -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0]] * 2)
    losses = any_labels_loss(torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, 1.0]]), labels, smoothing)
    assert losses.shape == (2,)
    assert losses[0] < losses[1]
    outcomes = one_outcome_loss(torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0]), smoothing)
    assert outcomes[0] < outcomes[1]


def test_the_encoder_learns_a_task_of_one_label_and_beats_the_majority(tiny_encoder: PretrainedEncoder) -> None:
    words = {"said": frozenset({0}), "що": frozenset({1})}
    task = Task("babe", describe_task("babe"), (wordy_fold(words),))
    result = measure_task(task, CONFIG, tiny_encoder)
    assert result.figures["encoder"].value > 0.9
    assert result.figures["tfidf"].value > 0.9
    assert result.figures["majority"].value == pytest.approx(1 / 3)
    assert (result.metric, result.train_rows, result.test_rows) == ("macro-F1", 24, 16)


def test_the_encoder_learns_a_task_of_many_labels(tiny_encoder: PretrainedEncoder) -> None:
    words = {"said": frozenset({0}), "що": frozenset({0, 1}), "12345": frozenset[int]()}
    about = replace(describe_task("unlp_techniques"), labels=("a", "b"), scored=("a", "b"))
    config = CONFIG.model_copy(update={"optimiser": CONFIG.optimiser.model_copy(update={"epochs": 20})})
    result = measure_task(Task("unlp_techniques", about, (wordy_fold(words),)), config, tiny_encoder)
    assert result.figures["encoder"].value > 0.9
    # Every label of every text: two thirds of them have the first, one third the second.
    assert result.figures["majority"].value == pytest.approx((4 / 5 + 1 / 2) / 2)


def test_what_a_run_left_out_stands_among_the_differences(tiny_encoder: PretrainedEncoder) -> None:
    fold = wordy_fold({"said " * 60: frozenset({0}), "що": frozenset({1})})
    config = CONFIG.model_copy(
        update={
            "data": CONFIG.data.model_copy(update={"max_train_statements": 20}),
            "optimiser": CONFIG.optimiser.model_copy(update={"epochs": 1}),
        }
    )
    task = Task("uncertainty", describe_task("uncertainty"), (fold,) * 3)
    result = measure_task(task, config, tiny_encoder, max_folds=2)
    assert result.metric == "F1 of uncertain"
    assert result.test_rows == 2 * len(fold.test)
    found = "; ".join(result.differences)
    assert "2 of 3 folds measured" in found
    assert "learned from 20 of 24 rows" in found
    assert "50.0% of the test texts cut at 48 tokens" in found


def result_of(name: str, value: float) -> TaskResult:
    figure = Interval(value, value - 0.1, value + 0.1)
    figures = dict.fromkeys(("encoder", "tfidf", "majority"), figure)
    return TaskResult(name, f"title of {name}", "macro-F1", figures, "0.5", "official", ("one",), 9, 8, 2, 1.5, "day")


def test_results_gather_in_one_table_and_a_newer_one_replaces_the_older(tmp_path: Path) -> None:
    record_result(result_of("liar", 0.2), tmp_path)
    record_result(result_of("babe", 0.7), tmp_path)
    table = record_result(result_of("liar", 0.3), tmp_path)
    assert (tmp_path / "results.md").read_text(encoding="utf-8") == table
    assert "[0.100, 0.300]" not in table
    assert table.index("| title of babe | macro-F1 | 0.700 [0.600, 0.800] |") < table.index("| title of liar |")
    assert set(json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))) == {"babe", "liar"}


def test_the_command_says_what_it_misses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv(DATA_PACK_VARIABLE, raising=False)
    recipe = str(Path(__file__).parents[2] / RECIPE)
    output = ["--output", str(tmp_path / "none")]
    assert main(["--task", "babe", "--config", recipe, *output]) == 2
    assert "CREDENCE_DATA is not set" in capsys.readouterr().err
    assert main(["--task", "babe", "--config", recipe, "--set", "optimiser.average_seeds=2", *output]) == 2
    assert "nothing averaged" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
