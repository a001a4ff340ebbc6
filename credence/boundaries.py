"""Inside a block: where a sentence may end, and whether it does."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from credence.words import (
    ENDING_BEFORE_CAPITAL,
    ENDING_BEFORE_OPENER,
    MEASURES,
    NEVER_ENDING,
    NEVER_ENDING_BEFORE_NUMBER,
    OPENERS,
    OPENING_PREPOSITIONS,
    YEARS,
)

_STOP: Final = ".!?…‼⁇⁈⁉❗❓。！？"
_EMOJI: Final = "\u2190-\u2bff\u3030\U0001f000-\U0001faff"
_PART_OF_EMOJI: Final = "\u200d\u20e3\ufe0e\ufe0f"
# These call attention to what follows; any other emoji closes what went before.
_ANNOUNCING: Final = "❗‼⁉⚡🔴🟥🔺▪▫➡👉📌🚨🔔→"
_CANDIDATE: Final = re.compile(
    rf"(?<![{_STOP}])(?P<stop>[{_STOP}][{_STOP}\ufe0e\ufe0f]{{0,40}}+)(?P<closing>[\"'»”“’)\]]*+)"
    rf"(?P<tail>(?:[{_EMOJI}][{_EMOJI}{_PART_OF_EMOJI}]*+)?+"
    rf"(?:\s++(?:(?:https?://|www\.|t\.me/|[@\#])\S++|(?![{_ANNOUNCING}])[{_EMOJI}][{_EMOJI}{_PART_OF_EMOJI}]*+(?=\s)))*+)"
    r"(?:\s++|\Z|(?<=[^\W\d_]{3}[.!?])(?=[A-ZА-ЯІЇЄҐЁ][a-zа-яіїєґё'’]{1,30}\s))"
)
_QUOTES: Final = re.compile(r"[«»„“”\"]")
_CLOSERS: Final = {"«": "»", "„": "“”", "“": "”", '"': '"'}
_BRACKETS: Final = re.compile(r"[()]")
_SPEAKER: Final = re.compile(r"[.!?…]?\s*(?:,|[–—-])")
_DASH: Final = re.compile(r"[–—-]\s*")
_NUMBER: Final = re.compile(r"[№#]?\d\S*|[IVXLCІХ]+")
_INITIALS: Final = re.compile(r"[^\W\d_a-zа-яёіїєґ](?:\.[^\W\d_a-zа-яёіїєґ])*")
_SPEAKER_WITHIN: Final = re.compile(r"[,.!?…]\s*[–—]\s+[a-zа-яёіїєґ]")
_FIRST_CHAR: Final = re.compile(r"[^\W_]")
_FIRST_WORD: Final = re.compile(r"[^\W\d_]+(?P<stop>\.)?")
_MAX_QUOTE_CHARS: Final = 400
_MAX_BRACKET_CHARS: Final = 200
_MAX_ATTRIBUTION_WORDS: Final = 3
_MAX_OPENING_WORDS: Final = 6
_NEAR_CHARS: Final = 80


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a sentence may end: ``before`` it the words so far, ``after`` it what comes next, both cut short.

    Within the block, ``stop_char`` is where its stop and closing quotes end, ``end_char`` where the sentence would end
    (with its emoji and links) and ``next_char`` where the next would start.
    """

    stop_char: int
    end_char: int
    next_char: int
    stop: str
    closing: str
    is_spaced: bool
    is_protected: bool
    before: str
    after: str


def find_candidates(block: str) -> Iterator[Candidate]:
    """Yield, in order, each place in a block where a sentence may end."""
    quotes = list(_quoted_spans(block))
    brackets = list(_bracketed_spans(block))
    for match in _CANDIDATE.finditer(block):
        if match.end() >= len(block):
            return
        position = match.end("closing") - 1
        yield Candidate(
            stop_char=match.end("closing"),
            end_char=match.end("tail"),
            next_char=match.end(),
            stop=match.group("stop"),
            closing=match.group("closing"),
            is_spaced=match.end() > match.end("tail"),
            is_protected=_is_inside(position, quotes) or _is_inside(position, brackets),
            before=block[max(0, match.start() - _NEAR_CHARS) : match.start()],
            after=block[match.end() : match.end() + _NEAR_CHARS],
        )


def ends_sentence(candidate: Candidate, statement: str, *, is_lower_text: bool) -> bool | None:
    """Return whether the statement so far ends at the candidate, or ``None`` where the rules cannot tell.

    ``statement`` is the text from the last boundary to the stop, cut to its first part; ``is_lower_text`` says that
    the block has no capitals, so that they cannot mark where a sentence starts.
    """
    first = _FIRST_CHAR.search(candidate.after)
    if candidate.is_protected or first is None or not _FIRST_CHAR.search(statement):
        return False
    if dash := _DASH.match(candidate.after):
        if not _ends_before_dash(candidate, statement, candidate.after[dash.end() :]):
            return False
    elif first.group().islower() and not is_lower_text:
        return False
    token = candidate.before.split()[-1].lstrip("«\"“„'([—–-") if candidate.before.strip() else ""
    if not candidate.is_spaced:
        return not re.search(r"[/@]|www", token) and (candidate.stop != "." or token[:1].islower())
    if candidate.stop.rstrip("\ufe0e\ufe0f") != "." or not token:
        return True
    return _ends_after_token(token, candidate, statement, first.group())


def _ends_before_dash(candidate: Candidate, statement: str, after_dash: str) -> bool:
    letter = _FIRST_CHAR.search(after_dash)
    if letter is None or letter.group().islower() or set(candidate.closing) & set('»"”“'):
        return False
    # A short tail after a dash names who spoke; in a dialogue it is the next line.
    is_dialogue = _DASH.match(statement) is not None
    return is_dialogue or len(candidate.after) == _NEAR_CHARS or len(after_dash.split()) > _MAX_ATTRIBUTION_WORDS


def _ends_after_token(token: str, candidate: Candidate, statement: str, first: str) -> bool | None:
    words = candidate.before.split()
    previous = words[-2] if len(words) > 1 else ""
    opener = _FIRST_WORD.match(candidate.after.lstrip("«\"“„'(["))
    is_opener = opener is not None and opener.group().lower() in OPENERS
    word = token.casefold()
    if word in ENDING_BEFORE_OPENER:
        return is_opener
    if token[0].isdigit() or (len(token) > 1 and _NUMBER.fullmatch(token)):
        return len(statement.split()) > 1
    if _INITIALS.fullmatch(token):
        return is_opener and previous != "" and not previous.endswith(".")
    if word in YEARS and _NUMBER.match(previous):
        return not _opens_with_date(statement)
    if word in MEASURES:
        return _NUMBER.match(previous) is not None and not first.isdigit()
    if word in ENDING_BEFORE_CAPITAL or (word in ("д", "п") and previous.lower() in ("т.", "и")):
        return True
    if word in NEVER_ENDING or (len(token) == 1 and token.isalpha()):
        return False
    if word in NEVER_ENDING_BEFORE_NUMBER and first.isdigit():
        return False
    if len(token) > 4 and "." not in token:
        return True
    return True if is_opener else None


def _opens_with_date(statement: str) -> bool:
    words = statement.lstrip("«\"“„'([—–- ").split()
    return len(words) <= _MAX_OPENING_WORDS and words[0].lower() in OPENING_PREPOSITIONS


def _is_inside(position: int, spans: list[tuple[int, int]]) -> bool:
    index = bisect_left(spans, position, key=lambda span: span[0]) - 1
    return index >= 0 and position < spans[index][1]


def _quoted_spans(block: str) -> Iterator[tuple[int, int]]:
    """Yield the quotations that are one statement with their speaker."""
    opened: int | None = None
    for match in _QUOTES.finditer(block):
        position, quote = match.start(), match.group()
        if opened is not None and position - opened > _MAX_QUOTE_CHARS:
            opened = None
        if opened is None:
            opened = position if quote in _CLOSERS and _opens(block, position) else None
        elif quote in _CLOSERS[block[opened]]:
            if _has_speaker(block, opened, position):
                yield opened, position
            opened = None


def _opens(block: str, position: int) -> bool:
    before, after = block[max(0, position - 1) : position], block[position + 1 : position + 2]
    return block[position] != '"' or ((not before or not before.isalnum()) and not after.isspace())


def _has_speaker(block: str, opened: int, closed: int) -> bool:
    after = block[closed + 1 : closed + 1 + _NEAR_CHARS]
    if block[max(0, opened - 3) : opened].rstrip().endswith((":", ",")) or block[closed - 1] == ",":
        return True
    if _SPEAKER_WITHIN.search(block, opened, closed):
        return True
    return _SPEAKER.match(after) is not None or after.lstrip()[:1].islower()


def _bracketed_spans(block: str) -> Iterator[tuple[int, int]]:
    opened: int | None = None
    for match in _BRACKETS.finditer(block):
        if match.group() == "(":
            opened = match.start()
        elif opened is not None:
            if match.start() - opened <= _MAX_BRACKET_CHARS:
                yield opened, match.start()
            opened = None
