"""The shapes of what is answered about batches."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from credence.labels import DISCLAIMER
from service.rows.files import RowFormat, row_format
from service.schemas import Store, StrictRequest
from service.store.batch_records import Batch
from service.store.tables import MAX_TAG_CHARS

# No database keeps U+0000.
_Tag = Annotated[str | None, Field(min_length=1, max_length=MAX_TAG_CHARS, pattern="^[^\\x00]*$")]


class BatchQuery(StrictRequest):
    """What is said of a batch in the query of its upload."""

    # In a query everything is a string.
    model_config = ConfigDict(strict=False)

    store: Store = None
    source: _Tag = Field(None, description="The source of rows that name none.")
    author: _Tag = Field(None, description="The author of rows that name none.")


class ResultsQuery(StrictRequest):
    """How results are asked for, in the query."""

    model_config = ConfigDict(strict=False)

    format: Literal["jsonl", "ndjson", "csv", "parquet"] | None = Field(
        None, description="Without it, the format of the file that was sent; ndjson is jsonl."
    )

    @property
    def row_format(self) -> RowFormat | None:
        """Return the format, or null."""
        return None if self.format is None else row_format(Path(f"results.{self.format}"))


class DeleteQuery(StrictRequest):
    """What goes with a batch, in the query."""

    model_config = ConfigDict(strict=False)

    scores: bool = Field(False, description="Whether the stored scores of the batch are deleted, too.")


class BatchAnswer(BaseModel):
    """A batch as it stands."""

    id: UUID
    state: str = Field(
        description="queued, running, done, cancelled, or failed: the file could not be read to its end."
    )
    is_split: bool = Field(description="Whether the whole file has been read into the queue.")
    n_rows: int | None = Field(description="How many rows there are; null until the whole file has been read.")
    n_done_rows: int = Field(description="How many rows have a result, errors included.")
    n_error_rows: int = Field(description="How many of them could not be scored.")
    share_done: float = Field(description="How much is done, from 0 to 1; an estimate until all rows are counted.")
    rows_per_second: float | None = Field(
        description="How fast all workers together are just now, or were over all; null where nobody can tell."
    )
    seconds_left: float | None = Field(description="How long it will take at this rate; null where nobody can tell.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    format: str = Field(description="jsonl, csv or parquet.")
    n_bytes: int = Field(description="The size of the file.")
    stored: bool = Field(description="Whether texts and scores are kept in the database.")
    source: str | None = Field(description="The source of rows that name none.")
    author: str | None = Field(description="The author of rows that name none.")
    failure: str | None = Field(description="Why the rest of the file could not be read.")
    url: str
    results_url: str
    cancel_url: str
    disclaimer: str = DISCLAIMER

    @classmethod
    def from_batch(cls, batch: Batch, rows_per_second: float | None) -> Self:
        """Say how a batch stands, at a rate of so many rows per second."""
        share = _estimate_share(batch)
        url = f"/v1/batches/{batch.id}"
        derived = {
            "n_rows": batch.n_rows if batch.is_split else None,
            "share_done": share,
            "rows_per_second": rows_per_second,
            "seconds_left": _estimate_seconds(batch, share, rows_per_second),
            "stored": batch.is_stored,
            "url": url,
            "results_url": f"{url}/results",
            "cancel_url": f"{url}/cancel",
        }
        return cls.model_validate(asdict(batch) | derived)


class BatchList(BaseModel):
    """Batches, the newest first."""

    rows: list[BatchAnswer]
    next_cursor: str | None = Field(description="What `cursor` is to be for those before these; null at the end.")
    disclaimer: str = DISCLAIMER


def _estimate_share(batch: Batch) -> float:
    if batch.is_split:
        return batch.n_done_rows / batch.n_rows if batch.n_rows else 1.0
    read_share = batch.n_read_bytes / batch.n_bytes if batch.n_bytes else 0.0
    return read_share * batch.n_done_rows / batch.n_rows if batch.n_rows else 0.0


def _estimate_seconds(batch: Batch, share: float, rows_per_second: float | None) -> float | None:
    if batch.has_ended or not rows_per_second or not share:
        return None
    return batch.n_done_rows * (1 - share) / share / rows_per_second
