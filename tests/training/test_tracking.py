"""What a run records is found again in MLflow, and the champion is the version that was named last."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

from training.tracking import (
    BUNDLE_ARTIFACT,
    CHALLENGER,
    CHAMPION,
    EXPERIMENT,
    REGISTERED_MODEL,
    MlflowRun,
    NullRun,
    Run,
    champion_bundle,
    make_champion,
    register_challenger,
    run_bundle,
    tracked_run,
)


@pytest.fixture
def uri(blank_store: Path, tmp_path: Path) -> str:
    shutil.copy(blank_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}", encoding="utf-8")
    return folder


def record(uri: str, tmp_path: Path, bundle: Path) -> MlflowRun:
    with tracked_run("tiny", uri, tmp_path / "artifacts", {"model": "encoder"}) as run:
        run.log_params({"optimiser.epochs": 2, "data.origins": ["gold"]})
        run.log_metrics({"loss": 0.5}, 1)
        run.log_metrics({"loss": 0.25}, 2)
        run.log_data("gold/train.jsonl", "a" * 64, "training")
        run.log_artifacts(bundle, BUNDLE_ARTIFACT)
    return run


def test_a_run_is_found_with_all_that_it_recorded(uri: str, tmp_path: Path, bundle: Path) -> None:
    run_id = record(uri, tmp_path, bundle).run_id
    client = MlflowClient(uri)
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"optimiser.epochs": "2", "data.origins": "['gold']"}
    assert found.data.metrics == {"loss": 0.25}
    assert [metric.value for metric in client.get_metric_history(run_id, "loss")] == [0.5, 0.25]
    assert found.data.tags["model"] == "encoder"
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert found.info.experiment_id == experiment.experiment_id


def test_data_is_an_input_with_its_digest_and_its_use(uri: str, tmp_path: Path, bundle: Path) -> None:
    (given,) = MlflowClient(uri).get_run(record(uri, tmp_path, bundle).run_id).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("gold/train.jsonl", "a" * 36)
    assert "a" * 64 in given.dataset.source
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]


def test_artifacts_lie_in_the_folder_asked_for(uri: str, tmp_path: Path, bundle: Path) -> None:
    run_id = record(uri, tmp_path, bundle).run_id
    assert [path.parent.name for path in (tmp_path / "artifacts").rglob("manifest.json")] == [BUNDLE_ARTIFACT]
    assert [file.path for file in MlflowClient(uri).list_artifacts(run_id)] == [BUNDLE_ARTIFACT]


def test_a_failure_inside_marks_the_run_as_failed(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), tracked_run("broken", uri, tmp_path / "artifacts", {}) as run:
        raise ZeroDivisionError
    assert MlflowClient(uri).get_run(run.run_id).info.status == "FAILED"


def test_a_run_reports_nothing_to_the_makers_of_mlflow(
    uri: str, tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    record(uri, tmp_path, bundle)
    assert MLFLOW_DISABLE_TELEMETRY.get() is True


def test_before_the_first_champion_there_is_none(uri: str) -> None:
    with champion_bundle(uri) as folder:
        assert folder is None


def test_each_registered_run_becomes_the_challenger_and_none_the_champion(
    uri: str, tmp_path: Path, bundle: Path
) -> None:
    first, second = record(uri, tmp_path, bundle), record(uri, tmp_path, bundle)
    client = MlflowClient(uri)
    for number, run in enumerate((first, second), start=1):
        assert register_challenger(run, uri) == str(number)
        assert client.get_model_version_by_alias(REGISTERED_MODEL, CHALLENGER).run_id == run.run_id
    assert len(client.search_model_versions(f"name = '{REGISTERED_MODEL}'")) == 2
    with champion_bundle(uri) as folder:
        assert folder is None


def test_a_promoted_run_becomes_champion_with_its_tags(uri: str, tmp_path: Path, bundle: Path) -> None:
    first, second = record(uri, tmp_path, bundle), record(uri, tmp_path, bundle)
    for run in (first, second):
        register_challenger(run, uri)
    assert make_champion(first.run_id, uri, {"waived.macro_f1": "a trial"}) == "1"
    found = MlflowClient(uri).get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
    assert (found.run_id, found.tags["waived.macro_f1"]) == (first.run_id, "a trial")


def test_a_run_without_a_version_cannot_become_champion(uri: str, tmp_path: Path, bundle: Path) -> None:
    register_challenger(record(uri, tmp_path, bundle), uri)
    unregistered = record(uri, tmp_path, bundle)
    with pytest.raises(LookupError, match="registered no version"):
        make_champion(unregistered.run_id, uri, {})


def test_the_champion_is_fetched_into_a_folder_that_goes_away(uri: str, tmp_path: Path, bundle: Path) -> None:
    run = record(uri, tmp_path, bundle)
    register_challenger(run, uri)
    make_champion(run.run_id, uri, {})
    with champion_bundle(uri) as folder:
        assert folder is not None
        assert (folder / "manifest.json").read_text(encoding="utf-8") == "{}"
        assert tmp_path not in folder.parents
    assert not folder.exists()


def test_a_run_that_recorded_no_bundle_is_named(uri: str, tmp_path: Path) -> None:
    with tracked_run("bare", uri, tmp_path / "artifacts", {}) as run:
        pass
    with pytest.raises(LookupError, match="no bundle"), run_bundle(run.run_id, uri):
        pass


def test_an_untracked_run_takes_everything_and_keeps_nothing(tmp_path: Path) -> None:
    run: Run = NullRun()
    run.log_params({"a": 1})
    run.log_metrics({"b": 0.5})
    run.log_data("c", "d", "training")
    run.log_artifacts(tmp_path, "e")
    assert run.run_id == "untracked"
    assert list(tmp_path.iterdir()) == []
