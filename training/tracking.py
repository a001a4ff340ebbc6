"""The one place that touches mlflow: what a run records, and which model version is the champion."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import mlflow
from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.exceptions import MlflowException

EXPERIMENT: Final = "credence"
REGISTERED_MODEL: Final = "credence"
CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
BUNDLE_ARTIFACT: Final = "bundle"


class Run(Protocol):
    """Where a run writes down what it was and what came of it."""

    @property
    def run_id(self) -> str:
        """Return the id under which the run is found again."""
        ...

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings."""
        ...

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record figures."""
        ...

    def log_data(self, name: str, digest: str, context: str) -> None:
        """Record a file that was learned from or measured on, by digest."""
        ...

    def log_artifacts(self, folder: Path, name: str) -> None:
        """Keep a folder under a name."""
        ...


@dataclass(frozen=True, slots=True)
class NullRun:
    """Records nothing: for the processes of a run that leave the writing to the first."""

    run_id: str = "untracked"

    def log_params(self, params: Mapping[str, object]) -> None:
        """Drop the settings."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Drop the figures."""

    def log_data(self, name: str, digest: str, context: str) -> None:
        """Drop the digest."""

    def log_artifacts(self, folder: Path, name: str) -> None:
        """Drop the folder."""


@dataclass(frozen=True, slots=True)
class MlflowRun:
    """Records in MLflow."""

    run_id: str

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record settings as parameters."""
        mlflow.log_params(dict(params))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record figures as metrics."""
        mlflow.log_metrics(dict(metrics), step=step)

    def log_data(self, name: str, digest: str, context: str) -> None:
        """Record a file as a dataset input; MLflow keeps 36 characters of a digest."""
        source = CodeDatasetSource({"file": name, "sha256": digest})
        mlflow.log_input(MetaDataset(source, name=name, digest=digest[:36]), context=context)

    def log_artifacts(self, folder: Path, name: str) -> None:
        """Keep a folder as artifacts."""
        mlflow.log_artifacts(str(folder), name)


@contextmanager
def tracked_run(name: str, tracking_uri: str, artifact_dir: Path, tags: Mapping[str, str]) -> Iterator[MlflowRun]:
    """Open a run in the project's experiment; a failure inside marks it as failed."""
    # mlflow reports its use to its makers unless told not to; what is trained here is nobody's business.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow.set_tracking_uri(tracking_uri)
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        location = artifact_dir.resolve().as_uri() if tracking_uri.startswith("sqlite:") else None
        mlflow.create_experiment(EXPERIMENT, artifact_location=location)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=name, tags=dict(tags)) as run:
        yield MlflowRun(run.info.run_id)


@contextmanager
def champion_bundle(tracking_uri: str) -> Iterator[Path | None]:
    """Fetch the bundle that the alias ``champion`` names into a temporary folder, or give null where there is none."""
    version = _champion(tracking_uri)
    if version is None:
        yield None
        return
    with run_bundle(version.run_id, tracking_uri) as bundle:
        yield bundle


@contextmanager
def run_bundle(run_id: str, tracking_uri: str) -> Iterator[Path]:
    """Fetch the bundle that a run recorded into a temporary folder; raises ``LookupError`` where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        source = f"runs:/{run_id}/{BUNDLE_ARTIFACT}"
        try:
            fetched = mlflow.artifacts.download_artifacts(source, dst_path=folder, tracking_uri=tracking_uri)
        except (MlflowException, OSError) as error:
            raise LookupError(f"run {run_id} has no {BUNDLE_ARTIFACT} in this store") from error
        yield Path(fetched)


def register_challenger(run: Run, tracking_uri: str) -> str:
    """Register the bundle of a run as the next version of ``credence``, alias ``challenger``; return the version."""
    client = MlflowClient(tracking_uri)
    try:
        client.create_registered_model(REGISTERED_MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    uri = client.get_run(run.run_id).info.artifact_uri
    created = client.create_model_version(REGISTERED_MODEL, f"{uri}/{BUNDLE_ARTIFACT}", run_id=run.run_id)
    client.set_registered_model_alias(REGISTERED_MODEL, CHALLENGER, created.version)
    return str(created.version)


def make_champion(run_id: str, tracking_uri: str, tags: Mapping[str, str]) -> str:
    """Give the alias ``champion`` to the version that a run registered, tag it, and return the version.

    Raises ``LookupError`` where the run registered none.
    """
    client = MlflowClient(tracking_uri)
    versions = client.search_model_versions(f"name = '{REGISTERED_MODEL}' and run_id = '{run_id}'")
    if not versions:
        raise LookupError(f"run {run_id} has registered no version of {REGISTERED_MODEL} in this store")
    version = str(versions[0].version)
    for name, value in tags.items():
        client.set_model_version_tag(REGISTERED_MODEL, version, name, value)
    client.set_registered_model_alias(REGISTERED_MODEL, CHAMPION, version)
    return version


def _champion(tracking_uri: str) -> Any:
    try:
        return MlflowClient(tracking_uri).get_model_version_by_alias(REGISTERED_MODEL, CHAMPION)
    except MlflowException as error:
        if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            return None
        raise
