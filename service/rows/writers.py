"""The scored rows, as JSON lines, CSV or Parquet: written whole or not at all."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol
from uuid import UUID

from credence.labels import DISCLAIMER, OUTCOMES
from credence.scoring import StatementScore
from service.rows.files import BadRow, Row, RowFormat
from service.rows.formula_guard import guard_cell

_NUMBERS: Final = ("start_char", "end_char", "read_end_char", "line")
# So many rows of output are held in memory, some 300 bytes each.
_ROW_GROUP_ROWS: Final = 8192


class RowWriter(Protocol):
    """Writes one output row for each input row. The file stays open: it belongs to the caller."""

    def write_score(self, row: Row, score: StatementScore, score_id: UUID | None = None) -> None:
        """Write the result of a row, and under which id it is stored, where the output has that."""
        ...

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        ...

    def close(self) -> None:
        """Write what is still to be written. Only then the output is whole."""
        ...


def build_writer(file: BinaryIO, file_format: RowFormat, *, has_score_ids: bool = False) -> RowWriter:
    """Return a writer of a format on an open file. With ``has_score_ids`` a result also says where it is stored."""
    if file_format is RowFormat.PARQUET:
        return ParquetWriter(file, has_score_ids=has_score_ids)
    if file_format is RowFormat.CSV:
        return CsvWriter(file, has_score_ids=has_score_ids)
    return JsonLinesWriter(file)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` at the end, and only if all went well."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("xb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class JsonLinesWriter:
    """A JSON object a line: ``id`` and the fields of a result, or ``id``, ``error`` and ``line``."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write_score(self, row: Row, score: StatementScore, score_id: UUID | None = None) -> None:
        """Write the result of a row."""
        self._write({"id": row.id, **_stored_under(score_id), **asdict(score)})

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        self._write({"id": row.id, "error": {"kind": row.kind, "message": row.message}, "line": row.line})

    def close(self) -> None:
        """Do nothing: each row is whole."""

    def _write(self, content: dict[str, Any]) -> None:
        self._file.write((json.dumps(content, ensure_ascii=False) + "\n").encode())


class CsvWriter:
    """A table with a column for each field of a result, one for each score, and three for errors (RFC 4180).

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which ``read_rows`` takes off again.
    """

    def __init__(self, file: BinaryIO, *, has_score_ids: bool = False) -> None:
        self._writer = csv.DictWriter(_Utf8Text(file), _list_columns(has_score_ids))
        self._writer.writeheader()

    def write_score(self, row: Row, score: StatementScore, score_id: UUID | None = None) -> None:
        """Write the result of a row."""
        cells = _flatten(score)
        cells["prediction_set"] = "|".join(cells["prediction_set"] or ())
        cells["is_cut"] = str(cells["is_cut"]).lower()
        self._write({"id": row.id, **_stored_under(score_id), **cells})

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        self._write(_error_cells(row))

    def close(self) -> None:
        """Do nothing: each row is whole."""

    def _write(self, cells: dict[str, Any]) -> None:
        guarded = {name: guard_cell(cell) if isinstance(cell, str) else cell for name, cell in cells.items()}
        self._writer.writerow(guarded)


class ParquetWriter:
    """The columns of CSV with types: scores as doubles, ``prediction_set`` as a list, ``id`` always as a string."""

    def __init__(self, file: BinaryIO, *, has_score_ids: bool = False) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {name: pa.int64() for name in _NUMBERS} | {"confidence": pa.float64(), "is_cut": pa.bool_()}
        types |= {f"score_{outcome}": pa.float64() for outcome in OUTCOMES} | {"prediction_set": pa.list_(pa.string())}
        columns = [(name, types.get(name, pa.string())) for name in _list_columns(has_score_ids)]
        self._schema = pa.schema(columns, metadata={"disclaimer": DISCLAIMER})
        self._to_batch = pa.RecordBatch.from_pylist
        self._parquet = pq.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def write_score(self, row: Row, score: StatementScore, score_id: UUID | None = None) -> None:
        """Write the result of a row."""
        self._write({"id": row.id, **_stored_under(score_id), **_flatten(score)})

    def write_error(self, row: BadRow) -> None:
        """Write that a row could not be scored."""
        self._write(_error_cells(row))

    def close(self) -> None:
        """Write the last rows and the end of the file, without which it cannot be read; after an error, nothing."""
        if self._parquet.is_open:
            self._flush()
            self._attempt(self._parquet.close)

    def _write(self, cells: dict[str, Any]) -> None:
        self._rows.append({**cells, "id": None if cells["id"] is None else str(cells["id"])})
        if len(self._rows) == _ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            batch = self._to_batch(self._rows, schema=self._schema)
            self._rows.clear()
            self._attempt(lambda: self._parquet.write_batch(batch))

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError:
            # Else it tries once more to write the end of the file when it is dropped, and fails where nobody hears it.
            self._parquet.is_open = False
            raise


class _Utf8Text:
    """Takes text for a binary file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        """Write text, and return how many bytes that were."""
        return self._file.write(text.encode())


def _list_columns(has_score_ids: bool) -> list[str]:
    names = [field.name for field in fields(StatementScore) if field.name != "scores"]
    at = names.index("outcome") + 1
    scores = [f"score_{outcome}" for outcome in OUTCOMES]
    stored = ["score_id"] if has_score_ids else []
    return ["id", *stored, *names[:at], *scores, *names[at:], "error_kind", "error_message", "line"]


def _stored_under(score_id: UUID | None) -> dict[str, str]:
    return {} if score_id is None else {"score_id": str(score_id)}


def _flatten(score: StatementScore) -> dict[str, Any]:
    cells = asdict(score)
    scores = cells.pop("scores") or {}
    return {**cells, **{f"score_{name}": value for name, value in scores.items()}}


def _error_cells(row: BadRow) -> dict[str, Any]:
    return {"id": row.id, "error_kind": row.kind, "error_message": row.message, "line": row.line}
