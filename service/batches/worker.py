"""Works off the queue of batches: claims a chunk, scores it outside any transaction, and has it kept."""

import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Final

from credence.scoring import ModelInfo, Scorer
from service.batches.chunk_packing import pack_results, unpack_rows
from service.batches.chunk_scoring import (
    INTERNAL_ERROR,
    Result,
    refuse_chunk,
    score_chunk,
    to_new_scores,
    with_score_ids,
)
from service.batches.leases import Leases
from service.batches.spool import BatchSpool
from service.middleware import log_unexpected
from service.rows.row import BadRow, Row
from service.scoring.pool import PoolStoppedError
from service.store.batch_queue import BatchQueue
from service.store.batch_records import ChunkClaim, ChunkOutcome
from service.store.database import StorageUnavailableError
from service.store.records import Tags

# So often a chunk may fail as a whole; the last time each of its rows is tried alone.
MAX_FAILURES: Final = 3
_RETRY_SECONDS: Final = 1.0
_LOGGER: Final = logging.getLogger("service")
_LOST: Final = "The row is no longer in the folder of uploads; send it again in a new batch."


RowCounter = Callable[[int, int], None]


def count_nothing(n_scored: int, n_errors: int) -> None:
    """Take the rows of a chunk that was kept, and do nothing with them."""


class BatchWorker:
    """Scores one chunk after the other. Several, in however many threads and processes, share the queue."""

    def __init__(
        self,
        queue: BatchQueue,
        spool: BatchSpool,
        scorer: Scorer,
        leases: Leases,
        *,
        is_stopping: Event,
        count_rows: RowCounter = count_nothing,
    ) -> None:
        self._queue = queue
        self._spool = spool
        self._scorer = scorer
        self._leases = leases
        self._is_stopping = is_stopping
        self._count_rows = count_rows

    def score_next(self) -> bool:
        """Score the oldest chunk that nobody scores, and say whether there was one.

        Raises ``StorageUnavailableError``; then somebody scores the chunk again.
        """
        claim = self._queue.claim_chunk()
        if claim is None:
            return False
        with self._leases.holding(lambda: self._queue.renew_chunk(claim)):
            try:
                rows = self._read_rows(claim)
                self._keep(claim, rows, *self._score(rows, alone=_is_last_attempt(claim)))
            except StorageUnavailableError:
                raise
            except PoolStoppedError:
                self._queue.release_chunk(claim)
            except Exception as error:
                log_unexpected(error)
                self._give_up(claim)
        return True

    def _read_rows(self, claim: ChunkClaim) -> list[Row | BadRow]:
        if claim.rows is not None:
            return unpack_rows(claim.rows)
        return unpack_rows(self._spool.read_rows(claim.batch.id, claim.number))

    def _score(self, rows: list[Row | BadRow], *, alone: bool) -> tuple[list[Result], ModelInfo]:
        while True:
            info = self._scorer.info
            results = score_chunk(rows, self._scorer, alone=alone)
            # Where another model took over meanwhile, the whole is scored by that one.
            if all(isinstance(r, BadRow) or r.score.bundle_digest == info.bundle_digest for r in results):
                return results, info

    def _give_up(self, claim: ChunkClaim) -> None:
        """Leave a chunk to a later attempt; after the last one all its rows get errors."""
        if not _is_last_attempt(claim):
            self._queue.fail_chunk(claim)
            return
        try:
            rows = self._read_rows(claim)
        except FileNotFoundError:
            lost: list[Result] = [BadRow(0, None, INTERNAL_ERROR, _LOST)] * claim.n_rows
            self._finish(claim, ChunkOutcome(len(lost), [], pack_results(lost)), self._scorer.info)
        else:
            self._keep(claim, rows, refuse_chunk(rows), self._scorer.info)

    def _keep(self, claim: ChunkClaim, rows: list[Row | BadRow], results: list[Result], info: ModelInfo) -> None:
        n_errors = sum(isinstance(result, BadRow) for result in results)
        batch = claim.batch
        if batch.is_stored:
            results = with_score_ids(results)
            new = to_new_scores(rows, results, Tags(source=batch.source, author=batch.author))
            self._finish(claim, ChunkOutcome(n_errors, new, pack_results(results)), info)
            return
        # Where the batch was deleted meanwhile its folder is gone, and nobody waits for the results.
        with suppress(FileNotFoundError):
            self._write_results(claim, pack_results(results))
            if self._finish(claim, ChunkOutcome(n_errors, [], None), info):
                self._spool.delete_rows(batch.id, claim.number)
            else:
                self._spool.delete_results(batch.id, claim.number, claim.claim_id)

    def _write_results(self, claim: ChunkClaim, packed: bytes) -> None:
        while True:
            try:
                self._spool.write_results(claim.batch.id, claim.number, claim.claim_id, packed)
            except FileNotFoundError:
                raise
            except OSError as error:
                _LOGGER.warning("a batch waits, its results cannot be written: %s", error.strerror)
                if self._is_stopping.wait(_RETRY_SECONDS):
                    raise StorageUnavailableError("the folder of uploads cannot be written to") from None
            else:
                return

    def _finish(self, claim: ChunkClaim, outcome: ChunkOutcome, info: ModelInfo) -> bool:
        while True:
            try:
                is_finished = self._queue.finish_chunk(claim, outcome, info)
            except StorageUnavailableError as error:
                _LOGGER.warning("a batch waits: %s", error)
                if self._is_stopping.wait(_RETRY_SECONDS):
                    raise
                continue
            if is_finished:
                self._count_rows(claim.n_rows - outcome.n_error_rows, outcome.n_error_rows)
            return is_finished


def _is_last_attempt(claim: ChunkClaim) -> bool:
    return claim.n_failures + 1 >= MAX_FAILURES
