"""Which statements of a corpus a recipe learns from."""

from pathlib import Path

import pytest

from credence.labels import Outcome
from training.config import DataConfig, ExperimentConfig
from training.corpora import Corpus, Example
from training.fine_tuning import Session
from training.tracking import NullRun


def make(n: int, origin: str, split: str = "train") -> Example:
    return Example(f"{origin}-{n}", f"Text {n} of {origin}.", "en", Outcome.ALLEGATION, 4, 3, split, f"c{n}", origin)


@pytest.fixture
def corpus() -> Corpus:
    rows = [make(n, origin) for origin in ("gold/polnear", "annotations/polnear", "statements/en") for n in range(40)]
    return Corpus((*rows, make(99, "gold/polnear", "dev"), make(99, "annotations/polnear", "dev")), {})


def learned(corpus: Corpus, tmp_path: Path, **data: float) -> list[str]:
    config = ExperimentConfig(name="tiny", data=DataConfig.model_validate(data))
    return [e.origin.partition("/")[0] for e in Session(config, corpus, tmp_path, NullRun()).learned()]


def test_all_that_is_not_held_back_is_learned(corpus: Corpus, tmp_path: Path) -> None:
    assert len(learned(corpus, tmp_path)) == 120


@pytest.mark.parametrize(("share", "n"), [(0.0, 0), (0.25, 10), (1.0, 40)])
def test_a_share_of_the_annotations_is_learned_beside_all_the_rest(
    corpus: Corpus, tmp_path: Path, share: float, n: int
) -> None:
    origins = learned(corpus, tmp_path, annotations_share=share)
    assert [origins.count(origin) for origin in ("gold", "statements", "annotations")] == [40, 40, n]


def test_a_larger_share_holds_the_smaller_one(corpus: Corpus, tmp_path: Path) -> None:
    def texts(share: float) -> set[str]:
        config = ExperimentConfig(name="tiny", data=DataConfig(annotations_share=share))
        return {e.text for e in Session(config, corpus, tmp_path, NullRun()).learned()}

    assert texts(0.25) < texts(0.5)
