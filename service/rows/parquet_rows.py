"""Rows as Parquet, read with pyarrow in batches that cannot take much memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, Final

from service.rows.parquet_layout import DAMAGED, read_row_groups
from service.rows.parquet_pages import plan_batches
from service.rows.row import (
    COLUMNS,
    MAX_ROW_SIZE,
    BadRow,
    Row,
    RowFileError,
    build_row,
    column_name,
    find_bad_id,
    require_columns,
)

_BATCH_ROWS: Final = 128
# While a column is read, so much of it lies packed in memory.
_BUFFER_BYTES: Final = 64 * 1024
_LONG_CELL_KINDS: Final = {"id": "invalid_id", "text": "too_long", "language": "unknown_language"}


class ParquetRows:
    """The rows of an open Parquet file, which belongs to the caller. ``n_rows`` counts them, good and bad."""

    def __init__(self, file: BufferedReader) -> None:
        """Look at what the file says that it holds; raises ``RowFileError`` where that cannot be read as rows."""
        import pyarrow.parquet as pq

        groups = read_row_groups(file)
        with _plain_errors():
            self._parquet = pq.ParquetFile(
                file, buffer_size=_BUFFER_BYTES, pre_buffer=False, arrow_extensions_enabled=False
            )
            schema, leaves = self._parquet.schema_arrow, self._parquet.schema
            numbers = {leaves.column(number).path: number for number in range(len(leaves))}
            self._columns = _find_columns(schema)
            read = [numbers[written] for written in self._columns.values()]
        self._batch_rows = plan_batches(file, groups, read, _BATCH_ROWS)
        self.n_rows = sum(group.n_rows for group in groups)

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Read rows one by one. Raises ``RowFileError`` where the file turns out to be damaged."""
        line = 0
        for number, n_rows in enumerate(self._batch_rows):
            for batch in self._read_batches(number, n_rows) if n_rows else ():
                columns = {name: batch.column(written) for name, written in self._columns.items()}
                for index in range(batch.num_rows):
                    line += 1
                    yield _parse_row(line, {name: column[index] for name, column in columns.items()})

    def _read_batches(self, number: int, n_rows: int) -> Iterator[Any]:
        written = list(self._columns.values())
        with _plain_errors():
            yield from self._parquet.iter_batches(n_rows, row_groups=[number], columns=written, use_threads=False)


def read_parquet(file: BufferedReader) -> Iterator[Row | BadRow]:
    """Read rows one by one. Raises ``RowFileError`` for the file as a whole."""
    yield from ParquetRows(file)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what pyarrow says into what the file is; it may quote the file."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        # Only an error of the disk has a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise RowFileError(DAMAGED) from None


def _find_columns(schema: Any) -> dict[str, str]:
    """Return how each column that is read is written in the file. Raises ``RowFileError``."""
    names = [column_name(written) for written in schema.names]
    require_columns(names)
    found = {name: schema.field(names.index(name)) for name in COLUMNS if name in names}
    for name, field in found.items():
        kind = _name_kind(field.type)
        allowed = {"text": ("strings",), "id": ("strings", "integers", "nulls")}.get(name, ("strings", "nulls"))
        if kind not in allowed:
            raise RowFileError(f"the column {name} holds {kind}; it must hold {' or '.join(allowed[:2])}")
    return {name: field.name for name, field in found.items()}


def _name_kind(type_: Any) -> str:
    """Return what a column holds in words of ours: the name of a type can hold names that are the file's."""
    import pyarrow.types as pt

    if pt.is_dictionary(type_):
        kind = _name_kind(type_.value_type)
        return kind if kind == "strings" else f"a dictionary of {kind}"
    kinds = {
        "strings": (pt.is_string, pt.is_large_string, pt.is_string_view),
        "integers": (pt.is_integer,),
        "nulls": (pt.is_null,),
        "numbers with a fraction": (pt.is_floating, pt.is_decimal),
        "true and false": (pt.is_boolean,),
        "times": (pt.is_temporal,),
        "bytes": (pt.is_binary, pt.is_large_binary, pt.is_binary_view, pt.is_fixed_size_binary),
    }
    return next((kind for kind, tests in kinds.items() if any(test(type_) for test in tests)), "nested values")


def _parse_row(line: int, scalars: dict[str, Any]) -> Row | BadRow:
    cells: dict[str, str | int | None] = {}
    for name, scalar in scalars.items():
        identifier = cells.get("id")
        try:
            cells[name] = _read_cell(scalar)
        except UnicodeDecodeError:
            return BadRow(line, identifier, "invalid_encoding", f"The {name} is not UTF-8.")
        except _LongCellError as error:
            fault = f"The {name} has {error} bytes and at most {MAX_ROW_SIZE} are read"
            return BadRow(line, identifier, _LONG_CELL_KINDS.get(name, "invalid_tag"), f"{fault}: shorten it.")
        if name == "id" and (bad := find_bad_id(line, cells["id"])):
            return bad
    return build_row(line, cells.get("id"), cells)


class _LongCellError(Exception):
    """A cell has more bytes than a row may; the message says how many."""


def _read_cell(scalar: Any) -> str | int | None:
    import pyarrow as pa

    if isinstance(scalar, pa.DictionaryScalar):
        scalar = scalar.value
    if not scalar.is_valid:
        return None
    if not isinstance(scalar, pa.StringScalar | pa.LargeStringScalar | pa.StringViewScalar):
        return int(scalar.as_py())
    buffer = scalar.as_buffer()
    if buffer.size > MAX_ROW_SIZE:
        raise _LongCellError(buffer.size)
    return str(buffer, "utf-8")
