"""The bundles of a source that were found whole, and which of them is served: a folder in the folder of the state.

What is there survives the end of the process, so that the service starts while the source is away.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from credence.bundle import BundlePaths, load_bundle
from credence.errors import BundleError, CredenceError

_STATE_NAME: Final = "served.json"
_STAGING: Final = ".staging-"
# Others may share the folder: what they are fetching just now, or hold in reserve, is not touched.
_STAGING_AGE_SECONDS: Final = 86_400
_N_SPARE_COPIES: Final = 3


class ShelfError(CredenceError):
    """The folder of models cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class KeptModel:
    """A bundle on the shelf, and what the source called it."""

    bundle_digest: str
    model_version: str
    source_version: str


@dataclass(frozen=True, slots=True)
class ShelfState:
    """Which model of a source is served, which one was before it, and up to which target that is settled.

    ``previous`` is null where there is nothing to go back to. ``settled_id`` is null until a target was looked at.
    """

    source: str
    served: KeptModel
    previous: KeptModel | None
    settled_id: str | None


class ModelShelf:
    """Copies of bundles, each in a folder that is named by its digest."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, which is made where it is not there. Raises ``ShelfError``."""
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._delete_leftovers()
        except OSError as error:
            raise ShelfError(
                f"cannot use the folder of models {folder}: {error.strerror}; see CREDENCE_STATE_PATH"
            ) from None

    def path(self, digest: str) -> Path:
        """Return where the copy with a digest lies, if it is there."""
        return self._folder / digest

    def is_whole(self, digest: str) -> bool:
        """Say whether the copy with a digest is there and every byte of it is right."""
        try:
            return load_bundle(self.path(digest)).digest == digest
        except (BundleError, OSError):
            return False

    @contextmanager
    def staging(self) -> Iterator[BundlePaths]:
        """Give an empty folder to put a bundle in. It goes when the block ends, unless it was kept."""
        folder = Path(tempfile.mkdtemp(prefix=_STAGING, dir=self._folder))
        try:
            yield BundlePaths(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def keep(self, staged: BundlePaths, digest: str) -> None:
        """Put a staged bundle, which was found whole, on the shelf; a damaged copy of it makes room."""
        shutil.rmtree(self.path(digest), ignore_errors=True)
        staged.root.rename(self.path(digest))

    def delete_copies(self, *, but: Collection[str]) -> None:
        """Delete the copies that are not named, but for the newest few."""
        copies = [path for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith(_STAGING)]
        idle = sorted((p for p in copies if p.name not in but), key=lambda p: p.stat().st_mtime, reverse=True)
        for path in idle[_N_SPARE_COPIES:]:
            shutil.rmtree(path, ignore_errors=True)

    def read_state(self, source: str) -> ShelfState | None:
        """Return what was served from a source, or null where nothing was, or what was written of it is damaged."""
        try:
            content: dict[str, Any] = json.loads((self._folder / _STATE_NAME).read_text(encoding="utf-8"))
            previous = content["previous"]
            state = ShelfState(
                source=content["source"],
                served=KeptModel(**content["served"]),
                previous=None if previous is None else KeptModel(**previous),
                settled_id=content["settled_id"],
            )
        except (OSError, KeyError, TypeError, ValueError):
            return None
        return state if state.source == source else None

    def write_state(self, state: ShelfState) -> None:
        """Write down what is served; raises ``OSError``, and then what was written before stays."""
        descriptor, name = tempfile.mkstemp(prefix=_STAGING, dir=self._folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(state), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self._folder / _STATE_NAME)
        finally:
            Path(name).unlink(missing_ok=True)

    def _delete_leftovers(self) -> None:
        for path in self._folder.glob(f"{_STAGING}*"):
            if path.stat().st_mtime >= time.time() - _STAGING_AGE_SECONDS:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
