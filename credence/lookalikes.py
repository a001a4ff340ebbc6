"""Letters of one script that pass for letters of another, and which script a word is meant in."""

import re
import unicodedata
from typing import Final

# Column by column the same shape. The Latin row is what a Cyrillic text is forged with, and the other way round.
_LATIN: Final = "aeopcyxikABEKMHOPCTYXI"
_CYRILLIC: Final = "аеорсухікАВЕКМНОРСТУХІ"
# Cyrillic letters foreign to Ukrainian and Russian, hence only ever a disguise beside Latin ones.
_RARE_CYRILLIC: Final = dict(zip("ѕјһԁԛԝЅЈԌԚԜ", "sjhdqwSJGQW", strict=True))
_GREEK: Final = dict(zip("οΟΑΒΕΗΙΚΜΝΡΤΥΧΖ", "oOABEHIKMNPTYXZ", strict=True))

_TO_CYRILLIC: Final = dict(zip(_LATIN, _CYRILLIC, strict=True))
_TO_LATIN: Final = dict(zip(_CYRILLIC, _LATIN, strict=True)) | _RARE_CYRILLIC
_STRESS_MARKS: Final = str.maketrans("", "", "\u0300\u0301")

# A word is checked between spaces, hyphens and digits: "Су-35", "Covid-19" and "IT-армія" are parts of one script each.
_WORD: Final = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f]|['’ʼ`](?=[^\W\d_]))*")
_FOREIGN: Final = re.compile(r"[Ͱ-ӿԀ-ԯ]")
_NAME_WITH_ENDING: Final = re.compile(r"[A-Z]{2,}['’]?[а-яёіїєґ]+")


def unify_scripts(text: str) -> str:
    """Return the text with each look-alike letter in the script of its word; the length never changes.

    A word is changed only where its tell-tale letters are all of one script and all its other letters have a double
    there. Where no letter tells, the script of most of its letters decides, then the script of most of the text.
    """
    if not _FOREIGN.search(text):
        return text
    is_text_cyrillic = _count(text, "CYRILLIC") >= _count(text, "LATIN")
    return _WORD.sub(lambda match: _unify_word(match.group(), is_text_cyrillic), text)


def _unify_word(word: str, is_text_cyrillic: bool) -> str:
    if len({_script(char) for char in word} - {""}) < 2 or _NAME_WITH_ENDING.fullmatch(word):
        return word
    tells_cyrillic = any(_script(char) == "CYRILLIC" and _double(char, "LATIN") is None for char in word)
    tells_latin = any(_script(char) == "LATIN" and _double(char, "CYRILLIC") is None for char in word)
    if tells_cyrillic and tells_latin:
        return word
    if tells_cyrillic or tells_latin:
        target = "CYRILLIC" if tells_cyrillic else "LATIN"
    else:
        balance = _count(word, "CYRILLIC") - _count(word, "LATIN")
        target = "CYRILLIC" if balance > 0 or (balance == 0 and is_text_cyrillic) else "LATIN"
    doubles = [char if _script(char) in ("", target) else _double(char, target) for char in word]
    return word if None in doubles else "".join(char for char in doubles if char is not None)


def _script(char: str) -> str:
    if char.isascii():
        return "LATIN" if char.isalpha() else ""
    if "Ѐ" <= char <= "ԯ":
        return "CYRILLIC"
    if "À" <= char <= "ɏ" or "Ḁ" <= char <= "ỿ":
        return "LATIN"
    return "GREEK" if char in _GREEK else ("OTHER" if char.isalpha() else "")


def _count(text: str, script: str) -> int:
    return sum(_script(char) == script for char in text)


def _double(char: str, target: str) -> str | None:
    """Return the letter of the target script that looks the same, marks included, or ``None``."""
    if char in _GREEK:
        return _GREEK[char] if target == "LATIN" else _TO_CYRILLIC.get(_GREEK[char])
    apart = unicodedata.normalize("NFD", char)
    base, marks = apart[0], apart[1:]
    double = (_TO_CYRILLIC if target == "CYRILLIC" else _TO_LATIN).get(base)
    if double is None:
        return None
    if target == "CYRILLIC":
        marks = marks.translate(_STRESS_MARKS)
    composed = unicodedata.normalize("NFC", double + marks)
    return composed if len(composed) == 1 else None
