"""Text to statements, with offsets into the text as sent. Pure functions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sentencex
import tokenize_uk

from credence.boundaries import ends_sentence, find_candidates
from credence.language import detect_language, require_language
from credence.paragraphs import split_blocks, trim

_CYRILLIC: Final = re.compile(r"[Ѐ-ԯ]")
_UNSAFE: Final = re.compile(r"[\s\ud800-\udfff]")
# sentencex is quadratic in the unmatched quotes of one call.
_PIECE_CHARS: Final = 2000
# A block shorter than this says less about its language than the text around it.
_OWN_LANGUAGE_CHARS: Final = 60
_STATEMENT_HEAD_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Span:
    """A statement: ``text[start_char:end_char]``, never empty, without outer whitespace."""

    start_char: int
    end_char: int


def split_statements(text: str, *, language: str | None = None) -> list[Span]:
    """Split a text into statements, in reading order, each visible character in exactly one of them.

    Own rules decide where a full stop, a quotation or a line break ends a statement; where they cannot tell, sentencex
    (en, ru) or tokenize-uk (uk) does. ``language`` null means that each paragraph is asked for its own. A text in no
    supported language is split all the same. Time is linear in the length. Raises ``UnknownLanguageError``.
    """
    around = require_language(language) if language is not None else detect_language(text)
    spans: list[Span] = []
    for start, end in split_blocks(text):
        block = text[start:end]
        own = detect_language(block) if language is None and len(block) >= _OWN_LANGUAGE_CHARS else around
        for first, last in _split_block(block, own or around):
            bounds = trim(text, start + first, start + last)
            if bounds:
                spans.append(Span(*bounds))
    return spans


def _split_block(block: str, language: str | None) -> Iterator[tuple[int, int]]:
    start = 0
    is_lower_text = block == block.lower()
    library_starts: frozenset[int] | None = None
    for candidate in find_candidates(block):
        statement = block[start : min(candidate.end_char, start + _STATEMENT_HEAD_CHARS)]
        ends = ends_sentence(candidate, statement, is_lower_text=is_lower_text)
        if ends is None:
            if library_starts is None:
                library_starts = frozenset(_library_starts(block, language))
            ends = not library_starts.isdisjoint(range(candidate.stop_char, candidate.next_char + 1))
        if ends:
            yield start, candidate.end_char
            start = candidate.next_char
    yield start, len(block)


def _library_starts(block: str, language: str | None) -> Iterator[int]:
    """Yield where the library of the language starts a sentence."""
    flat = _UNSAFE.sub(" ", block)
    code = language or ("ru" if _CYRILLIC.search(flat) else "en")
    start = 0
    while start < len(flat):
        end = start + _PIECE_CHARS
        if end < len(flat):
            end = max(flat.rfind(" ", start, end) + 1, start + _PIECE_CHARS // 2)
        piece = flat[start:end]
        if code == "uk":
            yield from (start + first for _, first, _ in tokenize_uk.tokenize_sents_with_spans(piece))
        else:
            yield from (start + int(row["start_index"]) for row in sentencex.get_sentence_boundaries(code, piece))
        start = end
