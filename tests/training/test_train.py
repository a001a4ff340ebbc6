"""The training command from recipe to registered bundle, on the project's own statements and a tiny encoder."""

import contextlib
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

import training.metrics
from credence import load_scorer
from credence.bundle import Bundle, load_bundle
from credence.language import SUPPORTED_LANGUAGES
from credence.model_scorer import OutcomeModel
from training.corpora import load_corpus
from training.export import MAX_SCORE_GAP
from training.tracking import CHALLENGER, EXPERIMENT, REGISTERED_MODEL
from training.train import main

RECIPE = """
name = "tiny"
[data]
origins = ["statements"]
max_train_statements = 96
max_length_tokens = 48
[encoder]
trim = false
[optimiser]
epochs = 2
learning_rate = 1e-3
precision = "float32"
[bundle]
model_version = "0.0.1-test"
max_length_tokens = 64
"""


@dataclass(frozen=True)
class Trained:
    """Two runs of one recipe after each other, and what they said."""

    folder: Path
    said: tuple[str, str]

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(f"sqlite:///{self.folder / 'mlflow.db'}")

    @property
    def bundle(self) -> Bundle:
        return load_bundle(self.folder / "published")

    def runs(self, name: str = "tiny") -> list[Run]:
        """Return the runs of a name, the oldest first."""
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        assert experiment is not None
        chosen = f"tags.`mlflow.runName` = '{name}'"
        return list(self.client.search_runs([experiment.experiment_id], chosen, order_by=["start_time ASC"]))

    def run(self, *arguments: str) -> str:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert main(["--config", str(self.folder / "tiny.toml"), "--runs", str(self.folder), *arguments]) == 0
        return said.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _few_resamples() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.metrics, "RESAMPLES", 30)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, blank_store: Path) -> Trained:
    folder = tmp_path_factory.mktemp("runs")
    shutil.copy(blank_store, folder / "mlflow.db")
    (folder / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    blank = Trained(folder, ("", ""))
    encoder = f"encoder.name={tiny_folder}"
    first = blank.run("--set", encoder, "--publish", str(folder / "published"))
    return Trained(folder, (first, blank.run("--set", encoder)))


def test_the_published_bundle_scores_texts(trained: Trained) -> None:
    scorer = load_scorer(trained.folder / "published")
    score = scorer.score_statements(["The council opened a new bridge over the river on Monday."])[0]
    assert score.scores is not None
    assert sum(score.scores.values()) == pytest.approx(1)
    assert score.model_version == "0.0.1-test"


def test_the_manifest_leads_back_to_the_run_and_the_data(trained: Trained, tiny_folder: Path) -> None:
    first = trained.runs()[0]
    manifest = trained.bundle.manifest
    assert manifest.mlflow_run_id == first.info.run_id
    corpus = load_corpus(("statements",), None)
    assert corpus.digests.items() <= manifest.data_digests.items()
    assert set(manifest.data_digests) - set(corpus.digests) == {f"encoder/{tiny_folder}"}
    inputs = {given.dataset.name: given.dataset.digest for given in first.inputs.dataset_inputs}
    assert inputs == {name: digest[:36] for name, digest in corpus.digests.items()}


def test_the_run_holds_the_whole_recipe_and_the_figures_with_intervals(trained: Trained) -> None:
    data = trained.runs()[0].data
    assert data.params["optimiser.epochs"] == "2"
    assert data.params["data.max_train_statements"] == "96"
    assert data.params["resolved_precision"] == "no"
    assert data.metrics["dev_macro_f1_low"] <= data.metrics["dev_macro_f1"] <= data.metrics["dev_macro_f1_high"]
    assert data.metrics["bundle_max_score_gap"] <= MAX_SCORE_GAP
    history = trained.client.get_metric_history(trained.runs()[0].info.run_id, "train_loss")
    assert [metric.step for metric in history] == [1, 2]


def test_the_run_keeps_the_bundle_and_the_report(trained: Trained) -> None:
    run_id = trained.runs()[0].info.run_id
    kept = {file.path for folder in ("bundle", "report") for file in trained.client.list_artifacts(run_id, folder)}
    plots = ("confusion", "reliability", "reliability_by_language", "risk_coverage", "by_language")
    written = ("config.json", "environment.json", "dev.md", "dev.html", "dev.json", *(f"dev.{p}.png" for p in plots))
    report = {f"report/{name}" for name in written}
    assert kept == {f"bundle/{path.name}" for path in (trained.folder / "published").iterdir()} | report


def test_the_card_names_the_run_the_statements_and_the_outcomes(trained: Trained) -> None:
    card = trained.bundle.card
    for named in (trained.runs()[0].info.run_id, "0.0.1-test", "statements/en", "Apache-2.0", "not_a_claim"):
        assert named in card


def test_the_calibration_was_fitted_on_held_back_statements_of_each_language(trained: Trained) -> None:
    calibration = trained.bundle.calibration
    n_dev = len(load_corpus(("statements",), None).held_back("dev"))
    assert str(n_dev) in calibration.fitted_on
    assert set(calibration.set_thresholds) == set(SUPPORTED_LANGUAGES)


def test_the_same_recipe_gives_the_same_metrics(trained: Trained) -> None:
    first, second = trained.runs()
    assert first.data.metrics == second.data.metrics
    assert first.data.params == second.data.params


def test_each_run_registers_its_bundle_as_challenger_and_names_no_champion(trained: Trained) -> None:
    _, second = trained.runs()
    assert all(f"version {number} of credence, now challenger" in said for number, said in enumerate(trained.said, 1))
    assert trained.client.get_model_version_by_alias(REGISTERED_MODEL, CHALLENGER).run_id == second.info.run_id
    assert "champion" not in trained.client.get_registered_model(REGISTERED_MODEL).aliases


def test_learning_without_a_data_pack_is_said(trained: Trained) -> None:
    assert all("own statements alone" in said for said in trained.said)


@pytest.mark.parametrize("model", ["majority", "tfidf"])
def test_baselines_run_by_the_same_command_and_register_nothing(trained: Trained, model: str) -> None:
    said = trained.run("--set", f"model={model}", "--set", f"name={model}")
    (run,) = trained.runs(model)
    assert run.data.tags["model"] == model
    assert run.data.metrics["dev_macro_f1"] > 0
    assert "challenger" not in said
    assert not (trained.folder / model / "bundle").exists()


def test_averaged_runs_and_low_rank_updates_make_a_bundle_too(trained: Trained, tiny_folder: Path) -> None:
    settings = [f"encoder.name={tiny_folder}", "name=averaged", "optimiser.average_seeds=2"]
    settings += ["optimiser.average_epochs=2", "optimiser.lora_rank=2", "data.max_train_statements=32"]
    trained.run(*(part for setting in settings for part in ("--set", setting)))
    (run,) = trained.runs("averaged")
    assert run.data.metrics["bundle_max_score_gap"] <= MAX_SCORE_GAP
    assert load_bundle(trained.folder / "averaged" / "bundle").manifest.mlflow_run_id == run.info.run_id


def test_a_resumed_run_that_had_finished_gives_the_same_figures(trained: Trained, tiny_folder: Path) -> None:
    name = ["--set", f"encoder.name={tiny_folder}", "--set", "name=resumed"]
    trained.run(*name)
    trained.run(*name, "--resume")
    first, second = trained.runs("resumed")
    figures = [{k: v for k, v in run.data.metrics.items() if k.startswith("dev_macro_f1")} for run in (first, second)]
    figures[0].pop("dev_macro_f1_torch")
    assert figures[0] == figures[1]


def test_a_run_goes_on_from_a_bundle_and_its_lineage_says_so(trained: Trained, tiny_folder: Path) -> None:
    start = trained.folder / "published"
    settings = [f"encoder.name={tiny_folder}", "name=further", f"encoder.start_from={start}"]
    settings += ["optimiser.epochs=1", "optimiser.average_start=0.5", "optimiser.learning_rate=1e-9"]
    settings += ["optimiser.head_learning_rate=1e-9"]
    trained.run(*(part for setting in settings for part in ("--set", setting)))
    further = load_bundle(trained.folder / "further" / "bundle")
    assert further.manifest.data_digests["bundle/0.0.1-test"] == trained.bundle.digest
    assert "bundle/0.0.1-test" in further.card
    texts = ["The council opened a new bridge over the river on Monday.", "Що буде далі з мостом?"]
    before, after = (
        OutcomeModel(b.paths, text_prefix="query: ", max_length_tokens=64) for b in (trained.bundle, further)
    )
    np.testing.assert_allclose(before.score_logits(texts).values, after.score_logits(texts).values, atol=0.05)


def test_a_start_that_the_run_would_delete_is_refused(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    start = trained.folder / "tiny" / "bundle"
    recipe = ["--config", str(trained.folder / "tiny.toml"), "--runs", str(trained.folder)]
    assert main([*recipe, "--set", f"encoder.start_from={start}"]) == 2
    assert "would empty the folder" in capsys.readouterr().err
    assert load_bundle(start)


def test_a_start_that_is_no_bundle_is_refused(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ["--config", str(trained.folder / "tiny.toml"), "--runs", str(tmp_path / "runs")]
    assert main([*recipe, "--set", f"encoder.start_from={tmp_path}"]) == 2
    assert "no bundle at" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_fault_in_the_recipe_stops_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "config.toml"
    recipe.write_text('name = "tiny"\n[optimiser]\nepochs = 0\n', encoding="utf-8")
    assert main(["--config", str(recipe), "--runs", str(tmp_path / "runs")]) == 2
    assert "optimiser.epochs" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_wrong_data_pack_stops_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENCE_DATA", str(tmp_path))
    recipe = tmp_path / "config.toml"
    recipe.write_text('name = "tiny"\n', encoding="utf-8")
    assert main(["--config", str(recipe), "--runs", str(tmp_path / "runs")]) == 2
    assert "error: CREDENCE_DATA" in capsys.readouterr().err
