"""The leaderboard says what the committed results say, and nothing else."""

from pathlib import Path

import numpy as np
import pytest

import training.metrics
from credence.labels import OUTCOMES
from training.corpora import Example
from training.evaluation import Predictions, evaluate_predictions
from training.leaderboard import EXPERIMENTS_DIR, PAGE, main
from training.results import write_result


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.metrics, "RESAMPLES", 20)


def examples(n: int = 48) -> list[Example]:
    return [
        Example(
            f"s{i}", f"Line {i} of a town.", ("en", "uk", "ru")[i % 3], OUTCOMES[i % 4], 6, 3, "dev", f"c{i}", "gold/x"
        )
        for i in range(n)
    ]


def write_run(folder: Path, name: str, n_right: int, n: int = 48) -> None:
    given = [i % 4 if i < n_right else (i + 1) % 4 for i in range(n)]
    predictions = Predictions(name, np.eye(4)[given] * 0.96 + 0.01, (True,) * n)
    write_result(evaluate_predictions(predictions, examples(n), digests={}), folder / f"dev.{name}.json")


@pytest.fixture
def experiments(tmp_path: Path) -> Path:
    folder = tmp_path / "experiments"
    for name in ("good", "poor"):
        (folder / name).mkdir(parents=True)
        (folder / name / "config.toml").write_text(f'name = "{name}"\nmodel = "tfidf"\n', encoding="utf-8")
    return folder


def run(experiments: Path, *arguments: str) -> int:
    return main(["--experiments", str(experiments), *arguments])


def test_results_of_known_recipes_are_taken_and_the_best_stands_first(tmp_path: Path, experiments: Path) -> None:
    for name, n_right in (("poor", 20), ("good", 40), ("without_recipe", 48)):
        write_run(tmp_path / "runs", name, n_right)
    assert run(experiments, "--take", str(tmp_path / "runs")) == 0
    page = (experiments / PAGE).read_text(encoding="utf-8")
    assert page.index("[good]") < page.index("[poor]")
    assert "without_recipe" not in page
    assert (experiments / "good" / "results" / "dev.json").is_file()


def test_results_on_other_statements_stand_in_a_table_of_their_own(tmp_path: Path, experiments: Path) -> None:
    write_run(tmp_path / "runs", "good", 40)
    write_run(tmp_path / "runs", "poor", 20, n=24)
    run(experiments, "--take", str(tmp_path / "runs"))
    page = (experiments / PAGE).read_text(encoding="utf-8")
    assert "48 statements" in page
    assert "24 statements" in page


def test_a_page_changed_by_hand_is_found_out(tmp_path: Path, experiments: Path) -> None:
    write_run(tmp_path / "runs", "good", 40)
    run(experiments, "--take", str(tmp_path / "runs"))
    assert run(experiments, "--check") == 0
    page = experiments / PAGE
    page.write_text(page.read_text(encoding="utf-8").replace("0.", "0.9"), encoding="utf-8")
    assert run(experiments, "--check") == 1


def test_a_file_that_is_no_result_is_named(experiments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (experiments / "good" / "results").mkdir()
    (experiments / "good" / "results" / "dev.json").write_text("{}", encoding="utf-8")
    assert run(experiments) == 2
    assert "dev.json" in capsys.readouterr().err


def test_the_committed_page_is_what_the_committed_results_say() -> None:
    assert run(EXPERIMENTS_DIR, "--check") == 0
