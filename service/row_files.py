"""Files of rows, as JSON lines or CSV: read one row at a time, and written whole or not at all."""

import csv
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

from credence.errors import CredenceError
from credence.labels import OUTCOMES
from credence.scoring import StatementScore

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

RowId = str | int | None

_BOM: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS: Final = (",", ";", "\t")
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


class RowWriter(Protocol):
    """Writes one output row for each input row."""

    def write_score(self, row: Row, score: StatementScore) -> None:
        """Write the result of a row."""
        ...

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        ...


def row_format(path: Path) -> RowFormat:
    """Return the format of a file by its extension; raises ``RowFileError``."""
    try:
        return RowFormat(path.suffix.lower())
    except ValueError:
        raise RowFileError(f"{path.name}: the name must end in {' or '.join(RowFormat)}") from None


def read_rows(file: BufferedReader, file_format: RowFormat) -> Iterator[Row | BadRow]:
    """Read rows one by one; blank lines are passed over. Raises ``RowFileError`` for the file as a whole."""
    if file.peek(2)[:2] in _UTF16_MARKS:
        raise RowFileError("the input is UTF-16; save it as UTF-8")
    return _read_csv(file) if file_format is RowFormat.CSV else _read_json_lines(file)


def build_writer(file: TextIO, file_format: RowFormat) -> RowWriter:
    """Return a writer of a format on an open file."""
    return CsvWriter(file) if file_format is RowFormat.CSV else JsonLinesWriter(file)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a file that takes the place of ``path`` at the end, and only if all went well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("x", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class JsonLinesWriter:
    """A JSON object a line: ``id`` and the fields of a result, or ``id``, ``error`` and ``line``."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write_score(self, row: Row, score: StatementScore) -> None:
        """Write the result of a row."""
        self._write({"id": row.id, **asdict(score)})

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        self._write({"id": row.id, "error": {"kind": row.kind, "message": row.message}, "line": row.line})

    def _write(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content, ensure_ascii=False) + "\n")


class CsvWriter:
    """A table with a column for each field of a result, one for each score, and three for errors."""

    def __init__(self, file: TextIO) -> None:
        names = [field.name for field in fields(StatementScore) if field.name != "scores"]
        at = names.index("outcome") + 1
        score_columns = [f"score_{outcome}" for outcome in OUTCOMES]
        columns = ["id", *names[:at], *score_columns, *names[at:], "error_kind", "error_message", "line"]
        self._writer = csv.DictWriter(file, columns, lineterminator="\n")
        self._writer.writeheader()

    def write_score(self, row: Row, score: StatementScore) -> None:
        """Write the result of a row."""
        cells = asdict(score)
        scores = cells.pop("scores") or {}
        cells["prediction_set"] = "|".join(cells["prediction_set"] or ())
        cells["is_cut"] = str(cells["is_cut"]).lower()
        self._writer.writerow({"id": row.id, **cells, **{f"score_{name}": value for name, value in scores.items()}})

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        self._writer.writerow({"id": row.id, "error_kind": row.kind, "error_message": row.message, "line": row.line})


def _read_json_lines(file: BufferedReader) -> Iterator[Row | BadRow]:
    for line, raw in enumerate(file, start=1):
        content = raw.removeprefix(_BOM) if line == 1 else raw
        if content.strip():
            yield _parse_json_line(line, content)


def _parse_json_line(line: int, raw: bytes) -> Row | BadRow:
    try:
        row = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        return BadRow(line, None, "invalid_encoding", f"Byte {error.start} of the line is not UTF-8.")
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
    try:
        header, delimiter = _read_header(text.readline())
        yield from _read_csv_rows(csv.reader(text, delimiter=delimiter, strict=True), header)
    finally:
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
            yield BadRow(
                line, None, "invalid_csv", f"{span}: a quote inside a text is not doubled, or is never closed."
            )
            continue
        if cells:
            yield _parse_cells(line, header, cells)


def _read_header(line: str) -> tuple[list[str], str]:
    for delimiter in _DELIMITERS:
        header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
        if "id" in header and "text" in header:
            return header, delimiter
    found = {name.strip().strip('"') for name in re.split(r"[,;\t]", line)}
    missing = ", ".join(sorted({"id", "text"} - found)) or "one kind of comma between the names"
    raise RowFileError(f"the first line must name the columns id, text and optionally language; missing: {missing}")


def _parse_cells(line: int, header: list[str], cells: list[str]) -> Row | BadRow:
    found = dict(zip(header, cells, strict=False))
    identifier = found.get("id")
    if identifier is not None and _has_surrogate(identifier):
        return BadRow(line, None, "invalid_encoding", "The id is not UTF-8.")
    if len(cells) != len(header):
        fault = f"The row has {len(cells)} cells and the header {len(header)}: put quotes round a text with commas."
        return BadRow(line, identifier, "invalid_row", fault)
    if not _ESCAPED_BYTES.isdisjoint(found["text"]):
        return BadRow(line, identifier, "invalid_encoding", "The text is not UTF-8.")
    return Row(line, identifier, found["text"], found.get("language") or None)


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)
