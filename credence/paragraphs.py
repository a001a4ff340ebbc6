"""Lines of a pasted text to blocks: which line breaks end a statement, and which only wrap a paragraph."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from credence.normalise import is_invisible

_BREAK: Final = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_BULLET: Final = re.compile(r"[•▪●◦‣∙·■□►▶➤✔✅☑➡→*+–—-]\ufe0f?\s|\d{1,3}[.)]\s|[a-zа-яіїєґ]\)\s")
_DASH_AND_LETTER: Final = re.compile(r"[–—-]\s+([^\W\d_])")
_LINK: Final = re.compile(r"https?://|www\.|t\.me/")
_REST: Final = re.compile(r"[,;:?!)»]|\.(?!\.)")
_OPENING: Final = "«\"“„'(["
_CLOSING: Final = "»\"”“'’)]\ufe0f"
_STOPS: Final = tuple(".!?…‼⁉❗❓:;")

# Widths at which people and programs wrap plain text; a shorter line is a headline or an item of a list.
_WRAP_CHARS: Final = range(50, 121)
_MIN_RUNNING_CHARS: Final = 30
# As much of a line as any rule looks at: a first word, or a bullet and its first letter.
_HEAD_CHARS: Final = 60

Bounds = tuple[int, int]


def split_blocks(text: str) -> Iterator[Bounds]:
    """Yield the start and end of each run of lines that is read as one flow of sentences, in order.

    A blank line always ends a block. A single line break does not where the next line goes on in lower case, or where
    the paragraph is hard-wrapped: each line ends where the first word of the next would no longer have fitted. Blocks
    have no outer whitespace or zero-width characters and hold something visible.
    """
    for paragraph in _paragraphs(text):
        wrap_chars = _wrap_chars(text, paragraph)
        start = paragraph[0][0]
        for line, following in pairwise(paragraph):
            if not _goes_on(text, line, following, wrap_chars):
                yield start, line[1]
                start = following[0]
        yield start, paragraph[-1][1]


def trim(text: str, start: int, end: int) -> Bounds | None:
    """Return the bounds without outer whitespace and zero-width characters, or ``None`` if nothing visible is left."""
    while start < end and _is_blank(text[start]):
        start += 1
    while start < end and _is_blank(text[end - 1]):
        end -= 1
    if all(char.isspace() or is_invisible(char) for char in text[start:end]):
        return None
    return start, end


def _is_blank(char: str) -> bool:
    # The joiner and the emoji style belong to the emoji beside them.
    return char.isspace() or (is_invisible(char) and char not in "\u200d\ufe0e\ufe0f" and char < "\U000e0000")


def _paragraphs(text: str) -> Iterator[list[Bounds]]:
    lines: list[Bounds] = []
    start = 0
    for line_break in [*_BREAK.finditer(text), None]:
        end = line_break.start() if line_break else len(text)
        bounds = trim(text, start, end)
        if bounds:
            lines.append(bounds)
        if lines and (not bounds or (line_break and line_break.group() == "\u2029")):
            yield lines
            lines = []
        start = line_break.end() if line_break else end
    if lines:
        yield lines


def _goes_on(text: str, line: Bounds, following: Bounds, wrap_chars: int | None) -> bool:
    last = text[line[0] : line[1]][-_HEAD_CHARS:].rstrip(_CLOSING)[-1:]
    head = text[following[0] : following[1]][:_HEAD_CHARS]
    if bullet := _BULLET.match(head):
        spoken = _DASH_AND_LETTER.match(head)
        return spoken is not None and spoken.group(1).islower() and last not in _STOPS and bullet.start() == 0
    # Formatting that was pasted as line breaks leaves the rest of a sentence to start with its punctuation.
    if _REST.match(head) or (wrap_chars is not None and _is_full(text, line, following, wrap_chars)):
        return True
    if last in _STOPS or _LINK.match(head) or not head.lstrip(_OPENING)[:1].islower():
        return False
    # Where nothing is written with a capital, a short line may as well be a whole message.
    is_running = line[1] - line[0] >= _MIN_RUNNING_CHARS or last in (",", "-", "–", "—")
    return is_running or not text[line[0] : line[1]].islower()


def _wrap_chars(text: str, paragraph: list[Bounds]) -> int | None:
    """Return the width that a paragraph is wrapped at, or ``None`` where nothing shows that it is wrapped."""
    width = max(end - start for start, end in paragraph)
    if width not in _WRAP_CHARS:
        return None
    for line, following in pairwise(paragraph):
        if text[following[0]].islower() and _is_full(text, line, following, width):
            return width
    return None


def _is_full(text: str, line: Bounds, following: Bounds, width: int) -> bool:
    head = text[following[0] : following[1]][: width + 1].split(None, 1)[0]
    return line[1] - line[0] + 1 + len(head) > width
