"""The results of a batch as a stream, in the order of the input and in bounded memory."""

from collections.abc import Iterator
from contextlib import closing
from io import BytesIO
from typing import Final
from uuid import UUID

from starlette.responses import StreamingResponse

from credence.labels import DISCLAIMER
from service.batches.chunk_packing import unpack_results
from service.batches.media_types import to_media_type
from service.batches.spool import BatchSpool
from service.errors import Fault, ProblemType, RefusedRequestError
from service.rows.files import RowFormat
from service.rows.row import BadRow, Row
from service.rows.writers import RowWriter, build_writer
from service.store.batch_records import Batch, BatchState, ChunkResults
from service.store.batch_store import BatchStore

# The results of so many chunks are held in memory.
_PAGE_CHUNKS: Final = 16


class DeletedBatchError(Exception):
    """A batch was deleted while its results were being sent; the connection must break off, not end."""


class BatchResults:
    """Gives out the results of batches."""

    def __init__(self, store: BatchStore, spool: BatchSpool) -> None:
        self._store = store
        self._spool = spool

    def open(self, batch: Batch, file_format: RowFormat | None) -> StreamingResponse:
        """Return the answer with the results of a batch, by default in its own format.

        Raises ``RefusedRequestError`` and ``StorageUnavailableError``.
        """
        if not batch.has_ended:
            detail = (
                "The results can be fetched when the batch is done, cancelled or failed; its url says how it stands."
            )
            raise RefusedRequestError([Fault(ProblemType.BATCH_NOT_ENDED, detail)])
        if not batch.is_stored and batch.spool_id != self._spool.id:
            detail = "The results of a batch that is not stored lie with the server that took it in; ask that one."
            raise RefusedRequestError([Fault(ProblemType.RESULTS_ELSEWHERE, detail)])
        n_chunks, n_rows = self._store.count_done(batch)
        chosen = file_format or RowFormat(f".{batch.format}")
        headers = {
            "Content-Disposition": f'attachment; filename="{batch.id}.scored{chosen}"',
            "X-Credence-Disclaimer": DISCLAIMER,
            "X-Credence-Rows": str(n_rows),
        }
        if batch.state != BatchState.DONE:
            headers["X-Credence-Incomplete"] = batch.state
        return StreamingResponse(
            self._stream(batch, chosen, n_chunks), media_type=to_media_type(chosen), headers=headers
        )

    def _stream(self, batch: Batch, file_format: RowFormat, n_chunks: int) -> Iterator[bytes]:
        sink = _Sink()
        with closing(build_writer(sink, file_format, has_score_ids=batch.is_stored)) as writer:
            yield sink.take()
            number = 0
            while number < n_chunks:
                limit = min(_PAGE_CHUNKS, n_chunks - number)
                chunks = self._store.read_results(batch, after_number=number, limit=limit)
                if [chunk.number for chunk in chunks] != list(range(number + 1, number + limit + 1)):
                    raise DeletedBatchError
                for chunk in chunks:
                    _write(writer, self._read(batch.id, chunk))
                number += limit
                yield sink.take()
        yield sink.take()

    def _read(self, batch_id: UUID, chunk: ChunkResults) -> bytes:
        if chunk.results is not None:
            return chunk.results
        return self._spool.read_results(batch_id, chunk.number, chunk.claim_id)


class _Sink(BytesIO):
    """Takes what a writer writes, and gives it away: positions go on as if all were still there."""

    def __init__(self) -> None:
        super().__init__()
        self._n_taken = 0

    def tell(self) -> int:
        """Return how many bytes have been written."""
        return self._n_taken + super().tell()

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = self.getvalue()
        self._n_taken += len(taken)
        self.seek(0)
        self.truncate()
        return taken


def _write(writer: RowWriter, packed: bytes) -> None:
    for result in unpack_results(packed):
        if isinstance(result, BadRow):
            writer.write_error(result)
        else:
            writer.write_score(Row(result.line, result.id, "", None), result.score, score_id=result.score_id)
