"""Changes to a text that leave its label as it is: the mechanical ones among the behavioural suites.

Every function takes a text and returns a text. What is drawn at random is drawn from the text alone, so a text always
comes back changed in the same way, whatever stands beside it; a text with nothing to change comes back as it was.
"""

import hashlib
import random
import re
from collections.abc import Callable
from typing import Final

Perturbation = Callable[[str], str]

# One misspelt word in about eight: a hurried post, still read without effort.
_WORDS_A_TYPO: Final = 8
_LOOKALIKE_SHARE: Final = 0.3
# Inner letters only, and never in words with a capital: a name misspelt may be another name.
_TYPO_WORD: Final = re.compile(r"(?<![\w'’ʼ-])[a-zа-яёіїєґ]{5,}(?![\w'’ʼ-])")
_CYRILLIC_WORD: Final = re.compile(r"[Ѐ-ӿ]{3,}")
_LATIN_WORD: Final = re.compile(r"[A-Za-z]{3,}")
_TO_LATIN: Final = str.maketrans("аеорсхіАЕОРСХІВКМНТ", "aeopcxiAEOPCXIBKMHT")
_TO_CYRILLIC: Final = str.maketrans("aeopcxiAEOPCXIBKMHT", "аеорсхіАЕОРСХІВКМНТ")
# A label may hang on a colon, a quotation mark or a question mark, so those stay.
_PUNCTUATION: Final = re.compile(r"(?<!\d)[,;]|[,;](?!\d)|[()…!]|\.$")
_SPACED_DASH: Final = re.compile(r"\s[—–-]\s")
_QUOTED: Final = re.compile(r"\"(?P<straight>[^\"“”«»]+)\"|“(?P<curly>[^“”]+)”|«(?P<angled>[^«»]+)»")
_APOSTROPHES: Final = str.maketrans("'’ʼ", "’ʼ'")
_DASHES: Final = ("- ", "— ")


def misspell(text: str) -> str:
    """Return the text with about every eighth word misspelt: two letters exchanged, one dropped or one doubled."""
    rng = _random(text)
    words = list(_TYPO_WORD.finditer(text))
    chosen = rng.sample(words, min(len(words), max(1, round(len(text.split()) / _WORDS_A_TYPO))))
    for match in sorted(chosen, key=lambda found: -found.start()):
        text = text[: match.start()] + _misspell_word(match.group(), rng) + text[match.end() :]
    return text


def _misspell_word(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 2)
    kind = rng.choice(("exchange", "drop", "double"))
    if kind == "exchange" and word[at] != word[at + 1]:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == "drop" else word[: at + 1] + word[at:]


def disguise_letters(text: str) -> str:
    """Return the text with some letters of its main script exchanged for letters of another that look the same."""
    rng = _random(text)
    is_cyrillic = len(re.findall(r"[Ѐ-ӿ]", text)) > len(re.findall(r"[A-Za-z]", text))
    words, double = (_CYRILLIC_WORD, _TO_LATIN) if is_cyrillic else (_LATIN_WORD, _TO_CYRILLIC)

    def disguise(match: re.Match[str]) -> str:
        return "".join(c.translate(double) if rng.random() < _LOOKALIKE_SHARE else c for c in match.group())

    return words.sub(disguise, text)


def shout(text: str) -> str:
    """Return the text in capitals."""
    return text.upper()


def drop_punctuation(text: str) -> str:
    """Return the text without commas, semicolons, brackets, dashes between words, and marks that end a sentence.

    Question marks, colons and quotation marks stay, and so does what stands inside a number.
    """
    return " ".join(_SPACED_DASH.sub(" ", _PUNCTUATION.sub("", text)).split())


def exchange_quotes(text: str) -> str:
    """Return the text with its quotation marks in the next of the styles: straight, curly, guillemets, straight."""

    def restyle(match: re.Match[str]) -> str:
        if match["straight"] is not None:
            return f"“{match['straight']}”"
        return f"«{match['curly']}»" if match["curly"] is not None else f'"{match["angled"]}"'

    return _QUOTED.sub(restyle, text)


def respell_yo_and_apostrophe(text: str) -> str:
    """Return the text with ё as е, and each apostrophe as the next of U+0027, U+2019 and U+02BC."""
    return text.replace("ё", "е").replace("Ё", "Е").translate(_APOSTROPHES)


def lead_with_dash(text: str) -> str:
    """Return the text as an item of a list, after a hyphen or a dash."""
    return _random(text).choice(_DASHES) + text


PERTURBATIONS: Final[dict[str, Perturbation]] = {
    "typos": misspell,
    "lookalike_letters": disguise_letters,
    "all_caps": shout,
    "no_punctuation": drop_punctuation,
    "quotes": exchange_quotes,
    "yo_and_apostrophe": respell_yo_and_apostrophe,
    "list_dash": lead_with_dash,
}


def _random(text: str) -> random.Random:
    return random.Random(hashlib.sha256(text.encode()).digest())
