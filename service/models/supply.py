"""Brings what an alias names onto the shelf, whole or not at all, and finds what a process begins with."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from credence.bundle import BundlePaths, load_bundle
from credence.errors import BundleError, CredenceError
from service.models.shelf import KeptModel, ModelShelf, ShelfError, ShelfState
from service.models.source import ModelSource, ServedModel, Target, load_served_model, open_source
from service.models.trial import try_out_apart
from service.settings import Settings

SHELF_FOLDER: Final = "models"
# Far more than a bundle that ships has; it is there so that a wrong folder does not fill the disk.
MAX_BUNDLE_BYTES: Final = 4 * 1024**3
_LOGGER: Final = logging.getLogger("service")


class ModelSupply:
    """A source, the shelf for what comes from it, and the ways to try a bundle out and to load it."""

    def __init__(
        self,
        source: ModelSource,
        shelf: ModelShelf,
        *,
        try_out: Callable[[Path], None] = try_out_apart,
        load: Callable[[Path], ServedModel] = load_served_model,
    ) -> None:
        self.source = source
        self.shelf = shelf
        self.try_out = try_out
        self.load = load

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Open the source that the settings name; raises ``SourceError`` and ``ShelfError``."""
        uri = settings.model_tracking_uri
        source = open_source(settings.model_source, None if uri is None else uri.get_secret_value())
        return cls(source, ModelShelf(settings.state_path / SHELF_FOLDER))

    def fetch(self, target: Target, *, on_verify: Callable[[], None] = lambda: None) -> KeptModel:
        """Have a whole copy of what an alias names on the shelf, and say what it is; what is there stays.

        Raises ``SourceError``, ``BundleError`` and ``OSError``; then nothing was put on the shelf.
        """
        with self.shelf.staging() as staged:
            files = self.source.list_files(target)
            _check_files(staged, files)
            self.source.fetch_file(target, staged.manifest.name, staged.root)
            digest = hashlib.sha256(staged.manifest.read_bytes()).hexdigest()
            if target.bundle_digest not in (None, digest):
                raise BundleError(
                    f"the bundle has digest {digest}; the registry says {target.bundle_digest}: register it anew"
                )
            if not self.shelf.is_whole(digest):
                for part in staged.parts:
                    self.source.fetch_file(target, part.name, staged.root)
                on_verify()
                load_bundle(staged.root)
                self.shelf.keep(staged, digest)
        manifest = load_bundle(self.shelf.path(digest)).manifest
        return KeptModel(digest, manifest.model_version, target.version)

    def find_first(self) -> Path:
        """Return the bundle to begin with: the one that was served last, or else what the alias names now.

        Where neither is to be had it is the one that was served before. Raises ``SourceError``, ``ShelfError``,
        ``BundleError`` and ``TrialError`` where there is none.
        """
        state = self.shelf.read_state(self.source.name)
        if state is not None and self.shelf.is_whole(state.served.bundle_digest):
            return self.shelf.path(state.served.bundle_digest)
        try:
            return self._begin_with(self._fetch_first())
        except CredenceError as error:
            previous = None if state is None else state.previous
            if previous is None or not self.shelf.is_whole(previous.bundle_digest):
                raise
            _LOGGER.warning("the model that was served last is damaged, so the one before it is: %s", error)
            return self._begin_with(ShelfState(self.source.name, previous, None, None))

    def _fetch_first(self) -> ShelfState:
        target = self.source.find_target()
        try:
            kept = self.fetch(target)
        except OSError as error:
            raise ShelfError(f"cannot keep a model: {error.strerror}; see CREDENCE_STATE_PATH") from None
        self.try_out(self.shelf.path(kept.bundle_digest))
        return ShelfState(self.source.name, kept, None, target.id)

    def _begin_with(self, state: ShelfState) -> Path:
        try:
            self.shelf.write_state(state)
        except OSError as error:
            raise ShelfError(f"cannot keep a model: {error.strerror}; see CREDENCE_STATE_PATH") from None
        return self.shelf.path(state.served.bundle_digest)


def open_supply(settings: Settings) -> ModelSupply | None:
    """Return where models come from, or null where one folder is all; raises ``SourceError`` and ``ShelfError``."""
    return None if settings.model_source is None else ModelSupply.from_settings(settings)


def _check_files(staged: BundlePaths, files: dict[str, int]) -> None:
    names = [path.name for path in (staged.manifest, *staged.parts)]
    if missing := [name for name in names if name not in files]:
        raise BundleError(f"{', '.join(missing)} is missing from the bundle; register the whole folder again")
    if (n_bytes := sum(files[name] for name in names)) > MAX_BUNDLE_BYTES:
        raise BundleError(f"the bundle has {n_bytes} bytes, and at most {MAX_BUNDLE_BYTES} are fetched")
