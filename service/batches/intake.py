"""Takes in the file of a batch: streamed to disk, checked, and entered, or nothing of it is left."""

import errno
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import BinaryIO, Final

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

from service.batches.media_types import read_media_type
from service.batches.spool import BatchSpool
from service.errors import Fault, ProblemType, RefusedRequestError
from service.rows.files import RowFormat, check_row_file
from service.rows.row import RowFileError
from service.store.batch_records import Batch, NewBatch
from service.store.batch_store import BatchStore

# So much of the disk an upload leaves to the database and to everybody else.
RESERVED_BYTES: Final = 64 * 1024 * 1024
_BLOCK_BYTES: Final = 1024 * 1024
_MAX_LENGTH_DIGITS: Final = 19
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class BatchIntake:
    """Takes in batches. ``on_entered`` is called after each."""

    def __init__(self, store: BatchStore, spool: BatchSpool, *, max_bytes: int, on_entered: Callable[[], None]) -> None:
        self._store = store
        self._spool = spool
        self._max_bytes = max_bytes
        self._on_entered = on_entered

    async def receive(self, body: AsyncIterator[bytes], declared_bytes: int, new: NewBatch) -> tuple[Batch, bool]:
        """Take in a body, and return its batch and true, or an earlier one under its key and false.

        What is returned survives the end of the process and of the machine. ``n_bytes`` of ``new`` is counted here.
        Raises ``RefusedRequestError`` and ``StorageUnavailableError``; then nothing of the body is left.
        """
        self._require_room(declared_bytes)
        is_handed_over = False
        try:
            with _disk_faults():
                n_bytes = await self._write(body, new)
                await run_in_threadpool(self._check, new)
                await run_in_threadpool(self._spool.complete_upload, new.id)
            is_handed_over = True
        except ClientDisconnect:
            raise _refused(ProblemType.BODY_INCOMPLETE, "The connection ended before the body did.") from None
        finally:
            # Without awaiting: nothing may be left where this request is being cancelled, either.
            if not is_handed_over:
                self._spool.delete_batch(new.id)
        return await run_in_threadpool(self._enter, replace(new, n_bytes=n_bytes))

    def _enter(self, new: NewBatch) -> tuple[Batch, bool]:
        is_new = False
        try:
            batch, is_new = self._store.enter(new)
        finally:
            if not is_new:
                self._spool.delete_batch(new.id)
        if is_new:
            self._on_entered()
        return batch, is_new

    async def _write(self, body: AsyncIterator[bytes], new: NewBatch) -> int:
        n_bytes = 0
        block = bytearray()
        with self._spool.begin_upload(new.id) as file:
            async for piece in body:
                block += piece
                n_bytes += len(piece)
                if n_bytes > self._max_bytes:
                    raise self._too_large()
                if len(block) >= _BLOCK_BYTES:
                    self._require_room(len(block))
                    await run_in_threadpool(_write_all, file, bytes(block))
                    block.clear()
            await run_in_threadpool(_write_all, file, bytes(block))
        return n_bytes

    def _check(self, new: NewBatch) -> None:
        try:
            check_row_file(self._spool.partial_path(new.id), RowFormat(f".{new.format}"), encoding=new.encoding)
        except RowFileError as error:
            raise _refused(ProblemType.INVALID_ROW_FILE, f"{str(error)[:1].upper()}{str(error)[1:]}.") from None

    def _require_room(self, n_bytes: int) -> None:
        if n_bytes > self._max_bytes:
            raise self._too_large()
        if self._spool.read_free_bytes() < n_bytes + RESERVED_BYTES:
            raise _refused(ProblemType.INSUFFICIENT_STORAGE, _NO_ROOM)

    def _too_large(self) -> RefusedRequestError:
        detail = f"The file of a batch may have at most {self._max_bytes} bytes; send it as several batches."
        return _refused(ProblemType.BODY_TOO_LARGE, detail)


_NO_ROOM: Final = "The disk of the service has not enough room for this file. Nothing was kept. Try again later."


def read_declaration(headers: Headers) -> tuple[RowFormat, str]:
    """Return the format and the encoding that a request declares. Raises ``RefusedRequestError``."""
    if headers.get("content-encoding", "").lower() not in ("", "identity"):
        raise _refused(ProblemType.UNSUPPORTED_ROW_FORMAT, "Send the file uncompressed, without Content-Encoding.")
    try:
        return read_media_type(headers.get("content-type", ""))
    except RowFileError as error:
        raise _refused(ProblemType.UNSUPPORTED_ROW_FORMAT, f"{error}.") from None


def read_length(headers: Headers) -> int:
    """Return how many bytes a request declares, or 0; of a number beyond all bounds, a part that is still too large."""
    declared = headers.get("content-length", "")
    return int(declared[:_MAX_LENGTH_DIGITS]) if declared.isdecimal() else 0


@contextmanager
def _disk_faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _refused(ProblemType.INSUFFICIENT_STORAGE, _NO_ROOM) from None


def _write_all(file: BinaryIO, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[file.write(rest) :]


def _refused(problem: ProblemType, detail: str) -> RefusedRequestError:
    return RefusedRequestError([Fault(problem, detail)])
