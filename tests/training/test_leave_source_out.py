"""Leaving sources out: whole publishers, each once, and never a development statement."""

from pathlib import Path

import pytest

import training.metrics
from credence.labels import OUTCOMES
from training.config import ExperimentConfig
from training.corpora import Corpus, Example
from training.leave_source_out import deal_families, family_of, measure_left_out, without_families

SETS = ("euvsdisinfo_titles", "euvsdisinfo_summaries", "babe", "unlp")
FOLDERS = ("gold", "annotations")


def make(i: int, split: str) -> Example:
    origin = f"{FOLDERS[i % 2]}/{SETS[i % 4]}"
    text = f"Line {i} {split} about town number {i * 31}."
    return Example(f"{split}{i}", text, ("en", "uk", "ru")[i % 3], OUTCOMES[i % 4], 6, 3, split, f"{split}{i}", origin)


@pytest.fixture
def corpus() -> Corpus:
    return Corpus(tuple(make(i, split) for split in ("train", "dev") for i in range(24)), {"gold/train.jsonl": "0"})


def test_sets_of_one_publisher_are_left_out_together(corpus: Corpus) -> None:
    folds = deal_families(corpus.held_back("dev"), 3)
    assert sorted(family for fold in folds for family in fold) == ["EUvsDisinfo", "babe", "unlp"]


def test_what_is_left_out_is_gone_from_learning_and_stays_in_dev(corpus: Corpus) -> None:
    rest = without_families(corpus, ["EUvsDisinfo"])
    assert {family_of(e) for e in rest.learned()} == {"babe", "unlp"}
    assert rest.held_back("dev") == corpus.held_back("dev")


def test_the_drop_is_measured_on_every_development_statement_and_again_from_what_was_learned(
    corpus: Corpus, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.metrics, "RESAMPLES", 20)
    settings = {"encoder": {"name": str(tiny_folder), "trim": False}, "optimiser": {"epochs": 1}}
    config = ExperimentConfig.model_validate({"name": "tiny", **settings})
    first = measure_left_out(config, corpus, tmp_path, n_folds=3)
    assert (first.statements, first.learned, len(first.folds)) == (24, 12, 3)
    drop = first.in_source.value - first.left_out.value
    assert first.macro_f1_left_out_source_drop.value == pytest.approx(drop)
    assert not list(tmp_path.rglob("weights-*.pt"))
    assert measure_left_out(config, corpus, tmp_path, n_folds=3) == first
    other = measure_left_out(config, corpus, tmp_path, n_folds=2)
    assert len(other.folds) == 2
    # One publisher is a fold of its own in both; the others are dealt, and learned, anew.
    assert len(list(tmp_path.glob("without-*"))) == 4
