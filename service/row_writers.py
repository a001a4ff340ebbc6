"""The scored rows, as JSON lines or CSV: written whole or not at all."""

import csv
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from credence.labels import OUTCOMES
from credence.scoring import StatementScore
from service.row_files import BadRow, Row, RowFormat

# A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection).
_FORMULA_SIGNS: Final = ("=", "+", "-", "@", "\t", "\r")


class RowWriter(Protocol):
    """Writes one output row for each input row."""

    def write_score(self, row: Row, score: StatementScore) -> None:
        """Write the result of a row."""
        ...

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        ...


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
    """A table with a column for each field of a result, one for each score, and three for errors (RFC 4180).

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """

    def __init__(self, file: TextIO) -> None:
        names = [field.name for field in fields(StatementScore) if field.name != "scores"]
        at = names.index("outcome") + 1
        score_columns = [f"score_{outcome}" for outcome in OUTCOMES]
        columns = ["id", *names[:at], *score_columns, *names[at:], "error_kind", "error_message", "line"]
        self._writer = csv.DictWriter(file, columns)
        self._writer.writeheader()

    def write_score(self, row: Row, score: StatementScore) -> None:
        """Write the result of a row."""
        cells = asdict(score)
        scores = cells.pop("scores") or {}
        cells["prediction_set"] = "|".join(cells["prediction_set"] or ())
        cells["is_cut"] = str(cells["is_cut"]).lower()
        self._write({"id": row.id, **cells, **{f"score_{name}": value for name, value in scores.items()}})

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        self._write({"id": row.id, "error_kind": row.kind, "error_message": row.message, "line": row.line})

    def _write(self, cells: dict[str, Any]) -> None:
        self._writer.writerow({name: _disarm(cell) for name, cell in cells.items()})


def _disarm(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_SIGNS) else cell
