"""Language detection: the three, their neighbours, and texts in no language at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credence.errors import UnknownLanguageError
from credence.language import SUPPORTED_LANGUAGES, detect_language, require_language

ENGLISH = [
    "Zelensky meets Macron in Paris",
    "UKRAINE WILL NOT SURRENDER",
    "Xi visits Moscow",
    "NATO",
    "OK",
    "Explosions in Sumy, Poltava, Dnipro",
    "The naïve résumé of Dvořák",
    "Moscow: café blast kills blogger",
    "<p>Air raid alert in Kyiv</p> https://t.me/канал_новин #війна",
]
UKRAINIAN = [
    "Харків знову під обстрілом",
    "ЗЕЛЕНСЬКИЙ ПРИБУВ ДО ПАРИЖА",
    "Що сталося?",
    "Це брехня",
    "Дрони над Сумами",
    "Ворог наступає",
    "SpaceX запустила Starship з полігону в Техасі",
    "Речник сказав: «Мы не воюем» — і це була брехня.",
    "Ми на один день ближче до Перемоги.",
]
RUSSIAN = [
    "Харьков снова под обстрелом",
    "ЗЕЛЕНСКИЙ ПРИБЫЛ В ПАРИЖ",
    "Без комментариев",
    "Это ложь",
    "Москва отрицает",
    "Победа будет за нами",
    "Boeing 737 MAX разбился",
    "❗️Взрыв в Одессе https://t.me/news",
    "Канал «Україна» прекратил вещание, сообщили в компании.",
]
OTHER = [
    "Prezydent spotkał się w czwartek z ministrami obrony państw bałtyckich.",
    "Premier: nie ma zgody na takie warunki",
    "Kto za tym stoi?",
    "Der Krieg in der Ukraine dauert bereits drei Jahre.",
    "Selenskyj trifft Scholz in Berlin",
    "Moskau droht mit Vergeltung",
    "Прэзідэнт сустрэўся ў чацвер з міністрамі абароны.",
    "Хто за гэтым стаіць?",
    "Цэны на газ растуць і растуць",
    "Президентът се срещна в четвъртък с министрите на отбраната.",
    "Цените на газа в Европа отново растат",
    "Рат у Украјини траје већ трећу годину.",
    "Претседателот се сретна во четврток со министрите за одбрана.",
    "Қазақстан президенті бейсенбі күні министрлермен кездесті.",
    "La guerra en Ucrania dura ya tres años.",
    "La Russie nie les accusations de sabotage.",
    "Türkiye, Karadeniz'de yeni bir anlaşma istiyor.",
    "الرئيس التقى وزراء الدفاع",
    "הנשיא נפגש עם שרי הביטחון",
    "总统周四会见了国防部长",
    "Ο πρόεδρος συναντήθηκε με τους υπουργούς.",
]


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_found(text: str) -> None:
    assert detect_language(text) == "en"


@pytest.mark.parametrize("text", UKRAINIAN)
def test_ukrainian_is_found(text: str) -> None:
    assert detect_language(text) == "uk"


@pytest.mark.parametrize("text", RUSSIAN)
def test_russian_is_found(text: str) -> None:
    assert detect_language(text) == "ru"


@pytest.mark.parametrize("text", OTHER)
def test_another_language_is_none_of_the_three(text: str) -> None:
    assert detect_language(text) is None


@pytest.mark.parametrize(
    "text", ["", " \n", "123 %", "🚀🇺🇦❗️", "\x00", "\ud800", "\ufeff\u202e", "https://t.me/novyny"]
)
def test_a_text_without_words_has_no_language(text: str) -> None:
    assert detect_language(text) is None


@pytest.mark.parametrize("text", ["Росія бреше", "Россия врёт", "Russia is lying"])
def test_case_and_line_breaks_do_not_matter(text: str) -> None:
    assert detect_language(text) == detect_language(text.upper()) == detect_language(text.replace(" ", "\r\n"))


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_text_gets_a_supported_language_or_none(text: str) -> None:
    assert detect_language(text) in (*SUPPORTED_LANGUAGES, None)


def test_a_very_long_word_is_read_in_part() -> None:
    assert detect_language("ї" * 1_000_000) == "uk"


@pytest.mark.parametrize("code", SUPPORTED_LANGUAGES)
def test_supported_codes_are_accepted(code: str) -> None:
    assert require_language(code) == code


@pytest.mark.parametrize("code", ["pl", "EN", "", "<script>"])
def test_an_unknown_code_is_refused_naming_the_allowed_ones_only(code: str) -> None:
    with pytest.raises(UnknownLanguageError, match="en, uk, ru") as caught:
        require_language(code)
    assert not code or code not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["В 2024 г. в г. Туле на ул. Ленина, д. 5, построили дом.", "В 2023 г. в г. Москве открыли 5 школ."]
)
def test_abbreviations_do_not_make_a_russian_line_foreign(text: str) -> None:
    assert detect_language(text) == "ru"
