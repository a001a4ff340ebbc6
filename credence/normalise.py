"""The normal form of a text, with a map from each of its characters back to the text as sent."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from credence.errors import InvalidTextError
from credence.lookalikes import unify_scripts

# Default-ignorable letters and marks that carry no Cf category, so the category alone would keep them.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u3164\uffa0\u17b4\u17b5") | {chr(c) for c in range(0xFE00, 0xFE10)}
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOINER: Final = "\u200d"
_EMOJI_STYLE: Final = ("\ufe0e", "\ufe0f")
_STRESS_MARKS: Final = frozenset("\u0300\u0301")
_CYRILLIC_VOWELS: Final = frozenset("аеиоуыэюяіїєАЕИОУЫЭЮЯІЇЄ")
# More marks than any script needs are an attack, and sorting them is quadratic.
_MAX_MARKS: Final = 8

_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_LETTER: Final = r"[^\W\d_]"
_SPACED_OUT: Final = re.compile(
    rf"(?<![\w.\-]){_LETTER}(?:([ .\-]){_LETTER}(?!\w))(?:\1{_LETTER}(?!\w)){{2,}}+(?![\-])"
)
_MAX_INITIALISM: Final = 6
_ONE_LETTER_WORDS: Final = frozenset("aioавзийікосуєя")
_MAX_ONE_LETTER_WORDS: Final = 5
_LIST_MARKS: Final = frozenset("-–—•·▪●►*")
# Below this a line of capitals is as likely a row of abbreviations.
_MIN_SHOUTED_LETTERS: Final = 12
_SHOUTED_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Normalised:
    """A text in normal form.

    ``flags`` names what was undone: ``zero_width``, ``bidi``, ``lookalike``, ``spaced_out``, ``compatibility_forms``,
    ``list_mark``, ``capitals``.
    ``offsets[i]`` and ``ends[i]`` bound the characters of the original that made ``text[i]``; both have the length of
    ``text`` and never decrease.
    """

    text: str
    flags: frozenset[str]
    offsets: tuple[int, ...]
    ends: tuple[int, ...]

    def original_span(self, start_char: int, end_char: int) -> tuple[int, int]:
        """Return the start and end in the original of a non-empty span of the normal form."""
        if not 0 <= start_char < end_char <= len(self.text):
            raise ValueError(f"No span {start_char}:{end_char} in a text of {len(self.text)} characters.")
        return self.offsets[start_char], self.ends[end_char - 1]


@dataclass(frozen=True, slots=True)
class _Piece:
    """One character of the normal form in the making, and the part of the original it stands for."""

    char: str
    start: int
    end: int


def check_text(text: str, *, max_chars: int | None = None) -> None:
    """Raise ``InvalidTextError`` where a text cannot be scored.

    Kinds, in the order they are looked for: ``too_long``, ``control_character`` (any Cc except tab, line breaks and
    U+0085), ``lone_surrogate``, ``empty`` (nothing but whitespace and invisible characters). Positions count from 0.
    """
    if max_chars is not None and len(text) > max_chars:
        found = f"The text has {len(text)} characters and at most {max_chars} are allowed"
        raise InvalidTextError("too_long", f"{found}: shorten or split it.")
    if control := _CONTROL.search(text):
        found = f"The text has the control character U+{ord(control.group()):04X} at position {control.start()}"
        raise InvalidTextError("control_character", f"{found}: remove it.")
    if surrogate := _SURROGATE.search(text):
        found = f"The text has half a surrogate pair at position {surrogate.start()}"
        raise InvalidTextError("lone_surrogate", f"{found}: decode it again, as UTF-8 or UTF-16.")
    if all(char.isspace() or is_invisible(char) for char in text):
        raise InvalidTextError("empty", "The text has no visible characters: send at least one word.")


def is_invisible(char: str) -> bool:
    """Return whether a character takes no room of its own: zero-width, BOM, soft hyphen, bidi and other controls."""
    return unicodedata.category(char) == "Cf" or char in _INVISIBLE


def normalise_text(text: str) -> Normalised:
    """Return the normal form of a text; ordinary text comes back unchanged but for whitespace.

    Removes zero-width characters, soft hyphens, bidi controls and stress marks; folds fullwidth, mathematical and
    circled letters (NFKC of that character) and composes marks (NFC); turns look-alike letters into the word's own
    script; joins s p a c e d out words; makes each run of whitespace one space; takes the mark of a list item from the
    start; puts a text that is all capitals into small letters, its first excepted. Idempotent; raises nothing.
    """
    flags: set[str] = set()
    pieces = _compose(_drop_invisible(_fold_forms(text, flags), flags))
    # Once before and once after: two spaces part spaced-out words, and only the first look can see them.
    pieces = _join_spaced_out(pieces, flags)
    pieces = _join_spaced_out(_collapse_whitespace(pieces), flags)
    plain = "".join(piece.char for piece in pieces)
    unified = unify_scripts(plain)
    if unified != plain:
        flags.add("lookalike")
        changed = (_Piece(char, piece.start, piece.end) for char, piece in zip(unified, pieces, strict=True))
        # A letter in its own script may now take in a mark that it could not before.
        pieces = _compose(list(changed))
    pieces = _lower_capitals(_drop_list_mark(pieces, flags), flags)
    final = "".join(piece.char for piece in pieces)
    offsets = tuple(piece.start for piece in pieces)
    return Normalised(final, frozenset(flags), offsets, tuple(piece.end for piece in pieces))


def _fold_forms(text: str, flags: set[str]) -> list[_Piece]:
    pieces: list[_Piece] = []
    for position, char in enumerate(text):
        plain = unicodedata.normalize("NFKC", char) if _is_folded_form(char) else char
        if plain != char:
            flags.add("compatibility_forms")
        pieces.extend(_Piece(letter, position, position + 1) for letter in plain)
    return pieces


def _is_folded_form(char: str) -> bool:
    # Blocks whose NFKC is the same letter in another dress. Not all of NFKC: it would rewrite №, ½, … and ™ too.
    return char >= "℀" and (
        ("！" <= char <= "～" or "𝐀" <= char <= "𝟿" or "ﬀ" <= char <= "ﬆ" or "Ⓐ" <= char <= "ⓩ" or "🄰" <= char <= "🅉")
        or (char <= "⅏" and char.isalpha())
    )


def _drop_invisible(pieces: list[_Piece], flags: set[str]) -> list[_Piece]:
    kept: list[_Piece] = []
    for index, piece in enumerate(pieces):
        char = piece.char
        if " " <= char <= "~" or not is_invisible(char):
            kept.append(piece)
            continue
        last = kept[-1].char if kept else ""
        following = pieces[index + 1].char if index + 1 < len(pieces) else ""
        if char in _EMOJI_STYLE:
            # Part of an emoji as typed, hence ordinary; after a letter it does nothing.
            if last and unicodedata.category(last)[0] in "SPN":
                kept.append(piece)
        elif char == _JOINER and (_is_emoji(last) or last in _EMOJI_STYLE) and _is_emoji(following):
            kept.append(piece)
        elif char in _BIDI:
            flags.add("bidi")
        elif not (char == "\ufeff" and index == 0):
            flags.add("zero_width")
    return kept


def _is_emoji(char: str) -> bool:
    return bool(char) and unicodedata.category(char) in ("So", "Sk")


def _compose(pieces: list[_Piece]) -> list[_Piece]:
    composed: list[_Piece] = []
    start = 0
    while start < len(pieces):
        end = start + 1
        while end < len(pieces) and unicodedata.combining(pieces[end].char):
            end += 1
        base = pieces[start].char
        if end == start + 1 and base < "\u0300":
            composed.append(pieces[start])
        else:
            marks = [piece.char for piece in pieces[start + 1 : end]]
            if base in _CYRILLIC_VOWELS:
                marks = [mark for mark in marks if mark not in _STRESS_MARKS]
            cluster = unicodedata.normalize("NFC", base + "".join(marks[:_MAX_MARKS]))
            composed.extend(_Piece(char, pieces[start].start, pieces[end - 1].end) for char in cluster)
        start = end
    return composed


def _join_spaced_out(pieces: list[_Piece], flags: set[str]) -> list[_Piece]:
    text = "".join(piece.char for piece in pieces)
    dropped: set[int] = set()
    for match in _SPACED_OUT.finditer(text):
        if _is_word_pulled_apart(match.group(), text[match.end() : match.end() + 1]):
            dropped.update(range(match.start() + 1, match.end(), 2))
    if not dropped:
        return pieces
    flags.add("spaced_out")
    return [piece for index, piece in enumerate(pieces) if index not in dropped]


def _is_word_pulled_apart(run: str, following: str) -> bool:
    letters, separator = run[::2], run[1]
    if len(set(letters.casefold())) == 1:  # a cry: "а-а-а-а"
        return False
    if separator == "." and following == ".":  # a name: "U.S.S.R."
        return not letters.isupper() or len(letters) > _MAX_INITIALISM
    is_small_talk = separator == " " and _ONE_LETTER_WORDS.issuperset(letters.casefold())  # "а я и в"
    return not is_small_talk or len(letters) > _MAX_ONE_LETTER_WORDS


def _collapse_whitespace(pieces: list[_Piece]) -> list[_Piece]:
    collapsed: list[_Piece] = []
    for piece in pieces:
        if not piece.char.isspace():
            collapsed.append(piece)
        elif collapsed and collapsed[-1].char != " ":
            collapsed.append(_Piece(" ", piece.start, piece.end))
        elif collapsed:
            collapsed[-1] = _Piece(" ", collapsed[-1].start, piece.end)
    if collapsed and collapsed[-1].char == " ":
        collapsed.pop()
    return collapsed


def _drop_list_mark(pieces: list[_Piece], flags: set[str]) -> list[_Piece]:
    start = 0
    while start + 2 < len(pieces) and pieces[start].char in _LIST_MARKS and pieces[start + 1].char == " ":
        start += 2
    if start:
        flags.add("list_mark")
    return pieces[start:]


def _lower_capitals(pieces: list[_Piece], flags: set[str]) -> list[_Piece]:
    cased = [index for index, piece in enumerate(pieces) if piece.char.lower() != piece.char.upper()]
    capitals = sum(pieces[index].char.isupper() for index in cased)
    if len(cased) < _MIN_SHOUTED_LETTERS or capitals < _SHOUTED_SHARE * len(cased):
        return pieces
    flags.add("capitals")
    first = cased[0]
    return [
        _Piece(letter, piece.start, piece.end)
        for index, piece in enumerate(pieces)
        # Not both characters that İ becomes: the dot would be taken for a mark of the next look.
        for letter in (piece.char if index == first else piece.char.lower()[:1])
    ]
