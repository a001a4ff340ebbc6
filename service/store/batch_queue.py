"""The queue of batches: who splits a file, who scores a chunk, and what comes of it. Each method is one transaction.

A claim is a right for a time. It is taken with a fresh id and holds as long as the id stands in the row: whoever has
lost it, for whatever reason, writes nothing. Leases only say when somebody else may try, so no clock can do harm.
Within a transaction chunks are locked before their batch, and so nobody waits in a circle.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Row, Select, case, func, insert, literal, or_, select, update

from credence.scoring import ModelInfo
from service.store.batch_records import (
    ACTIVE_STATES,
    Batch,
    BatchState,
    ChunkClaim,
    ChunkOutcome,
    ChunkState,
    NewChunk,
    SplitClaim,
)
from service.store.database import Database
from service.store.score_writes import insert_event, insert_scores, require_model
from service.store.tables import UtcTime, batch_chunks, batches

BATCH_EVENT: Final = "batch"
LEASE: Final = timedelta(seconds=20)
# How long a chunk rests whose scoring has failed.
REST: Final = timedelta(seconds=2)
# Among so many there is always one with a free chunk, unless as many workers are at them.
_MAX_BATCHES: Final = 500
BATCH_COLUMNS: Final = tuple(batches.c[field.name] for field in fields(Batch))
IS_ACTIVE: Final = batches.c.state.in_(ACTIVE_STATES)
_ACTIVE_SEQS: Final = select(batches.c.seq).where(IS_ACTIVE)


class BatchQueue:
    """Hands out work, and takes what came of it. Every method raises ``StorageUnavailableError``."""

    def __init__(
        self,
        database: Database,
        spool_id: UUID,
        *,
        now: Callable[[Connection], datetime] | None = None,
        lease: timedelta = LEASE,
    ) -> None:
        self._database = database
        self._spool_id = spool_id
        self._now = now or database.read_time
        self.lease = lease

    def claim_split(self) -> SplitClaim | None:
        """Return the oldest upload of our folder that is to be split and that nobody splits, or null."""
        with self._database.reading() as connection:
            if connection.execute(self._unsplit(self._now(connection))).first() is None:
                return None
        with self._database.writing(takes_turn=False) as connection:
            at = self._now(connection)
            row = connection.execute(self._unsplit(at).with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            claim_id = uuid4()
            values = {"split_claim_id": claim_id, "split_lease_until": at + self.lease}
            connection.execute(update(batches).where(batches.c.seq == row.seq).values(values))
            return SplitClaim(claim_id, to_batch(row))

    def renew_split(self, claim: SplitClaim) -> None:
        """Hold a claim for longer."""
        with self._database.writing(takes_turn=False) as connection:
            until = self._now(connection) + self.lease
            connection.execute(update(batches).where(*_is_splitter(claim)).values(split_lease_until=until))

    def release_split(self, claim: SplitClaim) -> None:
        """Let somebody else go on at once."""
        with self._database.writing(takes_turn=False) as connection:
            connection.execute(update(batches).where(*_is_splitter(claim)).values(split_claim_id=None))

    def enter_chunks(
        self, claim: SplitClaim, chunks: Sequence[NewChunk], *, first_number: int, n_read_bytes: int
    ) -> bool:
        """Enter the next chunks, and how far the file has been read; false where the claim is lost, and nothing is."""
        with self._database.writing(takes_turn=False) as connection:
            values = {
                "n_rows": batches.c.n_rows + sum(chunk.n_rows for chunk in chunks),
                "n_chunks": batches.c.n_chunks + len(chunks),
                "n_read_bytes": n_read_bytes,
            }
            is_next = batches.c.n_chunks == first_number - 1
            if connection.execute(update(batches).where(*_is_splitter(claim), is_next).values(values)).rowcount != 1:
                return False
            whole = {"batch_seq": claim.batch.seq, "state": ChunkState.QUEUED, "n_failures": 0}
            rows = [
                {"number": number, "n_rows": chunk.n_rows, "rows": chunk.rows, **whole}
                for number, chunk in enumerate(chunks, start=first_number)
            ]
            connection.execute(insert(batch_chunks), rows)
        return True

    def end_split(self, claim: SplitClaim, *, failure: str | None = None) -> bool:
        """Say that every row is entered that can be read, and why the rest cannot; false where the claim is lost."""
        with self._database.writing() as connection:
            values: dict[str, Any] = {"is_split": True, "failure": failure, "split_claim_id": None}
            if failure is None:
                values["n_read_bytes"] = batches.c.n_bytes
            if connection.execute(update(batches).where(*_is_splitter(claim)).values(values)).rowcount != 1:
                return False
            _end_if_complete(connection, claim.batch.seq, self._now(connection))
        return True

    def claim_chunk(self) -> ChunkClaim | None:
        """Return the oldest chunk that nobody scores, or null."""
        with self._database.reading() as connection:
            if self._find_chunk(connection, self._now(connection), locks=False) is None:
                return None
        with self._database.writing(takes_turn=False) as connection:
            at = self._now(connection)
            seq = self._find_chunk(connection, at, locks=True)
            if seq is None:
                return None
            values = {"state": ChunkState.RUNNING, "claim_id": uuid4(), "lease_until": at + self.lease}
            chunk = batch_chunks.c.seq == seq
            row = connection.execute(update(batch_chunks).where(chunk).values(values).returning(batch_chunks)).one()
            is_first = (batches.c.seq == row.batch_seq, batches.c.state == BatchState.QUEUED)
            connection.execute(update(batches).where(*is_first).values(state=BatchState.RUNNING, started_at=at))
            batch = connection.execute(select(*BATCH_COLUMNS).where(batches.c.seq == row.batch_seq)).one()
            return ChunkClaim(
                row.claim_id, row.seq, row.number, row.n_rows, row.n_failures, row.rows, batch=to_batch(batch)
            )

    def renew_chunk(self, claim: ChunkClaim) -> None:
        """Hold a claim for longer."""
        with self._database.writing(takes_turn=False) as connection:
            until = self._now(connection) + self.lease
            connection.execute(update(batch_chunks).where(*_is_scorer(claim)).values(lease_until=until))

    def finish_chunk(self, claim: ChunkClaim, outcome: ChunkOutcome, info: ModelInfo) -> bool:
        """Keep what came of a chunk, and end the batch with the last one; false where the claim is lost.

        A call that is repeated because nobody knows whether the first one was kept says true and keeps nothing twice.
        """
        batch = claim.batch
        with self._database.writing() as connection:
            at = self._now(connection)
            values = {
                "state": ChunkState.DONE, "rows": None, "results": outcome.results, "lease_until": None,
                "finished_at": at,
            }  # fmt: skip
            is_ours = (*_is_scorer(claim), batch_chunks.c.batch_seq.in_(_ACTIVE_SEQS))
            if connection.execute(update(batch_chunks).where(*is_ours).values(values)).rowcount != 1:
                return _is_finished_by(connection, claim)
            if outcome.scores:
                insert_scores(
                    connection,
                    outcome.scores,
                    model_seq=require_model(connection, info),
                    scored_at=at,
                    request_id=batch.id,
                    batch=(batch.seq, batch.id),
                )
            counts = {
                "n_done_rows": batches.c.n_done_rows + claim.n_rows,
                "n_done_chunks": batches.c.n_done_chunks + 1,
                "n_error_rows": batches.c.n_error_rows + outcome.n_error_rows,
            }
            connection.execute(update(batches).where(batches.c.seq == batch.seq).values(counts))
            _end_if_complete(connection, batch.seq, at)
        return True

    def release_chunk(self, claim: ChunkClaim) -> None:
        """Let somebody else score a chunk at once."""
        with self._database.writing(takes_turn=False) as connection:
            values = {"state": ChunkState.QUEUED, "claim_id": None, "lease_until": None}
            connection.execute(update(batch_chunks).where(*_is_scorer(claim)).values(values))

    def fail_chunk(self, claim: ChunkClaim) -> None:
        """Count that scoring a chunk went wrong, and let it rest until somebody tries again."""
        with self._database.writing(takes_turn=False) as connection:
            values = {
                "claim_id": None,
                "n_failures": batch_chunks.c.n_failures + 1,
                "lease_until": self._now(connection) + REST,
            }
            connection.execute(update(batch_chunks).where(*_is_scorer(claim)).values(values))

    def _unsplit(self, at: datetime) -> Select[Any]:
        is_free = or_(batches.c.split_claim_id.is_(None), self._has_run_out(batches.c.split_lease_until, at))
        ours = (IS_ACTIVE, ~batches.c.is_split, batches.c.spool_id == self._spool_id, is_free)
        return select(*BATCH_COLUMNS).where(*ours).order_by(batches.c.seq).limit(1)

    def _find_chunk(self, connection: Connection, at: datetime, *, locks: bool) -> int | None:
        """Return the number of a chunk to be scored, or null: first one that was begun, then the oldest."""
        may_score = (IS_ACTIVE, or_(batches.c.is_stored, batches.c.spool_id == self._spool_id))
        waiting = select(batches.c.seq).where(*may_score, batches.c.n_done_chunks < batches.c.n_chunks)
        seqs = connection.execute(waiting.order_by(batches.c.seq).limit(_MAX_BATCHES)).scalars().all()
        has_run_out = self._has_run_out(batch_chunks.c.lease_until, at)
        wheres: list[tuple[ColumnElement[bool], ...]] = [
            (batch_chunks.c.state == ChunkState.RUNNING, batch_chunks.c.batch_seq.in_(seqs), has_run_out)
        ]
        wheres.extend((batch_chunks.c.state == ChunkState.QUEUED, batch_chunks.c.batch_seq == seq) for seq in seqs)
        for where in wheres if seqs else ():
            query = select(batch_chunks.c.seq).where(*where)
            query = query.order_by(batch_chunks.c.batch_seq, batch_chunks.c.number).limit(1)
            found = connection.execute(query.with_for_update(skip_locked=True) if locks else query).scalar()
            if found is not None:
                return int(found)
        return None

    def _has_run_out(self, lease_until: ColumnElement[datetime], at: datetime) -> ColumnElement[bool]:
        # A lease that ends so late was given before the clock was set back.
        return or_(lease_until <= at, lease_until > at + 2 * self.lease)


def to_batch(row: Row[Any]) -> Batch:
    """Return what a row of ``BATCH_COLUMNS`` says."""
    return Batch(**{field.name: row._mapping[field.name] for field in fields(Batch)})


def insert_batch_event(connection: Connection, batch: Batch, at: datetime) -> None:
    """Say that a batch has ended."""
    names = ("n_rows", "n_done_rows", "n_error_rows")
    payload = {"batch_id": str(batch.id), "state": batch.state, **{name: getattr(batch, name) for name in names}}
    insert_event(connection, BATCH_EVENT, payload, at=at)


def _is_splitter(claim: SplitClaim) -> tuple[ColumnElement[bool], ...]:
    return batches.c.seq == claim.batch.seq, batches.c.split_claim_id == claim.claim_id, IS_ACTIVE


def _is_scorer(claim: ChunkClaim) -> tuple[ColumnElement[bool], ...]:
    is_running = batch_chunks.c.state == ChunkState.RUNNING
    return batch_chunks.c.seq == claim.seq, batch_chunks.c.claim_id == claim.claim_id, is_running


def _is_finished_by(connection: Connection, claim: ChunkClaim) -> bool:
    where = (batch_chunks.c.seq == claim.seq, batch_chunks.c.claim_id == claim.claim_id)
    state = connection.execute(select(batch_chunks.c.state).where(*where)).scalar()
    return state == ChunkState.DONE


def _end_if_complete(connection: Connection, seq: int, at: datetime) -> None:
    is_complete = (batches.c.seq == seq, IS_ACTIVE, batches.c.is_split, batches.c.n_done_chunks == batches.c.n_chunks)
    values = {
        "state": case((batches.c.failure.is_(None), BatchState.DONE), else_=BatchState.FAILED),
        "started_at": func.coalesce(batches.c.started_at, literal(at, UtcTime())),
        "finished_at": at,
    }
    row = connection.execute(update(batches).where(*is_complete).values(values).returning(*BATCH_COLUMNS)).one_or_none()
    if row is not None:
        insert_batch_event(connection, to_batch(row), at)
