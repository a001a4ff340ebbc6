"""Rows as CSV (RFC 4180): commas, semicolons or tabs, with a line of names first."""

import csv
import re
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper
from threading import RLock
from typing import TYPE_CHECKING, Final, Self

from service.rows.formula_guard import unguard_cell
from service.rows.row import (
    COLUMNS,
    MAX_ROW_SIZE,
    REQUIRED_COLUMNS,
    BadRow,
    Row,
    RowFileError,
    build_row,
    column_name,
    find_bad_id,
    require_columns,
)
from service.rows.text_encoding import UTF8, encoding_hint

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

_DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs"}
_LONG_LINE: Final = f"is longer than {MAX_ROW_SIZE} characters and was not read: shorten or split its text"
_OPEN_QUOTE: Final = "a quote inside a text is not doubled, or is never closed within"
# Under the error handler ``surrogateescape`` these stand for the bytes that are not of the encoding.
_ESCAPED_BYTE: Final = re.compile(r"[\udc80-\udcff]")


class _LongLineError(Exception):
    """A line is longer than a row may be; what is left of it has been passed over."""


class _CellLimit:
    """Lifts the limit that the csv module has for the whole process, for as long as anybody reads rows."""

    def __init__(self) -> None:
        # A reader that is dropped may be closed in the middle of anything, by the same thread.
        self._lock = RLock()
        self._n_readers = 0
        self._usual_limit = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_readers:
                self._usual_limit = csv.field_size_limit(MAX_ROW_SIZE)
            self._n_readers += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_readers -= 1
            if not self._n_readers:
                csv.field_size_limit(self._usual_limit)


class _Lines:
    """The lines of a file, of which one row never takes more than the limit. It goes on after an error."""

    def __init__(self, text: TextIOWrapper) -> None:
        self._text = text
        self._n_chars = 0
        self.number = 0

    def begin_row(self) -> int:
        """Return the number of the line that the next row begins in."""
        self._n_chars = 0
        return self.number + 1

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_ROW_SIZE + 1)
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > MAX_ROW_SIZE:
            rest = line
            while rest and rest[-1] not in "\r\n":
                rest = self._text.readline(MAX_ROW_SIZE)
            raise _LongLineError
        self._n_chars += len(line)
        if self._n_chars > MAX_ROW_SIZE:
            raise csv.Error("a quote is not closed")
        return line


def read_csv(file: BufferedReader, encoding: str) -> Iterator[Row | BadRow]:
    """Read rows one by one; blank lines are passed over. Raises ``RowFileError`` where the columns are not named."""
    text = _decoded(file, encoding)
    try:
        with _CELL_LIMIT:
            lines = _Lines(text)
            if header := _read_header(lines, encoding):
                yield from _read_rows(lines, *header, encoding)
    finally:
        # The file belongs to the caller, who still asks it how far the reading has got.
        text.detach()


def check_csv_header(file: BufferedReader, encoding: str) -> None:
    """Raise ``RowFileError`` where the first line does not name the columns; a file without lines is no fault."""
    text = _decoded(file, encoding)
    try:
        _read_header(_Lines(text), encoding)
    finally:
        text.detach()


def _decoded(file: BufferedReader, encoding: str) -> TextIOWrapper:
    codec = "utf-8-sig" if encoding == UTF8 else encoding
    return TextIOWrapper(file, encoding=codec, errors="surrogateescape", newline="")


def _read_header(lines: _Lines, encoding: str) -> tuple[list[str], str] | None:
    try:
        line = next(lines, None)
    except _LongLineError:
        raise RowFileError(f"the first line {_LONG_LINE}; it must name the columns") from None
    if line is None:
        return None
    for delimiter in _DELIMITERS:
        header = _split_names(line, delimiter)
        if not set(REQUIRED_COLUMNS) - set(header):
            require_columns(header)
            return header, delimiter
    found = [column_name(name.strip().strip('"')) for name in re.split(r"[,;\t]", line)]
    if _ESCAPED_BYTE.search(line):
        raise RowFileError(f"the first line, which must name the columns, is not {encoding}: {encoding_hint(encoding)}")
    require_columns(found)
    raise RowFileError("the first line has several kinds of comma between the names of the columns; use one")


def _split_names(line: str, delimiter: str) -> list[str]:
    try:
        return [column_name(name) for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:
        return []


def _read_rows(lines: _Lines, header: list[str], delimiter: str, encoding: str) -> Iterator[Row | BadRow]:
    reader: CsvReader = csv.reader(lines, delimiter=delimiter, strict=True)
    parse = _RowParser(header, delimiter, encoding)
    while True:
        line = lines.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _LongLineError:
            which = "The line" if lines.number == line else f"The row is lost: line {lines.number}"
            yield BadRow(line, None, "line_too_long", f"{which} {_LONG_LINE}.")
            continue
        except csv.Error:
            span = f"Lines {line} to {lines.number} are not rows" if lines.number > line else "Not a row"
            yield BadRow(line, None, "invalid_csv", f"{span}: {_OPEN_QUOTE} {MAX_ROW_SIZE} characters.")
            continue
        if cells:
            yield parse(line, cells)


class _RowParser:
    """Makes rows of cells."""

    def __init__(self, header: list[str], delimiter: str, encoding: str) -> None:
        self._header = header
        self._delimiter = delimiter
        self._encoding = encoding

    def __call__(self, line: int, cells: list[str]) -> Row | BadRow:
        found = {name: cell for name, cell in zip(self._header, cells, strict=False) if name in COLUMNS}
        identifier = found.pop("id", None)
        if identifier is not None:
            if _ESCAPED_BYTE.search(identifier):
                return self._refuse_bytes(line, None, "id")
            identifier = unguard_cell(identifier)
        bad_id = find_bad_id(line, identifier)
        if len(cells) != len(self._header):
            fault = f"The row has {len(cells)} cells and the header {len(self._header)}"
            advice = f"put quotes round a text with {_DELIMITERS[self._delimiter]} or line breaks in it"
            return BadRow(line, None if bad_id else identifier, "invalid_row", f"{fault}: {advice}.")
        if bad_id:
            return bad_id
        for name, cell in found.items():
            if _ESCAPED_BYTE.search(cell):
                return self._refuse_bytes(line, identifier, name)
        return build_row(line, identifier, found)

    def _refuse_bytes(self, line: int, identifier: str | None, name: str) -> BadRow:
        fault = f"The {name} is not {self._encoding.upper()}: {encoding_hint(self._encoding)}."
        return BadRow(line, identifier, "invalid_encoding", fault)


_CELL_LIMIT: Final = _CellLimit()
