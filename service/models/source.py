"""Where the served model comes from: the only place of the service that opens a bundle, and the only one with mlflow.

A source has an alias that names a bundle, and whoever moves the alias names another one. What it names is fetched file
by file, so that nothing else than a bundle ever comes along.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from credence.bundle import DIGEST_TAG, MANIFEST_NAME, default_bundle_path, file_digest, load_bundle
from credence.errors import CredenceError
from credence.scoring import Scorer
from credence.statement_scorer import StatementScorer
from service.setting_types import MODEL_SOURCE

_NAME: Final = re.compile(r"[\w.-]+")
_MISSING_CODES: Final = frozenset({"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"})
# The library's own patience with a registry that is away is minutes, it reports its use to its makers, and it writes to
# the terminal. Whoever sets these variables otherwise is heeded.
_MLFLOW_HABITS: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_CONFIGURE_LOGGING": "false",
}


class SourceError(CredenceError):
    """A source does not answer, or does not have what it should; the message never holds its address."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A scorer and what there is to tell about it.

    ``card`` is Markdown; ``calibration`` has the fields of ``credence.calibration.Calibration``, as plain values.
    """

    scorer: Scorer
    card: str
    calibration: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """What an alias names. ``id`` is another one whenever it names something else; ``version`` is for people.

    ``bundle_digest`` is the one that the source says the bundle has, or null where it says nothing.
    """

    id: str
    version: str
    location: str
    bundle_digest: str | None = None


class ModelSource(Protocol):
    """A place with an alias that names a bundle. Every method raises ``SourceError``."""

    @property
    def name(self) -> str:
        """Return what the source is called in the settings."""
        ...

    def find_target(self) -> Target:
        """Return what the alias names now."""
        ...

    def list_files(self, target: Target) -> dict[str, int]:
        """Return the names of the files, with their sizes in bytes, or 0 where they are not known."""
        ...

    def fetch_file(self, target: Target, name: str, folder: Path) -> None:
        """Copy one file into a folder, under its name."""
        ...


class FolderSource:
    """A folder with bundles in folders, and with files that are named like an alias and hold the name of a bundle."""

    def __init__(self, folder: Path, alias: str) -> None:
        self.name = f"file:{folder}@{alias}"
        self._folder = folder
        self._alias = alias

    def find_target(self) -> Target:
        """Return the bundle that the file of the alias names; a bundle that was changed is another one."""
        try:
            name = (self._folder / self._alias).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            raise SourceError(f"the file {self._alias} cannot be read: {_reason(error)}") from error
        if not _NAME.fullmatch(name) or name.strip(".") == "":
            raise SourceError(f"the file {self._alias} must hold the name of a folder beside it, and nothing else")
        manifest = self._folder / name / MANIFEST_NAME
        try:
            state = file_digest(manifest)
        except OSError as error:
            state = _reason(error)
        return Target(id=f"{name} {state}", version=name, location=name)

    def list_files(self, target: Target) -> dict[str, int]:
        """Return the files of a bundle with their sizes."""
        try:
            paths = list((self._folder / target.location).iterdir())
            return {path.name: path.stat().st_size for path in paths if path.is_file()}
        except OSError as error:
            raise SourceError(f"the folder {target.version} cannot be read: {_reason(error)}") from error

    def fetch_file(self, target: Target, name: str, folder: Path) -> None:
        """Copy a file of a bundle."""
        try:
            shutil.copyfile(self._folder / target.location / name, folder / name)
        except OSError as error:
            raise SourceError(f"{name} cannot be copied: {_reason(error)}") from error


class RegistrySource:
    """A registered model of an MLflow registry, and one of its aliases."""

    def __init__(self, model: str, alias: str, tracking_uri: str) -> None:
        """Load mlflow; raises ``SourceError`` where it is not installed."""
        self.name = f"models:/{model}@{alias}"
        self._model = model
        self._alias = alias
        self._tracking_uri = tracking_uri
        for variable, value in _MLFLOW_HABITS.items():
            os.environ.setdefault(variable, value)
        try:
            import mlflow.artifacts
            from mlflow import MlflowClient
        except ImportError:
            raise SourceError(
                f"{self.name} needs mlflow-skinny, which is not installed: pip install 'credence[registry]'"
            ) from None
        self._artifacts = mlflow.artifacts
        with _answering():
            self._client = MlflowClient(tracking_uri)

    def find_target(self) -> Target:
        """Return the version that the alias names."""
        with _answering(missing=f"it has no alias {self._alias} of {self._model}"):
            found = self._client.get_model_version_by_alias(self._model, self._alias)
            location = self._client.get_model_version_download_uri(self._model, found.version)
        return Target(
            # A registry that was made anew counts from 1 again.
            id=f"{found.version} {found.creation_timestamp} {location}",
            version=str(found.version),
            location=location,
            bundle_digest=found.tags.get(DIGEST_TAG),
        )

    def list_files(self, target: Target) -> dict[str, int]:
        """Return the files of a version with their sizes."""
        with _answering(missing=f"version {target.version} has no files"):
            files = self._artifacts.list_artifacts(artifact_uri=target.location, tracking_uri=self._tracking_uri)
        return {Path(file.path).name: file.file_size or 0 for file in files if not file.is_dir}

    def fetch_file(self, target: Target, name: str, folder: Path) -> None:
        """Download one file of a version."""
        with _answering(missing=f"version {target.version} has no {name}"):
            fetched = self._artifacts.download_artifacts(
                artifact_uri=f"{target.location.rstrip('/')}/{name}",
                dst_path=str(folder),
                tracking_uri=self._tracking_uri,
            )
        if Path(fetched) != folder / name:
            raise SourceError(f"{name} was put elsewhere than asked for")


def open_source(name: str | None, tracking_uri: str | None) -> ModelSource:
    """Return the source that a setting names; raises ``SourceError`` where what it needs is not there."""
    found = re.fullmatch(MODEL_SOURCE, name or "")
    if found is None:
        raise SourceError("a model source is models:/NAME@ALIAS or file:FOLDER@ALIAS")
    if found["folder"] is not None:
        return FolderSource(Path(found["folder"]).absolute(), found["alias"])
    if tracking_uri is None:
        raise SourceError(f"{name} lies in a registry: say in which with CREDENCE_MODEL_TRACKING_URI")
    return RegistrySource(found["model"], found["alias"], tracking_uri)


def load_served_model(bundle_path: Path | None = None) -> ServedModel:
    """Load the bundle in a folder, or the shipped one; raises ``BundleError``."""
    bundle = load_bundle(bundle_path or default_bundle_path())
    return ServedModel(scorer=StatementScorer(bundle), card=bundle.card, calibration=asdict(bundle.calibration))


@contextmanager
def _answering(missing: str | None = None) -> Iterator[None]:
    """Turn whatever the library raises into words of ours: its own messages hold the address, with its password."""
    try:
        yield
    except Exception as error:
        code = getattr(error, "error_code", None)
        if missing is not None and code in _MISSING_CODES:
            raise SourceError(f"the registry answers that {missing}") from error
        kind = type(error).__name__ if code is None else f"{type(error).__name__}, {code}"
        raise SourceError(
            f"the registry gives no answer that can be used ({kind}); see that it runs and that "
            "CREDENCE_MODEL_TRACKING_URI is right"
        ) from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
