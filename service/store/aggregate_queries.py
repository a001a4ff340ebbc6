"""The queries that count scores.

One covering index, which holds no texts, answers them. Disputes are counted by queries that begin at the feedback.
"""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    case,
    cast,
    func,
    literal,
    null,
    select,
    type_coerce,
    union_all,
)

from service.store.records import ScoreFilter
from service.store.score_reads import DISPUTED, conditions
from service.store.tables import from_microseconds, scores, to_microseconds

MAX_SOURCES: Final = 50
_HOUR: Final = 3_600_000_000
# From Monday, the first of January of the year 1: every time is positive from there, and every week begins on a Monday.
_MICROSECONDS_TO_1970: Final = 62_135_596_800_000_000


class Bucket(StrEnum):
    """How long a bucket of time is. It begins with the full hour, midnight or Monday in UTC."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"

    @property
    def microseconds(self) -> int:
        """Return the length of a bucket."""
        return {Bucket.HOUR: 1, Bucket.DAY: 24, Bucket.WEEK: 168}[self] * _HOUR

    def number_at(self, time: datetime) -> int:
        """Return the number of the bucket that a time lies in."""
        return (to_microseconds(time) + _MICROSECONDS_TO_1970) // self.microseconds

    def begin_of(self, number: int) -> datetime:
        """Return the time at which the bucket of a number begins."""
        return from_microseconds(number * self.microseconds - _MICROSECONDS_TO_1970)


class Dimension(StrEnum):
    """What scores are counted by."""

    ALL = "all"
    LABEL = "label"
    REASON = "reason"
    LANGUAGE = "language"
    SOURCE = "source"
    MODEL_VERSION = "model_version"


_COLUMNS: Final[dict[Dimension, ColumnElement[Any]]] = {
    Dimension.LABEL: scores.c.label,
    Dimension.REASON: scores.c.reason,
    Dimension.LANGUAGE: scores.c.language,
    Dimension.SOURCE: scores.c.source,
    Dimension.MODEL_VERSION: scores.c.model_seq,
}
_COUNTS: Final[tuple[Any, ...]] = (
    func.count().label("n"),
    func.count(scores.c.confidence).label("n_scored"),
    func.sum(scores.c.confidence).label("confidence"),
)
_LABELLED: Final = func.count(scores.c.label).label("n_labelled")
_SPAN: Final[tuple[Any, ...]] = (
    func.min(scores.c.scored_at).label("first_at"),
    func.max(scores.c.scored_at).label("last_at"),
)


def series_query(chosen: ScoreFilter, bucket: Bucket, dimension: Dimension) -> Select[Any]:
    """Return what asks for bucket, value, is_other, n, n_labelled, n_scored and the sum of confidence.

    Of the sources beyond the ``MAX_SOURCES`` most frequent there is one sum a bucket, without a value: ``is_other``.
    """
    number, counts = _bucket_number(bucket), (*_COUNTS, _LABELLED)
    query = _grouped(select(number, _value(dimension), *counts), number.name, dimension).where(*_covered(chosen))
    if dimension is not Dimension.SOURCE:
        return query.add_columns(literal(0, Integer).label("is_other"))
    cells = query.cte("cells").prefix_with("MATERIALIZED")
    shown, is_other = _frequent(cells, cells.c.value)
    sums = [func.sum(cells.c[count.name]).label(count.name) for count in counts]
    split = select(cells.c.bucket, shown.label("value"), is_other.label("is_other"), *sums)
    return split.group_by(cells.c.bucket, shown, is_other)


def series_disputes_query(chosen: ScoreFilter, bucket: Bucket, dimension: Dimension) -> Select[Any]:
    """Return what asks for bucket, value and how many scores are disputed."""
    number = _bucket_number(bucket)
    query = select(number, _value(dimension), func.count().label("n_disputed")).select_from(scores)
    return _grouped(query, number.name, dimension).where(DISPUTED, *conditions(chosen))


def totals_query(chosen: ScoreFilter) -> Select[Any]:
    """Return what asks for dimension, value, is_other, n, n_scored, the sum of confidence, first_at and last_at.

    The sources are as in ``series_query``.
    """
    # The index is by time. Sorted a week at a time rather than as a whole, the rows stay in the processor's cache.
    week = _bucket_number(Bucket.WEEK)
    query = select(week, *_labelled_columns(), *_COUNTS, *_SPAN).group_by(week.name, *_COLUMNS.values())
    cells = query.where(*_covered(chosen)).cte("cells").prefix_with("MATERIALIZED")
    whole = union_all(*(_total_query(cells, dimension) for dimension in Dimension)).subquery()
    # The sum of all is a row even where there is nothing to sum.
    return select(whole).where(whole.c.n.is_not(None))


def totals_disputes_query(chosen: ScoreFilter) -> Select[Any]:
    """Return what asks for how many scores are disputed, with a column for each dimension but all."""
    query = select(*_labelled_columns(), func.count().label("n_disputed")).select_from(scores)
    return query.where(DISPUTED, *conditions(chosen)).group_by(*_COLUMNS.values())


def _total_query(cells: CTE, dimension: Dimension) -> Select[Any]:
    value: ColumnElement[Any] = null() if dimension is Dimension.ALL else cells.c[dimension]
    is_other: ColumnElement[int] = literal(0, Integer)
    if dimension is Dimension.SOURCE:
        value, is_other = _frequent(cells, value)
    query = select(
        literal(dimension.value, String).label("dimension"),
        cast(value, String).label("value"),
        is_other.label("is_other"),
        *(func.sum(cells.c[count.name]).label(count.name) for count in _COUNTS),
        func.min(cells.c.first_at).label("first_at"),
        func.max(cells.c.last_at).label("last_at"),
    )
    if dimension is Dimension.ALL:
        return query
    return query.group_by(value, is_other) if dimension is Dimension.SOURCE else query.group_by(value)


def _frequent(cells: CTE, source: ColumnElement[Any]) -> tuple[ColumnElement[Any], ColumnElement[int]]:
    """Return the source where it is one of the most frequent, and whether it is another and not null."""
    ranked = select(source).where(source.is_not(None)).group_by(source)
    frequent = ranked.order_by(func.sum(cells.c.n).desc(), source).limit(MAX_SOURCES).cte("frequent")
    is_frequent = source.in_(select(frequent.c[0]))
    return case((is_frequent, source)), case((source.is_(None) | is_frequent, 0), else_=1)


def _covered(chosen: ScoreFilter) -> list[ColumnElement[bool]]:
    found = conditions(replace(chosen, source=None))
    if chosen.source is not None:
        # The index of sources would lead to every row of the source, and that can be all there are.
        found.append(func.nullif(scores.c.source, "") == chosen.source)
    return found


def _bucket_number(bucket: Bucket) -> Any:
    microseconds = type_coerce(scores.c.scored_at, BigInteger)
    return ((microseconds + _MICROSECONDS_TO_1970) // bucket.microseconds).label("bucket")


def _value(dimension: Dimension) -> Any:
    return _COLUMNS.get(dimension, null()).label("value")


def _grouped(query: Select[Any], bucket: str, dimension: Dimension) -> Select[Any]:
    # By name: with the expression each use would have parameters of its own, and PostgreSQL see two expressions.
    return query.group_by(bucket) if dimension is Dimension.ALL else query.group_by(bucket, _COLUMNS[dimension])


def _labelled_columns() -> list[Any]:
    return [column.label(dimension) for dimension, column in _COLUMNS.items()]
