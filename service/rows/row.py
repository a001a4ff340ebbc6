"""Rows of a file, good and bad, and what their cells must be, whatever the format of the file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from credence.errors import CredenceError
from service.store.records import MAX_TAG_CHARS

RowId = str | int | None

MAX_ID_CHARS: Final = 200
# No line and no cell is longer, in characters or bytes: it is how much of the memory a row can take.
MAX_ROW_SIZE: Final = 2 * 1024 * 1024

REQUIRED_COLUMNS: Final = ("id", "text")
TAG_COLUMNS: Final = ("source", "author", "document_id")
COLUMNS: Final = (*REQUIRED_COLUMNS, "language", *TAG_COLUMNS)

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
# What people call these columns otherwise. No other name is ever repeated: it may be a piece of a text.
_OTHER_NAMES: Final = {
    "id": ("ids", "row_id", "rowid", "identifier", "uuid", "no", "nr", "number", "№", "ид", "ід", "номер"),
    "text": (
        "texts", "statement", "statements", "sentence", "headline", "title", "content", "body", "message", "post",
        "claim", "текст", "заголовок", "сообщение", "повідомлення", "утверждение", "твердження",
    ),
}  # fmt: skip


class RowFileError(CredenceError):
    """A file of rows cannot be used as a whole; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be read. ``line`` counts from 1 and is where the row begins; in Parquet it is the row's number.

    The last three are tags, as ``service.store.records.Tags`` has them.
    """

    line: int
    id: RowId
    text: str
    language: str | None
    source: str | None = None
    author: str | None = None
    document_id: str | None = None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be scored. ``kind`` is stable; the message never repeats the row."""

    line: int
    id: RowId
    kind: str
    message: str


def find_bad_id(line: int, identifier: object) -> BadRow | None:
    """Return what is to be said of a row whose id cannot be used, or ``None`` where it can."""
    if identifier is None:
        return None
    if isinstance(identifier, bool) or not isinstance(identifier, str | int):
        return BadRow(line, None, "invalid_id", "The id is neither a string nor an integer.")
    written = str(identifier)
    if fault := _find_fault(written, MAX_ID_CHARS):
        return BadRow(line, None, "invalid_id", f"The id {fault}.")
    return None


def build_row(line: int, identifier: RowId, cells: Mapping[str, object]) -> Row | BadRow:
    """Return the row of an id that can be used and of the other cells by name; what is absent may be missing."""
    text, language = cells.get("text"), cells.get("language")
    if not isinstance(text, str):
        renamed = _say_other_name("text", cells)
        return BadRow(line, identifier, "missing_text", f"The row has no text, or it is not a string{renamed}.")
    if not (language is None or isinstance(language, str)):
        return BadRow(line, identifier, "unknown_language", "The language is not a string.")
    tags: dict[str, str] = {}
    for name in TAG_COLUMNS:
        tag = cells.get(name)
        if tag is None or tag == "":
            continue
        if not isinstance(tag, str):
            return BadRow(line, identifier, "invalid_tag", f"The {name} is not a string.")
        if fault := _find_fault(tag, MAX_TAG_CHARS):
            return BadRow(line, identifier, "invalid_tag", f"The {name} {fault}.")
        tags[name] = tag
    return Row(line, identifier, text, language or None, **tags)


def column_name(written: str) -> str:
    """Return the name that a column goes by: capitals and surrounding spaces do not matter."""
    return written.strip().casefold()


def require_columns(names: list[str]) -> None:
    """Raise ``RowFileError`` where a column is missing or there twice; names are as ``column_name`` gives them."""
    if missing := [name for name in REQUIRED_COLUMNS if name not in names]:
        renamed = "".join(_say_other_name(name, names) for name in missing)
        raise RowFileError(f"{_wanted_columns()}; missing: {', '.join(missing)}{renamed}")
    if repeated := [name for name in COLUMNS if names.count(name) > 1]:
        raise RowFileError(f"a column is named more than once: {', '.join(repeated)}; keep one of each")


def _wanted_columns() -> str:
    return f"the columns must be id and text, and may be {', '.join(COLUMNS[2:-1])} and {COLUMNS[-1]}"


def _say_other_name(wanted: str, names: Mapping[str, object] | list[str]) -> str:
    found = {column_name(name) for name in names}
    other = next((name for name in (wanted, *_OTHER_NAMES[wanted]) if name in found and name not in names), None)
    other = other or next((name for name in _OTHER_NAMES[wanted] if name in found), None)
    return f"; rename {other} to {wanted}" if other else ""


def _find_fault(value: str, max_chars: int) -> str | None:
    if len(value) > max_chars:
        return f"has {len(value)} characters and at most {max_chars} are allowed"
    if "\0" in value:
        return "holds U+0000, which no database keeps"
    if not value.isascii() and _SURROGATE.search(value):
        return "holds half a surrogate pair, which cannot be written"
    return None
