"""Splits the uploads of batches into chunks in the queue, so that a kill at any moment loses and doubles no row."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import islice
from threading import Event
from typing import Final

from service.batches.chunk_packing import pack_rows
from service.batches.leases import Leases
from service.batches.spool import BatchSpool
from service.middleware import log_unexpected
from service.rows.files import RowFormat, check_row_file, read_rows
from service.rows.row import BadRow, Row, RowFileError
from service.rows.scoring import check_row
from service.store.batch_queue import BatchQueue
from service.store.batch_records import Batch, NewChunk, SplitClaim
from service.store.database import StorageUnavailableError
from service.store.tables import MAX_FAILURE_CHARS

BATCH_CHUNK_ROWS: Final = 64
# So many chunks are entered in one transaction.
_CHUNKS_A_TURN: Final = 16
_LOST: Final = "the file of the batch is no longer in the folder of uploads; send it again as a new batch"
_UNEXPECTED: Final = "reading the file failed; the fault is logged without a text, please report it"

Chunk = list[Row | BadRow]


class Splitter:
    """Splits one upload after the other. ``on_chunks`` is called whenever there are new chunks to be scored."""

    def __init__(
        self,
        queue: BatchQueue,
        spool: BatchSpool,
        leases: Leases,
        *,
        max_chars: int,
        is_stopping: Event,
        on_chunks: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._spool = spool
        self._leases = leases
        self._max_chars = max_chars
        self._is_stopping = is_stopping
        self._on_chunks = on_chunks

    def split_next(self) -> bool:
        """Split the oldest upload that nobody splits, and say whether there was one.

        Where a file cannot be read to its end, the rows before that are scored, and then the batch has failed.
        Raises ``StorageUnavailableError`` and ``OSError``; what is entered by then stays, and a later call goes on.
        """
        claim = self._queue.claim_split()
        if claim is None:
            return False
        with self._leases.holding(lambda: self._queue.renew_split(claim)):
            failure = None
            try:
                is_at_end = self._enter_rows(claim)
            except RowFileError as error:
                is_at_end, failure = True, str(error)[:MAX_FAILURE_CHARS]
            except FileNotFoundError:
                is_at_end, failure = True, _LOST
            except (StorageUnavailableError, OSError):
                raise
            except Exception as error:
                log_unexpected(error)
                is_at_end, failure = True, _UNEXPECTED
            if is_at_end and self._queue.end_split(claim, failure=failure):
                self._spool.delete_upload(claim.batch.id)
        return True

    def _enter_rows(self, claim: SplitClaim) -> bool:
        """Enter the rows that are not yet entered; false where there are more, but not for us to enter now."""
        batch = claim.batch
        path, file_format = self._spool.upload_path(batch.id), RowFormat(f".{batch.format}")
        n_expected = check_row_file(path, file_format, encoding=batch.encoding)
        n_chunks, n_rows = batch.n_chunks, batch.n_rows
        with path.open("rb") as file:
            rows = read_rows(file, file_format, encoding=batch.encoding)
            with closing(_group(rows, n_done=batch.n_rows)) as groups:
                for group in groups:
                    if self._is_stopping.is_set():
                        self._queue.release_split(claim)
                        return False
                    new = [self._pack(batch, number, chunk) for number, chunk in enumerate(group, start=n_chunks + 1)]
                    n_rows += sum(chunk.n_rows for chunk in new)
                    n_read_bytes = batch.n_bytes * n_rows // n_expected if n_expected else file.tell()
                    if not self._queue.enter_chunks(
                        claim, new, first_number=n_chunks + 1, n_read_bytes=min(n_read_bytes, batch.n_bytes)
                    ):
                        return False
                    n_chunks += len(new)
                    self._on_chunks()
        return True

    def _pack(self, batch: Batch, number: int, chunk: Chunk) -> NewChunk:
        packed = pack_rows([check_row(row, self._max_chars) for row in chunk])
        if batch.is_stored:
            return NewChunk(len(chunk), packed)
        self._spool.write_rows(batch.id, number, packed)
        return NewChunk(len(chunk), None)


def _group(rows: Iterator[Row | BadRow], *, n_done: int) -> Generator[list[Chunk]]:
    """Yield groups of chunks. What could be read before a fault comes first, and then the fault is raised."""
    group: list[Chunk] = []
    fault: RowFileError | None = None
    try:
        for row in islice(rows, n_done, None):
            if not group or len(group[-1]) == BATCH_CHUNK_ROWS:
                if len(group) == _CHUNKS_A_TURN:
                    yield group
                    group = []
                group.append([])
            group[-1].append(row)
    except RowFileError as error:
        fault = error
    if group:
        yield group
    if fault is not None:
        raise fault
