"""Statements: hand-made snippets with exact boundaries, and what holds for any text at all."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credence.errors import UnknownLanguageError
from credence.normalise import is_invisible
from credence.sentences import Span, split_statements

LANGUAGES = ("en", "uk", "ru")
PARTS = (
    *(
        "Mr.",
        "U.S.",
        " В. ",
        "2014",
        "г.",
        "р.",
        "т. д.",
        "слово",
        "Word",
        "שלום",
        "🇺🇦",
        "❗️",
        "👩‍🚀",
        "\u200b",
        "\ufeff",
    ),
    *(
        ". ",
        "! ",
        "?!",
        "…",
        " — ",
        "«",
        "»",
        '"',
        "“",
        "”",
        "(",
        ")",
        "- ",
        "1. ",
        "\n",
        "\r\n",
        "\n\n",
        "\x85",
        "\u2029",
    ),
    *("https://example.org/a.B", "@name", "<b>", "\x00", "\ud800", "e\u0301", "  "),
)
HOSTILE_TEXTS = st.lists(st.sampled_from(PARTS), max_size=25).map("".join) | st.text(max_size=80)


def read_snippets(language: str) -> list[tuple[str, str]]:
    lines = (Path(__file__).parent / "snippets" / f"{language}.txt").read_text(encoding="utf-8").splitlines()
    return [(language, line.replace("\\n", "\n").replace("\\r", "\r")) for line in lines]


SNIPPETS = [snippet for language in LANGUAGES for snippet in read_snippets(language)]


def statements(text: str, language: str | None = None) -> list[str]:
    return [text[span.start_char : span.end_char] for span in split_statements(text, language=language)]


@pytest.mark.parametrize(("language", "marked"), SNIPPETS)
def test_a_snippet_is_split_at_its_marks_and_nowhere_else(language: str, marked: str) -> None:
    expected = [part.strip() for part in marked.split("|")]
    assert statements(marked.replace("|", ""), language) == expected


@pytest.mark.parametrize(("language", "marked"), SNIPPETS)
def test_a_snippet_is_split_the_same_when_its_language_is_not_given(language: str, marked: str) -> None:
    text = marked.replace("|", "")
    assert split_statements(text) == split_statements(text, language=language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_enough_snippets(language: str) -> None:
    assert len(read_snippets(language)) >= 25


@settings(deadline=None)
@given(HOSTILE_TEXTS, st.sampled_from((None, *LANGUAGES)))
@example("\ufeffWar.", None)
@example("❗️", None)
def test_every_visible_character_is_in_exactly_one_statement(text: str, language: str | None) -> None:
    covered: list[int] = []
    for span in split_statements(text, language=language):
        covered.extend(range(span.start_char, span.end_char))
    assert covered == sorted(set(covered))
    missed = set(range(len(text))) - set(covered)
    assert all(text[index].isspace() or is_invisible(text[index]) for index in missed)


@settings(deadline=None)
@given(HOSTILE_TEXTS)
def test_statements_are_visible_and_have_no_outer_whitespace(text: str) -> None:
    for statement in statements(text):
        assert statement == statement.strip()
        assert not all(char.isspace() or is_invisible(char) for char in statement)


@settings(deadline=None)
@given(HOSTILE_TEXTS, HOSTILE_TEXTS)
def test_a_blank_line_parts_texts_that_never_see_each_other(first: str, second: str) -> None:
    apart = statements(first, "uk") + statements(second, "uk")
    assert statements(f"{first}\n\n{second}", "uk") == apart


@settings(deadline=None)
@given(HOSTILE_TEXTS)
def test_windows_line_ends_change_no_statement(text: str) -> None:
    unix = text.replace("\r\n", "\n").replace("\r", "")
    windows = [statement.replace("\r\n", "\n") for statement in statements(unix.replace("\n", "\r\n"), "ru")]
    assert windows == statements(unix, "ru")


@pytest.mark.parametrize("text", ["", " \r\n\t", "\ufeff", "\u200b\n\n\u200b", "\u202e \u2069"])
def test_a_text_with_nothing_visible_has_no_statements(text: str) -> None:
    assert split_statements(text) == []


def test_a_byte_order_mark_is_in_no_statement() -> None:
    assert split_statements("\ufeffWar. Peace.") == [Span(1, 5), Span(6, 12)]


def test_a_text_in_another_language_is_split_all_the_same() -> None:
    assert len(split_statements("Der Krieg dauert an. Niemand weiß warum.")) == 2
    assert len(split_statements("الحرب مستمرة. لا أحد يعرف لماذا.")) == 2


def test_a_text_of_two_languages_is_split_paragraph_by_paragraph() -> None:
    text = (
        "He met Gen. Hale in St. Petersburg on Monday. They spoke.\n\nУ м. Київ прибув ген. Залужний. Розмова тривала."
    )
    assert len(split_statements(text)) == 4


def test_a_long_quotation_is_split_inside() -> None:
    short, long = ["Ми йдемо далі. " * count for count in (3, 60)]
    assert len(statements(f"«{short.strip()}», — сказав він.", "uk")) == 1
    assert len(statements(f"«{long.strip()}», — сказав він.", "uk")) == 60


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "." * 1_000_000,
        "\n" * 100_000,
        "a. " * 33_333,
        "«" * 100_000,
        "x" + "\ufe0f!" * 50_000,
        "! @a" * 25_000,
        "Link. https://example.org/a.b " * 3_000,
    ],
    ids=["one_word", "stops", "newlines", "initials", "quotes", "emoji_styles", "names", "links"],
)
def test_a_hostile_text_is_split_without_error(text: str) -> None:
    covered = sum(span.end_char - span.start_char for span in split_statements(text))
    assert covered <= len(text)


@pytest.mark.parametrize("code", ["pl", "EN", ""])
def test_an_unknown_language_is_refused(code: str) -> None:
    with pytest.raises(UnknownLanguageError):
        split_statements("War.", language=code)
