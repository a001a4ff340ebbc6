"""Counts scores, by buckets of time and by what they are."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from service.store.aggregate_queries import (
    Bucket,
    Dimension,
    series_disputes_query,
    series_query,
    totals_disputes_query,
    totals_query,
)
from service.store.database import Database
from service.store.records import NO_LABEL, ScoreFilter
from service.store.tables import models

MAX_CELLS: Final = 10_000
OTHER_SOURCES: Final = "(other)"


class TooManyCellsError(Exception):
    """A series has more than ``MAX_CELLS`` buckets times groups."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many scores there are. ``n_scored`` have a confidence, and ``confidence`` is the sum over those."""

    n: int = 0
    n_labelled: int = 0
    n_scored: int = 0
    confidence: float = 0.0
    n_disputed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.n + other.n,
            self.n_labelled + other.n_labelled,
            self.n_scored + other.n_scored,
            self.confidence + other.confidence,
            self.n_disputed + other.n_disputed,
        )

    @property
    def mean_confidence(self) -> float | None:
        """Return the mean over the scores that have a confidence."""
        return self.confidence / self.n_scored if self.n_scored else None


@dataclass(frozen=True, slots=True)
class Series:
    """The buckets and groups that have scores; ``has_other`` says whether less frequent sources are one group."""

    bucket: Bucket
    dimension: Dimension
    cells: dict[tuple[int, str | None], Tally]
    has_other: bool


@dataclass(frozen=True, slots=True)
class Total:
    """The scores that have one value in one dimension, and when the first and the last of them were made, if any."""

    tally: Tally
    first_at: datetime | None
    last_at: datetime | None

    def __add__(self, other: "Total") -> "Total":
        times = [t for t in (self.first_at, other.first_at, self.last_at, other.last_at) if t is not None]
        return Total(self.tally + other.tally, min(times, default=None), max(times, default=None))


@dataclass(frozen=True, slots=True)
class Totals:
    """The values that occur in each dimension; ``has_other`` as in ``Series``."""

    values: dict[tuple[Dimension, str | None], Total]
    has_other: bool


class AggregateStore:
    """What is counted. Every method is one transaction, and raises ``StorageUnavailableError``.

    The ``MAX_SOURCES`` most frequent sources are counted one by one, and all others as ``OTHER_SOURCES``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_revision(self) -> int:
        """Return a number that rises with everything that is written."""
        return self._database.read_revision()

    def read_series(self, chosen: ScoreFilter, bucket: Bucket, dimension: Dimension) -> Series:
        """Count by bucket and by the values of a dimension. Raises ``TooManyCellsError``."""
        with self._database.reading() as connection:
            rows = connection.execute(series_query(chosen, bucket, dimension).limit(MAX_CELLS + 1)).all()
            if len(rows) > MAX_CELLS:
                raise TooManyCellsError
            disputes = connection.execute(series_disputes_query(chosen, bucket, dimension)).all()
            names = _Names(connection, {row.value for row in rows if not row.is_other})
        cells: dict[tuple[int, str | None], Tally] = {}
        for row in rows:
            place = (row.bucket, names.find(dimension, row.value, is_other=row.is_other))
            cells[place] = cells.get(place, Tally()) + _tally(row, n_labelled=int(row.n_labelled))
        for row in disputes:
            place = (row.bucket, names.find(dimension, row.value))
            cells[place] = cells.get(place, Tally()) + Tally(n_disputed=row.n_disputed)
        return Series(bucket, dimension, cells, any(row.is_other for row in rows))

    def read_totals(self, chosen: ScoreFilter) -> Totals:
        """Count by the values of every dimension."""
        with self._database.reading() as connection:
            rows = connection.execute(totals_query(chosen)).all()
            disputes = connection.execute(totals_disputes_query(chosen)).all()
            sources = {row.value for row in rows if row.dimension == Dimension.SOURCE and not row.is_other}
            names = _Names(connection, sources)
        values: dict[tuple[Dimension, str | None], Total] = {}
        for row in rows:
            place = (Dimension(row.dimension), names.find(Dimension(row.dimension), row.value, is_other=row.is_other))
            total = Total(_tally(row), row.first_at, row.last_at)
            values[place] = values[place] + total if place in values else total
        for place, n_disputed in _count_disputes(disputes, names).items():
            total = values[place]
            values[place] = replace(total, tally=total.tally + Tally(n_disputed=n_disputed))
        return Totals(values, any(row.is_other for row in rows))


class _Names:
    """What the values in the database are called in answers."""

    def __init__(self, connection: Connection, sources: set[str | None]) -> None:
        self._sources = sources
        found = connection.execute(select(models.c.seq, models.c.model_version))
        self._versions: dict[str, str] = {str(row.seq): row.model_version for row in found}

    def find(self, dimension: Dimension, value: Any, *, is_other: bool = False) -> str | None:
        """Return the name of a value; that of a source can be the one for less frequent sources."""
        if dimension is Dimension.SOURCE and (is_other or (value is not None and value not in self._sources)):
            return OTHER_SOURCES
        if dimension is Dimension.LABEL and value is None:
            return NO_LABEL
        if dimension is Dimension.MODEL_VERSION:
            return self._versions[str(value)]
        return None if value is None else str(value)


def _tally(row: Row[Any], *, n_labelled: int = 0) -> Tally:
    # PostgreSQL's sums of whole numbers are decimals.
    return Tally(int(row.n), n_labelled, int(row.n_scored), row.confidence or 0.0)


def _count_disputes(rows: Sequence[Row[Any]], names: _Names) -> Counter[tuple[Dimension, str | None]]:
    counted: Counter[tuple[Dimension, str | None]] = Counter()
    for row in rows:
        for dimension in Dimension:
            value = None if dimension is Dimension.ALL else row._mapping[dimension.value]
            counted[dimension, names.find(dimension, value)] += row.n_disputed
    return counted
