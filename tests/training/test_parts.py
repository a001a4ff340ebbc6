"""Breakdowns put every statement in exactly one part, and small parts together."""

from dataclasses import replace

import pytest

from credence.labels import OUTCOMES, Outcome
from training.corpora import Example
from training.parts import OTHER_MONTHS, OTHER_SOURCES, PARTINGS, UNDATED, by_length, by_month, by_outcome, by_source

PLAIN = Example("s", "Four words in all.", "en", Outcome.ALLEGATION, 1, 3, "dev", "c", "gold/large")


def dated(*dates: str | None) -> list[Example]:
    return [replace(PLAIN, date=date) for date in dates]


@pytest.mark.parametrize("kind", PARTINGS)
def test_every_statement_stands_in_one_part(kind: str) -> None:
    examples = [
        replace(PLAIN, language=("ru", "en", "uk")[n % 3], label=OUTCOMES[n % 4], origin=f"gold/{n % 7}", text="a " * n)
        for n in range(1, 90)
    ]
    parts = PARTINGS[kind](examples)
    assert sorted(row for rows in parts.values() for row in rows) == list(range(89))
    assert all(parts.values())


def test_outcomes_stand_in_the_order_of_the_codebook() -> None:
    examples = [replace(PLAIN, label=outcome) for outcome in reversed(OUTCOMES)]
    assert list(by_outcome(examples)) == list(map(str, OUTCOMES))


def test_small_sources_are_put_together_after_the_large() -> None:
    origins = ["gold/few", *["annotations/large"] * 6, *["gold/large"] * 6, "statements/en"]
    parts = by_source([replace(PLAIN, origin=origin) for origin in origins])
    assert {name: len(rows) for name, rows in parts.items()} == {"large": 12, OTHER_SOURCES: 2}
    assert list(parts) == ["large", OTHER_SOURCES]


@pytest.mark.parametrize(
    ("n_words", "part"),
    [
        (1, "1-3 words"),
        (4, "4-8 words"),
        (8, "4-8 words"),
        (9, "9-15 words"),
        (26, "26-75 words"),
        (76, "over 75 words"),
    ],
)
def test_length_is_counted_in_words(n_words: int, part: str) -> None:
    assert by_length([replace(PLAIN, text="word " * n_words)]) == {part: [0]}


def test_months_stand_in_order_and_rare_ones_together() -> None:
    parts = by_month(dated(*["2022-03-01, 12:39"] * 10, None, *["2016-01", *["2016/1/31"] * 10], "2020-05-05"))
    assert {name: len(rows) for name, rows in parts.items()} == {
        "2016-01": 11,
        "2022-03": 10,
        OTHER_MONTHS: 1,
        UNDATED: 1,
    }
    assert list(parts)[:3] == ["2016-01", "2022-03", OTHER_MONTHS]


@pytest.mark.parametrize("date", [None, "", "2018", "31/12/2022", "2022-13-01", "2022-031", "4 May 2021"])
def test_a_date_without_year_and_month_in_front_is_none(date: str | None) -> None:
    assert by_month(dated(date)) == {UNDATED: [0]}
