"""Files of rows, as JSON lines or CSV, read one row at a time."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final

from credence.errors import CredenceError
from service.text_encoding import UTF16_MARKS, conversion_hint

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

RowId = str | int | None

_BOM: Final = b"\xef\xbb\xbf"
_DELIMITERS: Final = (",", ";", "\t")
_REQUIRED_COLUMNS: Final = frozenset({"id", "text"})
_COLUMNS: Final = _REQUIRED_COLUMNS | {"language"}
# Also how much a quote that is never closed can take with it, and so what a row can take of the memory.
_MAX_CELL_CHARS: Final = 2 * 1024 * 1024
# Under the error handler ``surrogateescape`` these stand for the bytes that are not UTF-8.
_ESCAPED_BYTES: Final = frozenset(map(chr, range(0xDC80, 0xDD00)))


class RowFileError(CredenceError):
    """A file of rows cannot be used as a whole; the message says why and what to do."""


class RowFormat(StrEnum):
    """The formats, by the extension of the file's name."""

    JSON_LINES = ".jsonl"
    CSV = ".csv"


@dataclass(frozen=True, slots=True)
class Row:
    """A row that can be read. ``line`` counts from 1 and is where the row begins."""

    line: int
    id: RowId
    text: str
    language: str | None


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be scored. ``kind`` is stable; the message never repeats the row."""

    line: int
    id: RowId
    kind: str
    message: str


def row_format(path: Path) -> RowFormat:
    """Return the format of a file by its extension; raises ``RowFileError``."""
    try:
        return RowFormat(path.suffix.lower())
    except ValueError:
        raise RowFileError(f"{path.name}: the name must end in {' or '.join(RowFormat)}") from None


def read_rows(file: BufferedReader, file_format: RowFormat) -> Iterator[Row | BadRow]:
    """Read rows one by one; blank lines are passed over. Raises ``RowFileError`` for the file as a whole."""
    beginning = file.peek(2)[:2]
    if beginning in UTF16_MARKS:
        raise RowFileError(f"the input is UTF-16; {conversion_hint(beginning)}")
    return _read_csv(file) if file_format is RowFormat.CSV else _read_json_lines(file)


def _read_json_lines(file: BufferedReader) -> Iterator[Row | BadRow]:
    has_rows = False
    for line, raw in enumerate(file, start=1):
        content = raw.removeprefix(_BOM) if line == 1 else raw
        if not content.strip():
            continue
        if not has_rows and content.lstrip().startswith(b"["):
            raise RowFileError("the input is a JSON array; put one object on a line, as in: jq -c '.[]' old > new")
        has_rows = True
        yield _parse_json_line(line, content)


def _parse_json_line(line: int, raw: bytes) -> Row | BadRow:
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRow(
            line, None, "invalid_encoding", f"Byte {error.start} of the line is not UTF-8; {conversion_hint()}."
        )
    except (ValueError, RecursionError):
        return BadRow(line, None, "invalid_json", "The line is not JSON that can be read.")
    if not isinstance(row, dict):
        return BadRow(line, None, "invalid_row", "The line is not a JSON object with the keys id and text.")
    identifier, text, language = row.get("id"), row.get("text"), row.get("language")
    if isinstance(identifier, bool) or not (identifier is None or isinstance(identifier, str | int)):
        return BadRow(line, None, "invalid_id", "The id is neither a string nor an integer.")
    if isinstance(identifier, str) and not identifier.isascii() and _has_surrogate(identifier):
        return BadRow(line, None, "invalid_id", "The id holds half a surrogate pair, which cannot be written.")
    if not isinstance(text, str):
        return BadRow(line, identifier, "missing_text", "The row has no text, or it is not a string.")
    if not (language is None or isinstance(language, str)):
        return BadRow(line, identifier, "unknown_language", "The language is not a string.")
    return Row(line, identifier, text, language or None)


def _read_csv(file: BufferedReader) -> Iterator[Row | BadRow]:
    text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    old_limit = csv.field_size_limit(_MAX_CELL_CHARS)
    try:
        first_line = text.readline(_MAX_CELL_CHARS)
        if first_line:
            header, delimiter = _read_header(first_line)
            yield from _read_csv_rows(csv.reader(text, delimiter=delimiter, strict=True), header)
    finally:
        csv.field_size_limit(old_limit)
        # The file belongs to the caller, who still asks it how far the reading has got.
        text.detach()


def _read_csv_rows(reader: "CsvReader", header: list[str]) -> Iterator[Row | BadRow]:
    while True:
        # The header is the first line; a row can span several.
        line = reader.line_num + 2
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            span = f"Lines {line} to {reader.line_num + 1} are not rows" if reader.line_num + 1 > line else "Not a row"
            fault = f"a quote inside a text is not doubled, or is never closed within {_MAX_CELL_CHARS} characters"
            yield BadRow(line, None, "invalid_csv", f"{span}: {fault}.")
            continue
        if cells:
            yield _parse_cells(line, header, cells)


def _read_header(line: str) -> tuple[list[str], str]:
    for delimiter in _DELIMITERS:
        header = [_column_name(name) for name in next(csv.reader([line], delimiter=delimiter), [])]
        if set(header) >= _REQUIRED_COLUMNS:
            if repeated := ", ".join(sorted(name for name in _COLUMNS if header.count(name) > 1)):
                raise RowFileError(f"the first line names a column more than once: {repeated}; keep one of each")
            return header, delimiter
    found = {_column_name(name.strip().strip('"')) for name in re.split(r"[,;\t]", line)}
    missing = ", ".join(sorted(_REQUIRED_COLUMNS - found)) or "one kind of comma between the names"
    raise RowFileError(f"the first line must name the columns id, text and optionally language; missing: {missing}")


def _column_name(written: str) -> str:
    return written.strip().casefold()


def _parse_cells(line: int, header: list[str], cells: list[str]) -> Row | BadRow:
    found = dict(zip(header, cells, strict=False))
    identifier = found.get("id")
    if identifier is not None and _has_surrogate(identifier):
        return BadRow(line, None, "invalid_encoding", f"The id is not UTF-8; {conversion_hint()}.")
    if len(cells) != len(header):
        fault = f"The row has {len(cells)} cells and the header {len(header)}: put quotes round a text with commas."
        return BadRow(line, identifier, "invalid_row", fault)
    if not _ESCAPED_BYTES.isdisjoint(found["text"]):
        return BadRow(line, identifier, "invalid_encoding", f"The text is not UTF-8; {conversion_hint()}.")
    return Row(line, identifier, found["text"], found.get("language") or None)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)
