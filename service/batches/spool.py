"""The folder of uploads: the file of each batch until it is split, and all of a batch that is not stored.

A batch has a folder named by its id, and in it ``upload``, ``rows-N`` and ``results-N-CLAIM``. What stands under such a
name is whole and lies on the disk: it is written under another name first. Nobody but the owner may read any of it.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final
from uuid import UUID, uuid4

from credence.errors import CredenceError

_ID_NAME: Final = "spool-id"
_PARTIAL: Final = ".part"
_GONE: Final = ".gone"


class SpoolError(CredenceError):
    """The folder of uploads cannot be used; the message says why and what to do."""


class BatchSpool:
    """The folder of uploads of this process, which others may share. ``id`` is the same for all who see the folder."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, which is made where it is not there. Raises ``SpoolError``."""
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.id = _read_id(folder)
        except OSError as error:
            raise SpoolError(
                f"cannot use the folder of uploads {folder}: {error.strerror}; see CREDENCE_STATE_PATH"
            ) from None
        except ValueError:
            raise SpoolError(f"{folder / _ID_NAME} is damaged; remove it, and the batches that wait are lost") from None

    def read_free_bytes(self) -> int:
        """Return how much the disk still takes."""
        return shutil.disk_usage(self.folder).free

    def begin_upload(self, batch_id: UUID) -> BinaryIO:
        """Make the folder of a batch, and open the file for its upload."""
        (self.folder / str(batch_id)).mkdir(mode=0o700)
        return os.fdopen(_open_private(self.partial_path(batch_id)), "wb", buffering=0)

    def partial_path(self, batch_id: UUID) -> Path:
        """Return where an upload lies until it is complete."""
        return self._path(batch_id, f"upload{_PARTIAL}")

    def complete_upload(self, batch_id: UUID) -> None:
        """Make a written upload the batch's, whatever happens to the machine from here on."""
        partial = self.partial_path(batch_id)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(self.upload_path(batch_id))
        _sync_folder(partial.parent)
        _sync_folder(self.folder)

    def upload_path(self, batch_id: UUID) -> Path:
        """Return where the upload of a batch lies until it is split."""
        return self._path(batch_id, "upload")

    def delete_upload(self, batch_id: UUID) -> None:
        """Delete the upload of a batch, and its folder where nothing else is in it."""
        self.upload_path(batch_id).unlink(missing_ok=True)
        with suppress(OSError):
            self.upload_path(batch_id).parent.rmdir()

    def write_rows(self, batch_id: UUID, number: int, rows: bytes) -> None:
        """Keep the rows of a chunk. Raises ``FileNotFoundError`` where the batch was deleted."""
        self._write(self._path(batch_id, f"rows-{number}"), rows)

    def read_rows(self, batch_id: UUID, number: int) -> bytes:
        """Return the rows of a chunk; raises ``FileNotFoundError``."""
        return self._path(batch_id, f"rows-{number}").read_bytes()

    def delete_rows(self, batch_id: UUID, number: int) -> None:
        """Delete the rows of a chunk."""
        self._path(batch_id, f"rows-{number}").unlink(missing_ok=True)

    def write_results(self, batch_id: UUID, number: int, claim_id: UUID, results: bytes) -> None:
        """Keep the results of a chunk. Raises ``FileNotFoundError`` where the batch was deleted."""
        self._write(self._path(batch_id, f"results-{number}-{claim_id}"), results)

    def read_results(self, batch_id: UUID, number: int, claim_id: UUID) -> bytes:
        """Return the results of a chunk; raises ``FileNotFoundError``."""
        return self._path(batch_id, f"results-{number}-{claim_id}").read_bytes()

    def delete_results(self, batch_id: UUID, number: int, claim_id: UUID) -> None:
        """Delete results that nobody is to see."""
        self._path(batch_id, f"results-{number}-{claim_id}").unlink(missing_ok=True)

    def delete_texts(self, batch_id: UUID) -> None:
        """Delete everything of a batch but its results, and its folder where there are none."""
        folder = self.folder / str(batch_id)
        for path in folder.glob("*"):
            if not path.name.startswith("results-"):
                path.unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()

    def delete_batch(self, batch_id: UUID) -> None:
        """Delete all that there is of a batch. Whoever is still writing into its folder fails."""
        gone = self.folder / f"{uuid4()}{_GONE}"
        with suppress(FileNotFoundError):
            (self.folder / str(batch_id)).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def delete_leftovers(self) -> None:
        """Delete what was being deleted when a process was killed."""
        for path in self.folder.glob(f"*{_GONE}"):
            shutil.rmtree(path, ignore_errors=True)

    def list_batches(self, *, unchanged_seconds: float = 0) -> list[UUID]:
        """Return the batches that have a folder in which nothing has changed for a time."""
        latest = time.time() - unchanged_seconds
        found = []
        for path in self.folder.iterdir():
            with suppress(ValueError, FileNotFoundError):
                batch_id = UUID(path.name)
                if max(p.stat().st_mtime for p in (path, *path.iterdir())) <= latest:
                    found.append(batch_id)
        return found

    def _path(self, batch_id: UUID, name: str) -> Path:
        return self.folder / str(batch_id) / name

    def _write(self, path: Path, content: bytes) -> None:
        partial = path.with_name(f"{uuid4()}{_PARTIAL}")
        try:
            _write_synced(partial, content)
            partial.replace(path)
            _sync_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)


def _open_private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)


def _read_id(folder: Path) -> UUID:
    path = folder / _ID_NAME
    if not path.exists():
        partial = folder / f"{uuid4()}{_PARTIAL}"
        _write_synced(partial, str(uuid4()).encode())
        try:
            # Of several processes that start at once, one gives the id, and it is there whole or not at all.
            with suppress(FileExistsError):
                os.link(partial, path)
        finally:
            partial.unlink()
        _sync_folder(folder)
    return UUID(path.read_text(encoding="ascii"))


def _write_synced(path: Path, content: bytes) -> None:
    with os.fdopen(_open_private(path), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # Windows has no such thing, and keeps names without it.
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
