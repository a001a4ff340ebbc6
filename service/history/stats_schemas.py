"""The shapes of what is counted, and how counts turn into rows. All rows of an answer have the same columns."""

from collections import Counter
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, Field

from credence.labels import DISCLAIMER, LABELS
from service.store.aggregate_queries import MAX_SOURCES, Bucket, Dimension
from service.store.aggregates import MAX_CELLS, OTHER_SOURCES, Series, Tally, TooManyCellsError, Total, Totals
from service.store.records import NO_LABEL, ScoreFilter

_HAS_OTHER: Final = f"Whether the sources beyond the {MAX_SOURCES} most frequent are counted as `{OTHER_SOURCES}`."
_ORDER: Final[dict[str | None, int]] = {name: place for place, name in enumerate((*LABELS, NO_LABEL))}
_DIMENSIONS: Final = tuple(Dimension)
_EMPTY: Final = Tally()
_NOTHING: Final = Total(_EMPTY, None, None)


class SeriesRow(BaseModel):
    """The scores of one bucket of time, or of one group in it."""

    time: datetime = Field(description="When the bucket begins, in UTC.")
    group: str | None = Field(description="Null where nothing is split, and for scores without this tag or language.")
    n: int = Field(description="How many scores there are.")
    share: float = Field(description="The share of them in the bucket; 0 in an empty one.")
    n_labelled: int = Field(description="How many have a label.")
    n_abstained: int = Field(description="How many have none, for whatever reason.")
    mean_confidence: float | None = Field(description="The mean over those that were scored.")
    n_disputed: int = Field(description="How many have feedback that proposes another label.")


class SeriesAnswer(BaseModel):
    """A time series, the oldest first."""

    rows: list[SeriesRow]
    has_other: bool = Field(description=_HAS_OTHER)
    disclaimer: str = DISCLAIMER


class SummaryRow(BaseModel):
    """The scores that have one value in one dimension."""

    dimension: Dimension
    value: str | None = Field(description="Null for all, and for scores without this tag or language.")
    n: int = Field(description="How many scores there are.")
    share: float = Field(description="The share of them in all.")
    mean_confidence: float | None = Field(description="The mean over those that were scored.")
    n_disputed: int = Field(description="How many have feedback that proposes another label.")
    first_at: datetime | None = Field(description="When the first was scored, in UTC.")
    last_at: datetime | None = Field(description="When the last was scored, in UTC.")


class SummaryAnswer(BaseModel):
    """Counts by every dimension, the greatest first."""

    rows: list[SummaryRow]
    has_other: bool = Field(description=_HAS_OTHER)
    disclaimer: str = DISCLAIMER


def require_few_buckets(bucket: Bucket, chosen: ScoreFilter) -> None:
    """Raise ``TooManyCellsError`` where a filter's span of time alone has more buckets than can be filled."""
    if chosen.since is not None and chosen.until is not None and len(_span(bucket, chosen, set())) > MAX_CELLS:
        raise TooManyCellsError


def to_series_rows(series: Series, filled: ScoreFilter | None) -> list[dict[str, Any]]:
    """Return rows with the columns of ``SeriesRow``.

    Where a filter is given to be filled, there are also rows for what nothing was counted for, from the begin of its
    span of time to the end, or to where the scores begin and end. Raises ``TooManyCellsError``.
    """
    in_bucket: Counter[int] = Counter()
    for (number, _), tally in series.cells.items():
        in_bucket[number] += tally.n
    places = set(series.cells)
    if filled is not None:
        groups = {None} if series.dimension is Dimension.ALL else {group for _, group in places}
        numbers = _span(series.bucket, filled, set(in_bucket))
        if len(numbers) * len(groups) > MAX_CELLS:
            raise TooManyCellsError
        places.update((number, group) for number in numbers for group in groups)
    return [
        {
            "time": series.bucket.begin_of(number),
            "group": group,
            **_series_columns(series.cells.get((number, group), _EMPTY), in_bucket[number]),
        }
        for number, group in sorted(places, key=_series_order)
    ]


def to_summary_rows(totals: Totals) -> list[dict[str, Any]]:
    """Return rows with the columns of ``SummaryRow``, with one for all even where there is nothing."""
    values = totals.values or {(Dimension.ALL, None): _NOTHING}
    n_all = values[Dimension.ALL, None].tally.n
    return [
        {
            "dimension": dimension,
            "value": value,
            "n": total.tally.n,
            "share": _share(total.tally.n, n_all),
            "mean_confidence": total.tally.mean_confidence,
            "n_disputed": total.tally.n_disputed,
            "first_at": total.first_at,
            "last_at": total.last_at,
        }
        for (dimension, value), total in sorted(values.items(), key=_summary_order)
        # Labelled scores have no reason, and are counted as labels.
        if (dimension, value) != (Dimension.REASON, None)
    ]


def _span(bucket: Bucket, chosen: ScoreFilter, occupied: set[int]) -> range:
    first = min(occupied, default=0) if chosen.since is None else bucket.number_at(chosen.since)
    if chosen.until is None:
        return range(first, max(occupied, default=first - 1) + 1)
    end = bucket.number_at(chosen.until)
    # What begins when the span ends is not in it.
    has_begun = bucket.begin_of(end) < chosen.until
    if chosen.since is None and not occupied:
        return range(0)
    return range(first, end + has_begun)


def _series_columns(tally: Tally, n_in_bucket: int) -> dict[str, Any]:
    return {
        "n": tally.n,
        "share": _share(tally.n, n_in_bucket),
        "n_labelled": tally.n_labelled,
        "n_abstained": tally.n - tally.n_labelled,
        "mean_confidence": tally.mean_confidence,
        "n_disputed": tally.n_disputed,
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _series_order(place: tuple[int, str | None]) -> tuple[int, int, bool, str]:
    number, group = place
    return number, _ORDER.get(group, -1), group is None, group or ""


def _summary_order(item: tuple[tuple[Dimension, str | None], Total]) -> tuple[int, int, str]:
    (dimension, value), total = item
    return _DIMENSIONS.index(dimension), -total.tally.n, value or ""
