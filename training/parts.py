"""Which statements belong together in a breakdown: by language, source, outcome, length and month."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from credence.labels import OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from training.corpora import Example
from training.sources import set_of

Parts = dict[str, list[int]]

# Fewer statements say nothing of their own, so small sources and months are put together.
MIN_PART: Final = 10
UNDATED: Final = "no month known"
OTHER_SOURCES: Final = "other sources"
OTHER_MONTHS: Final = "other months"
_LENGTHS: Final = ((1, 3), (4, 8), (9, 15), (16, 25), (26, 75))
_LONGER: Final = f"over {_LENGTHS[-1][1]} words"
_MONTH: Final = re.compile(r"(\d{4})[-/](0?[1-9]|1[0-2])(?!\d)")


def by_language(examples: Sequence[Example]) -> Parts:
    """Return the rows of each language, in the order in which the project names them."""
    return _group(examples, lambda e: e.language, SUPPORTED_LANGUAGES)


def by_outcome(examples: Sequence[Example]) -> Parts:
    """Return the rows of each outcome as labelled."""
    return _group(examples, lambda e: str(e.label), map(str, OUTCOMES))


def by_source(examples: Sequence[Example]) -> Parts:
    """Return the rows of each public set or file of our own, the largest first; small ones together at the end."""
    names = Counter(_source_of(e) for e in examples)
    large = [name for name, n in names.most_common() if n >= MIN_PART]
    return _group(examples, lambda e: s if (s := _source_of(e)) in large else OTHER_SOURCES, large)


def by_length(examples: Sequence[Example]) -> Parts:
    """Return the rows of each range of lengths, in words between spaces."""
    return _group(examples, _length_of, [*(_range_name(low, high) for low, high in _LENGTHS), _LONGER])


def by_month(examples: Sequence[Example]) -> Parts:
    """Return the rows of each month of publication, the oldest first; rare months together, then the rest.

    A date that does not begin with year and month gives none: day and month are not guessed apart.
    """
    months = Counter(_month_of(e) for e in examples)
    common = sorted(month for month, n in months.items() if n >= MIN_PART and month != UNDATED)
    kept = {*common, UNDATED}
    return _group(examples, lambda e: m if (m := _month_of(e)) in kept else OTHER_MONTHS, [*common, OTHER_MONTHS])


PARTINGS: Final[dict[str, Callable[[Sequence[Example]], Parts]]] = {
    "language": by_language,
    "source": by_source,
    "outcome": by_outcome,
    "length": by_length,
    "month": by_month,
}


def _group(examples: Sequence[Example], name_of: Callable[[Example], str], order: Iterable[str]) -> Parts:
    """Return the rows under each name that occurs: those of ``order`` first, then as they are met."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, example in enumerate(examples):
        rows[name_of(example)].append(row)
    known = [name for name in order if name in rows]
    return {name: rows[name] for name in dict.fromkeys([*known, *rows])}


def _source_of(example: Example) -> str:
    return set_of(example.origin)


def _length_of(example: Example) -> str:
    n_words = len(example.text.split())
    return next((_range_name(low, high) for low, high in _LENGTHS if n_words <= high), _LONGER)


def _range_name(low: int, high: int) -> str:
    return f"{low}-{high} words"


def _month_of(example: Example) -> str:
    found = _MONTH.match(example.date or "")
    return f"{found[1]}-{int(found[2]):02}" if found else UNDATED
