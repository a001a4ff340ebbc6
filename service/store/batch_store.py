"""Enters batches, shows how they stand, cancels and deletes them, and gives out their results."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, delete, insert, select, update

from service.store.batch_queue import BATCH_COLUMNS, IS_ACTIVE, insert_batch_event, to_batch
from service.store.batch_records import (
    DELETING_STATES,
    ENDED_STATES,
    Batch,
    BatchState,
    ChunkResults,
    ChunkState,
    NewBatch,
)
from service.store.database import Database
from service.store.score_store import DELETE_ROWS
from service.store.tables import batch_chunks, batches, scores

_DELETE_CHUNKS: Final = 500
# Over how many of the latest chunks the pace is taken.
_PACE_CHUNKS: Final = 20
_IS_SHOWN: Final = batches.c.state.not_in(DELETING_STATES)


class BatchStore:
    """What is known of batches. Every method raises ``StorageUnavailableError``."""

    def __init__(self, database: Database, *, now: Callable[[Connection], datetime] | None = None) -> None:
        self._database = database
        self._now = now or database.read_time

    def enter(self, new: NewBatch) -> tuple[Batch, bool]:
        """Enter a batch and return it and true; where its key was used before, return the first batch and false."""
        with self._database.writing() as connection:
            if new.idempotency_key is not None and (earlier := _find_key(connection, new.idempotency_key)):
                return earlier, False
            values = {
                **asdict(new), "created_at": self._now(connection), "state": BatchState.QUEUED, "is_split": False,
                **dict.fromkeys(_COUNTERS, 0),
            }  # fmt: skip
            row = connection.execute(insert(batches).values(values).returning(*BATCH_COLUMNS)).one()
            return to_batch(row), True

    def find_key(self, idempotency_key: str) -> Batch | None:
        """Return the batch that was entered under an idempotency key, or null."""
        with self._database.reading() as connection:
            return _find_key(connection, idempotency_key)

    def read(self, batch_id: UUID) -> Batch | None:
        """Return a batch as it stands, or null."""
        with self._database.reading() as connection:
            return _find(connection, batches.c.id == batch_id)

    def list_batches(self, *, limit: int, before_seq: int | None = None) -> list[Batch]:
        """Return the newest batches, newest first."""
        query = select(*BATCH_COLUMNS).where(_IS_SHOWN).order_by(batches.c.seq.desc()).limit(limit)
        if before_seq is not None:
            query = query.where(batches.c.seq < before_seq)
        with self._database.reading() as connection:
            return [to_batch(row) for row in connection.execute(query)]

    def list_active(self, key_prefix: str | None) -> list[Batch]:
        """Return the batches that have not ended and were sent with an API key, or with null, without one."""
        is_of = batches.c.key_prefix.is_not_distinct_from(key_prefix)
        with self._database.reading() as connection:
            return [to_batch(row) for row in connection.execute(select(*BATCH_COLUMNS).where(IS_ACTIVE, is_of))]

    def read_pace(self, batch: Batch) -> float | None:
        """Return how many rows a second all workers together have done lately, or over all where it has ended."""
        if batch.started_at is not None and batch.finished_at is not None:
            return _pace(batch.n_done_rows, (batch.finished_at - batch.started_at).total_seconds())
        done = (batch_chunks.c.batch_seq == batch.seq, batch_chunks.c.state == ChunkState.DONE)
        latest = select(batch_chunks.c.n_rows, batch_chunks.c.finished_at).where(*done)
        with self._database.reading() as connection:
            query = latest.order_by(batch_chunks.c.number.desc()).limit(_PACE_CHUNKS)
            chunks = sorted(connection.execute(query).all(), key=lambda chunk: chunk.finished_at)
            at = self._now(connection)
        if not chunks:
            return None
        return _pace(sum(chunk.n_rows for chunk in chunks[1:]), (at - chunks[0].finished_at).total_seconds())

    def count_done(self, batch: Batch) -> tuple[int, int]:
        """Return how many chunks are done before the first that is not, and how many rows they have."""
        if batch.n_done_chunks == batch.n_chunks:
            return batch.n_chunks, batch.n_rows
        done = (batch_chunks.c.batch_seq == batch.seq, batch_chunks.c.state == ChunkState.DONE)
        query = select(batch_chunks.c.number, batch_chunks.c.n_rows).where(*done).order_by(batch_chunks.c.number)
        n_chunks = n_rows = 0
        with self._database.reading() as connection:
            for chunk in connection.execute(query):
                if chunk.number != n_chunks + 1:
                    break
                n_chunks, n_rows = n_chunks + 1, n_rows + chunk.n_rows
        return n_chunks, n_rows

    def read_results(self, batch: Batch, *, after_number: int, limit: int) -> list[ChunkResults]:
        """Return the results of the next chunks, in the order of the input; none where the batch was deleted."""
        columns = (batch_chunks.c.number, batch_chunks.c.claim_id, batch_chunks.c.results)
        done = (batch_chunks.c.batch_seq == batch.seq, batch_chunks.c.state == ChunkState.DONE)
        query = select(*columns).where(*done, batch_chunks.c.number > after_number)
        with self._database.reading() as connection:
            if _find(connection, batches.c.seq == batch.seq) is None:
                return []
            rows = connection.execute(query.order_by(batch_chunks.c.number).limit(limit)).all()
        return [ChunkResults(row.number, row.claim_id, row.results) for row in rows]

    def cancel(self, batch_id: UUID) -> Batch | None:
        """End a batch where it stands, unless it has ended, and return it, or null.

        What is done stays. Nothing more is written, whoever is at it just now.
        """
        with self._database.writing() as connection:
            at = self._now(connection)
            values = {"state": BatchState.CANCELLED, "finished_at": at}
            active = (batches.c.id == batch_id, IS_ACTIVE)
            is_new = connection.execute(update(batches).where(*active).values(values)).rowcount == 1
            batch = _find(connection, batches.c.id == batch_id)
            if batch is not None and is_new:
                insert_batch_event(connection, batch, at)
        if batch is not None and batch.state == BatchState.CANCELLED:
            self._delete_chunks(batch_chunks.c.batch_seq == batch.seq, batch_chunks.c.state != ChunkState.DONE)
        return batch

    def delete(self, batch_id: UUID, *, with_scores: bool) -> bool:
        """Delete a batch with its queue and results, and say whether it was there.

        Its stored scores go too where asked, and else stay without it. Large batches are deleted in many turns; what
        an interruption leaves is seen by nobody, and ``delete_expired`` deletes it.
        """
        if not self._mark(batches.c.id == batch_id, with_scores=with_scores):
            return False
        self._purge()
        return True

    def delete_expired(self, before: datetime) -> int:
        """Delete the batches that ended before a time, and what is left of deleted ones, and return how many ended."""
        n_marked = self._mark(batches.c.state.in_(ENDED_STATES), batches.c.finished_at < before, with_scores=False)
        self._purge()
        return n_marked

    def list_done_numbers(self, batch_id: UUID) -> list[int]:
        """Return the numbers of the chunks of a batch that are done."""
        is_of = (batches.c.id == batch_id, batch_chunks.c.state == ChunkState.DONE)
        query = select(batch_chunks.c.number).join(batches, batches.c.seq == batch_chunks.c.batch_seq).where(*is_of)
        with self._database.reading() as connection:
            return list(connection.execute(query).scalars())

    def _mark(self, *where: ColumnElement[bool], with_scores: bool) -> int:
        state = BatchState.DELETING_WITH_SCORES if with_scores else BatchState.DELETING
        with self._database.writing() as connection:
            values = {"state": state, "idempotency_key": None}
            return connection.execute(update(batches).where(_IS_SHOWN, *where).values(values)).rowcount

    def _purge(self) -> None:
        with self._database.reading() as connection:
            marked = select(batches.c.seq, batches.c.state).where(batches.c.state.in_(DELETING_STATES))
            found = connection.execute(marked).all()
        for batch in found:
            self._delete_chunks(batch_chunks.c.batch_seq == batch.seq)
            while self._release_scores(batch.seq, deletes=batch.state == BatchState.DELETING_WITH_SCORES):
                pass
            with self._database.writing() as connection:
                connection.execute(delete(batches).where(batches.c.seq == batch.seq))

    def _release_scores(self, seq: int, *, deletes: bool) -> int:
        chosen = scores.c.seq.in_(select(scores.c.seq).where(scores.c.batch_seq == seq).limit(DELETE_ROWS))
        statement = delete(scores) if deletes else update(scores).values(batch_seq=None)
        with self._database.writing() as connection:
            return connection.execute(statement.where(chosen)).rowcount

    def _delete_chunks(self, *where: ColumnElement[bool]) -> None:
        while True:
            chosen = batch_chunks.c.seq.in_(select(batch_chunks.c.seq).where(*where).limit(_DELETE_CHUNKS))
            with self._database.writing(takes_turn=False) as connection:
                if connection.execute(delete(batch_chunks).where(chosen)).rowcount == 0:
                    return


_COUNTERS: Final = ("n_read_bytes", "n_rows", "n_chunks", "n_done_rows", "n_done_chunks", "n_error_rows")


def _find(connection: Connection, *where: ColumnElement[bool]) -> Batch | None:
    row: Any = connection.execute(select(*BATCH_COLUMNS).where(_IS_SHOWN, *where)).one_or_none()
    return None if row is None else to_batch(row)


def _find_key(connection: Connection, idempotency_key: str) -> Batch | None:
    return _find(connection, batches.c.idempotency_key == idempotency_key)


def _pace(n_rows: int, seconds: float) -> float | None:
    return n_rows / seconds if n_rows and seconds > 0 else None
