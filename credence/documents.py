"""Takes a document apart into statements, and puts the scores of these together into the score of the document."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from credence.language import detect_language, is_telling, require_language
from credence.normalise import check_text
from credence.scoring import DocumentScore, ModelInfo, StatementScore, roll_up
from credence.sentences import split_statements

# Below this length Ukrainian and Russian are told apart by the document around a line better than by the line.
_OWN_LANGUAGE_CHARS: Final = 40


@dataclass(frozen=True, slots=True)
class DocumentPiece:
    """One statement of a document. ``language`` is null where it is to be found from the statement itself."""

    text: str
    language: str | None
    start_char: int
    end_char: int


def split_document(text: str, *, language: str | None = None) -> list[DocumentPiece]:
    """Split a text into its statements, in reading order. Raises ``InvalidTextError`` and ``UnknownLanguageError``."""
    check_text(text)
    around = require_language(language) if language is not None else detect_language(text)
    pieces = []
    for span in split_statements(text, language=language):
        piece = text[span.start_char : span.end_char]
        code = language or _language_from_context(piece, around)
        pieces.append(DocumentPiece(piece, code, span.start_char, span.end_char))
    return pieces


def join_document(pieces: Sequence[DocumentPiece], scores: Sequence[StatementScore], info: ModelInfo) -> DocumentScore:
    """Return the score of the document whose pieces have these scores."""
    statements = tuple(
        replace(
            score,
            start_char=piece.start_char,
            end_char=piece.end_char,
            read_end_char=piece.start_char + score.read_end_char,
        )
        for piece, score in zip(pieces, scores, strict=True)
    )
    return DocumentScore(
        statements=statements,
        rollup=roll_up(statements),
        is_cut=any(s.is_cut for s in statements),
        model_version=info.model_version,
        bundle_digest=info.bundle_digest,
    )


def _language_from_context(piece: str, around: str | None) -> str | None:
    """Return the language of the document for a short line that could be Ukrainian as well as Russian, else null."""
    is_open = len(piece) < _OWN_LANGUAGE_CHARS and not is_telling(piece)
    return around if is_open and around in ("uk", "ru") else None
