"""What the database holds of batches and their chunks, as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from service.store.records import NewScore


class BatchState(StrEnum):
    """Where a batch stands. The last two are seen by nobody: what is left of such a batch is being deleted."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"
    DELETING = "deleting"
    DELETING_WITH_SCORES = "deleting_scores"


ACTIVE_STATES: Final = (BatchState.QUEUED, BatchState.RUNNING)
ENDED_STATES: Final = (BatchState.DONE, BatchState.CANCELLED, BatchState.FAILED)
DELETING_STATES: Final = (BatchState.DELETING, BatchState.DELETING_WITH_SCORES)


class ChunkState(StrEnum):
    """Where a chunk stands. A running one whose lease has run out can be claimed again."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch that is to be entered. ``format`` is jsonl, csv or parquet; ``spool_id`` says which folder has it.

    ``key_prefix`` is that of the API key that it was sent with.
    """

    id: UUID
    idempotency_key: str | None
    format: str
    encoding: str
    n_bytes: int
    is_stored: bool
    source: str | None
    author: str | None
    spool_id: UUID
    key_prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it stands. ``n_rows`` and ``n_chunks`` count what has been split so far, unless ``is_split``.

    ``n_done_rows`` are the rows with a result, ``n_error_rows`` those of them that could not be scored.
    """

    seq: int
    id: UUID
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    state: str
    is_split: bool
    format: str
    encoding: str
    n_bytes: int
    n_read_bytes: int
    is_stored: bool
    source: str | None
    author: str | None
    spool_id: UUID
    n_rows: int
    n_chunks: int
    n_done_rows: int
    n_done_chunks: int
    n_error_rows: int
    failure: str | None

    @property
    def has_ended(self) -> bool:
        """Say whether nothing more will be done."""
        return self.state in ENDED_STATES


@dataclass(frozen=True, slots=True)
class NewChunk:
    """The next rows of a batch. ``rows`` is null where they lie in the folder of uploads."""

    n_rows: int
    rows: bytes | None


@dataclass(frozen=True, slots=True)
class SplitClaim:
    """The right to split a batch, until the lease runs out."""

    claim_id: UUID
    batch: Batch


@dataclass(frozen=True, slots=True)
class ChunkClaim:
    """The right to finish a chunk, until the lease runs out. ``number`` counts from 1 in the batch."""

    claim_id: UUID
    seq: int
    number: int
    n_rows: int
    n_failures: int
    rows: bytes | None
    batch: Batch


@dataclass(frozen=True, slots=True)
class ChunkOutcome:
    """What scoring a chunk has given. ``scores`` are to be kept; ``results`` is null where they lie in the folder."""

    n_error_rows: int
    scores: Sequence[NewScore]
    results: bytes | None


@dataclass(frozen=True, slots=True)
class ChunkResults:
    """The results of a chunk that is done; ``claim_id`` names their file where they lie in the folder of uploads."""

    number: int
    claim_id: UUID
    results: bytes | None
