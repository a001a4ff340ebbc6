"""What a dashboard asks of a year of scores."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from service.history.query_parameters import GroupBy
from tests.trials.filling import START, YEAR

_SERIES: Final = "/v1/stats/timeseries"
_LATE: Final = START + YEAR
_MIDDLE: Final = START + YEAR / 2


@dataclass(frozen=True, slots=True)
class Query:
    """A request, and what it is called in tables."""

    name: str
    path: str
    parameters: dict[str, str | int] = field(default_factory=dict)


def _window(days: float) -> dict[str, str | int]:
    return {"since": (_LATE - timedelta(days=days)).isoformat(), "until": _LATE.isoformat()}


def _build_series() -> list[Query]:
    spans: tuple[tuple[str, str, dict[str, str | int]], ...] = (
        ("hour", "the last week", _window(7)),
        ("day", "the year", {}),
        ("week", "the year", {}),
    )
    queries = []
    for bucket, span, window in spans:
        for group in (None, *GroupBy):
            split = {} if group is None else {"group_by": str(group)}
            name = f"series by {bucket}, {span}" + ("" if group is None else f", by {group}")
            queries.append(Query(name, _SERIES, {"bucket": bucket, **split, **window}))
    return queries


_WEEK: Final[dict[str, str | int]] = {
    "since": _MIDDLE.isoformat(),
    "until": (_MIDDLE + timedelta(days=7)).isoformat(),
}
_PAGES: Final[dict[str, dict[str, str | int]]] = {
    "newest page": {},
    "page with a label": {"label": "likely_disinformation_narrative"},
    "page without a label": {"label": "none"},
    "page in a language": {"language": "ru"},
    "page of a frequent source": {"source": "source-00"},
    "page of a rare source": {"source": "source-23"},
    "page of a source that is not there": {"source": "nobody"},
    "page of an author": {"author": "author-7"},
    "page of a document": {"document_id": "item-1"},
    "page of the least sure": {"max_confidence": "0.45"},
    "page of the disputed": {"is_disputed": "true"},
    "page of a reason": {"reason": "unsupported_language"},
    "page of a week half-way": _WEEK,
    "page of a week half-way, with a label and a source": _WEEK | {"label": "allegation", "source": "source-05"},
    "page of a week half-way, of the rare source": _WEEK | {"source": "source-23"},
    "page of a model that is not there": {"model_version": "none"},
}


def build_queries(n_scores: int) -> tuple[Query, ...]:
    """Return what is asked where there are so many scores."""
    return (
        *_build_series(),
        Query("series by day, the year, of a source", _SERIES, {"bucket": "day", "source": "source-05"}),
        Query("series by day, the last month, filled", _SERIES, {"bucket": "day", "fill": "true", **_window(30)}),
        Query("summary of the year", "/v1/stats/summary"),
        Query("summary of the last week", "/v1/stats/summary", _window(7)),
        Query("summary of the last day", "/v1/stats/summary", _window(1)),
        *(Query(name, "/v1/scores", {"limit": 100, **chosen}) for name, chosen in _PAGES.items()),
        Query("page half-way down", "/v1/scores", {"limit": 100, "cursor": n_scores // 2}),
    )
