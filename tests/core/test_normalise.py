"""The normal form: what it undoes, what it leaves alone, and that every character maps back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credence.errors import InvalidTextError
from credence.normalise import check_text, normalise_text

# Drawn often enough to meet: everything that some step of the normal form looks at.
TRICKY = "aаeеoоpсxхiіIІïїйи\u0301\u0306\u0308\u200b\u200d\ufeff\u00ad\u202e\ufe0f🚀👩ﬁＡ𝐀οΑZя -.'’ \n\t\u00a01٣\ud800"
HOSTILE_TEXTS = st.text(st.sampled_from(TRICKY), max_size=40) | st.text(max_size=60)

ORDINARY = [
    "The U.S.S.R. fell in 1991; C.I.A. files (½ of them) say so…",
    "F-16s, B2B, iPhone 15™ and naïve cafés in São Tomé cost $3.50 — or №1, «maybe».",
    "And so it is: I saw a U.N. convoy, O'Brien said.",
    "Covid-19, IT-армія, Су-35 та С-300: п'ять об'єктів, м. Київ, 24.02.2022 р.",
    "Є й інші: ґанок, їжак, під’їзд, т. зв. «ДНР» і 100 грн.",
    "А я и в магазине был, и у кассы: ещё объём, подъезд, т. д.",
    "А-а-а-а! PR-щики и SMSка про TOPовый чатGPT — Zа победу?",
    "❗️ Увага ‼️ 1️⃣ 🇺🇦 👩‍🚀 👨‍👩‍👧 ⚡️",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_comes_back_unchanged(text: str) -> None:
    normalised = normalise_text(text)
    assert normalised.text == text.replace("Zа", "Za")
    assert normalised.flags <= {"lookalike"}


@pytest.mark.parametrize(
    ("text", "expected", "flags"),
    [
        ("вій\u200bна\ufeff і\u2060мир", "війна імир", {"zero_width"}),
        ("\ufeffWar", "War", set()),
        ("сол\u00adдат", "солдат", {"zero_width"}),
        ("a\u202eb\u202c \u2067c\u2069", "ab c", {"bidi"}),
        (" War \r\n\t in\u00a0Kyiv ", "War in Kyiv", set()),
        ("и\u0306 і\u0308 е\u0301", "й ї е", set()),
        ("за\u0301мок", "замок", set()),
        ("ｗａｒ 𝐖𝐚𝐫 ﬁne Ⓦ", "war War fine W", {"compatibility_forms"}),
        ("Зeлeнcький", "Зеленський", {"lookalike"}),
        ("мiсто Украïна", "місто Україна", {"lookalike"}),
        ("Рaris, Krеmlin, Zelenskу", "Paris, Kremlin, Zelensky", {"lookalike"}),
        ("стрáна", "страна", {"lookalike"}),
        ("п'ять з pокy", "п'ять з року", {"lookalike"}),
        ("trοuble", "trouble", {"lookalike"}),
        ("в о й н а", "война", {"spaced_out"}),
        ("Н Е М А Є  м и р у", "НЕМАЄ миру", {"spaced_out"}),
        ("w.a.r.s and l-i-e-s", "wars and lies", {"spaced_out"}),
        ("", "", set()),
    ],
)
def test_disguises_are_undone_and_named(text: str, expected: str, flags: set[str]) -> None:
    normalised = normalise_text(text)
    assert normalised.text == expected
    assert normalised.flags == flags


def test_words_with_tell_tale_letters_of_both_scripts_are_left_alone() -> None:
    for word in ("PRщик", "чатGPT", "деzинформация"):
        assert normalise_text(word).text == word


@given(HOSTILE_TEXTS)
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = normalise_text(text)
    twice = normalise_text(once.text)
    assert twice.text == once.text
    assert not twice.flags


@given(HOSTILE_TEXTS)
def test_offsets_never_decrease_and_stay_inside_the_original(text: str) -> None:
    normalised = normalise_text(text)
    assert len(normalised.offsets) == len(normalised.ends) == len(normalised.text)
    assert list(normalised.offsets) == sorted(normalised.offsets)
    assert list(normalised.ends) == sorted(normalised.ends)
    for start, end in zip(normalised.offsets, normalised.ends, strict=True):
        assert 0 <= start < end <= len(text)


def test_a_span_of_the_normal_form_slices_the_original() -> None:
    original = "\ufeff  За\u200bмок  з \u202eлiтерою и\u0306 в о й н а"
    normalised = normalise_text(original)
    found = {}
    for word in ("Замок", "літерою", "й", "война"):
        start = normalised.text.index(word)
        found[word] = original[slice(*normalised.original_span(start, start + len(word)))]
    assert found == {"Замок": "За\u200bмок", "літерою": "лiтерою", "й": "и\u0306", "война": "в о й н а"}


@pytest.mark.parametrize(("start", "end"), [(0, 0), (-1, 1), (2, 4), (2, 1)])
def test_a_span_outside_the_normal_form_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="No span"):
        normalise_text("war").original_span(start, end)


@pytest.mark.parametrize("text", ["", " \r\n\t\v\f\x85\u00a0", "\ufeff", "\u200b \u200d\u2060", "\u202e"])
def test_a_text_with_nothing_visible_is_empty(text: str) -> None:
    with pytest.raises(InvalidTextError, match="no visible characters") as caught:
        check_text(text)
    assert caught.value.kind == "empty"


@pytest.mark.parametrize(
    ("text", "kind", "parts"),
    [
        ("secret\x00word", "control_character", ["U+0000", "position 6"]),
        ("secret \x1b[31m", "control_character", ["U+001B", "position 7"]),
        ("\x9f", "control_character", ["U+009F", "position 0"]),
        ("secret \ud83d", "lone_surrogate", ["position 7"]),
        ("\udc00", "lone_surrogate", ["position 0"]),
        ("secret" * 4, "too_long", ["24", "20"]),
    ],
)
def test_a_bad_text_is_refused_without_being_repeated(text: str, kind: str, parts: list[str]) -> None:
    with pytest.raises(InvalidTextError) as caught:
        check_text(text, max_chars=20)
    assert caught.value.kind == kind
    assert all(part in caught.value.message for part in parts)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["War.", "a\tb\r\nc\x0b\x0c\x85", "🚀", "שלום", "." * 20, "<b>hi</b>"])
def test_a_text_that_can_be_read_passes(text: str) -> None:
    check_text(text, max_chars=20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("THE MAYOR OF KHARKIV RESIGNED ON FRIDAY", "The mayor of kharkiv resigned on friday"),
        ("«ЕКСПЕРТИ» ПРОГНОЗУЮТЬ ЗРОСТАННЯ ЦІН", "«Експерти» прогнозують зростання цін"),
        ("ЗСУ та СБУ у Києві", "ЗСУ та СБУ у Києві"),
        ("СРОЧНО: в Риге открыли мост", "СРОЧНО: в Риге открыли мост"),
        ("NATO, ЄС", "NATO, ЄС"),
    ],
)
def test_a_line_of_capitals_is_put_into_small_letters_and_an_abbreviation_is_not(text: str, expected: str) -> None:
    assert normalise_text(text).text == expected


@pytest.mark.parametrize("mark", ["- ", "— ", "• ", "– - "])
def test_the_mark_of_a_list_item_goes_and_offsets_stay(mark: str) -> None:
    normal = normalise_text(mark + "the bridge is open")
    assert normal.text == "the bridge is open"
    assert normal.original_span(0, 3) == (len(mark), len(mark) + 3)


def test_a_dash_that_marks_no_item_stays() -> None:
    assert normalise_text("-5 degrees in Sumy").text == "-5 degrees in Sumy"
    assert normalise_text("—").text == "—"
