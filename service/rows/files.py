"""Files of rows, as JSON lines, CSV or Parquet, read one row at a time."""

from collections.abc import Iterator
from enum import StrEnum
from io import BufferedReader
from pathlib import Path
from typing import Final

from service.rows.csv_rows import check_csv_header, read_csv
from service.rows.json_rows import read_json_lines, require_json_lines
from service.rows.parquet_rows import ParquetRows, read_parquet
from service.rows.row import BadRow, Row, RowFileError, RowId
from service.rows.signatures import name_binary
from service.rows.text_encoding import (
    UTF8,
    UTF8_MARK,
    UTF16_MARKS,
    conversion_hint,
    looks_like_utf8,
    require_encoding,
)

__all__ = ["BadRow", "Row", "RowFileError", "RowFormat", "RowId", "check_row_file", "read_rows", "row_format"]


class RowFormat(StrEnum):
    """The formats, by the usual extension of a file's name."""

    JSON_LINES = ".jsonl"
    CSV = ".csv"
    PARQUET = ".parquet"


_EXTENSIONS: Final = {
    ".jsonl": RowFormat.JSON_LINES,
    ".ndjson": RowFormat.JSON_LINES,
    ".csv": RowFormat.CSV,
    ".parquet": RowFormat.PARQUET,
}


def row_format(path: Path) -> RowFormat:
    """Return the format of a file by its extension; raises ``RowFileError``."""
    if found := _EXTENSIONS.get(path.suffix.lower()):
        return found
    *most, last = _EXTENSIONS
    raise RowFileError(f"{path.name}: the name must end in {', '.join(most)} or {last}")


def read_rows(file: BufferedReader, file_format: RowFormat, *, encoding: str = UTF8) -> Iterator[Row | BadRow]:
    """Read rows one by one; blank lines are passed over, and no row takes more memory than ``MAX_ROW_SIZE`` allows.

    ``encoding`` is of CSV and JSON lines. Raises ``RowFileError`` for the file as a whole, at once or on the way.
    """
    taken = _check_beginning(file, file_format, encoding)
    if file_format is RowFormat.PARQUET:
        return read_parquet(file)
    return read_csv(file, taken) if file_format is RowFormat.CSV else read_json_lines(file, taken)


def check_row_file(path: Path, file_format: RowFormat, *, encoding: str = UTF8) -> int | None:
    """Check what can be checked of a file without reading its rows: its kind, its encoding, its columns.

    Returns how many rows it has, where the format says so, as only Parquet does. Raises ``RowFileError`` and
    ``OSError``.
    """
    with path.open("rb") as file:
        taken = _check_beginning(file, file_format, encoding)
        if file_format is RowFormat.PARQUET:
            return ParquetRows(file).n_rows
        if file_format is RowFormat.CSV:
            check_csv_header(file, taken)
        else:
            require_json_lines(file.peek())
    return None


def _check_beginning(file: BufferedReader, file_format: RowFormat, encoding: str) -> str:
    """Return the usual name of the encoding. Raises ``RowFileError`` where the file is of another kind."""
    taken = require_encoding(encoding)
    if file_format is RowFormat.PARQUET:
        if taken != UTF8:
            raise RowFileError("a Parquet file says itself how it is encoded; name no encoding for it")
        return taken
    beginning = file.peek()
    if beginning.startswith(UTF16_MARKS):
        raise RowFileError(f"the input is UTF-16; {conversion_hint(beginning)}")
    if binary := name_binary(beginning):
        raise RowFileError(f"the input is not text but {binary}; save it as {_KINDS[file_format]}")
    if taken != UTF8 and (beginning.startswith(UTF8_MARK) or looks_like_utf8(beginning)):
        raise RowFileError(f"the input is UTF-8 and not {taken}; name no encoding for it")
    return taken


_KINDS: Final = {RowFormat.JSON_LINES: "JSON lines", RowFormat.CSV: "CSV"}
