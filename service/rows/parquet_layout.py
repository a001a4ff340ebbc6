"""What a Parquet file says at its end that it holds: read before any library sees the file."""

import os
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Final

from service.rows.parquet_thrift import I64, STRUCT, ThriftError, ThriftReader
from service.rows.row import RowFileError
from service.rows.signatures import ENCRYPTED_PARQUET, PARQUET, name_binary

DAMAGED: Final = "the Parquet file is damaged; write it again"
_ENCRYPTED: Final = "the Parquet file is encrypted; write it without encryption"
_CUT_OFF: Final = "the Parquet file is cut off: its end is missing; copy or write it again"

_BEGINNING_BYTES: Final = 512
_END_BYTES: Final = 8
_MAX_FOOTER_BYTES: Final = 4 * 1024 * 1024

# By the numbers of parquet.thrift: row groups, their columns, and whether anything is encrypted.
_CHUNK: Final = {3: {6: I64, 7: I64, 9: I64, 11: I64}, 8: STRUCT}
_FOOTER: Final = {4: ({1: (_CHUNK,), 3: I64},), 8: STRUCT}


@dataclass(frozen=True, slots=True)
class ColumnChunk:
    """Where the pages of one column in one row group lie, and how many bytes they are said to unpack to."""

    start: int
    end: int
    n_unpacked_bytes: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """How many rows there are in it, and the chunks of its columns in the order of the file; without rows, none."""

    n_rows: int
    chunks: tuple[ColumnChunk, ...]


def read_row_groups(file: BufferedReader) -> list[RowGroup]:
    """Return the row groups of a Parquet file; raises ``RowFileError`` where it is none that can be read."""
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    beginning = file.read(_BEGINNING_BYTES)
    if beginning.startswith(ENCRYPTED_PARQUET):
        raise RowFileError(_ENCRYPTED)
    if not beginning.startswith(PARQUET):
        what = "empty" if not n_bytes else name_binary(beginning) or "text, or of a kind that is not known here"
        raise RowFileError(f"the input is not a Parquet file: it is {what}")
    return _parse_footer(_read_footer(file, n_bytes), n_bytes)


def _read_footer(file: BufferedReader, n_bytes: int) -> bytes:
    file.seek(max(0, n_bytes - _END_BYTES))
    end = file.read(_END_BYTES)
    n_footer_bytes = int.from_bytes(end[:4], "little")
    if end[4:] != PARQUET or n_footer_bytes > n_bytes - _END_BYTES - len(PARQUET):
        raise RowFileError(_CUT_OFF)
    if n_footer_bytes > _MAX_FOOTER_BYTES:
        found = f"the footer of the Parquet file has {n_footer_bytes} bytes and at most {_MAX_FOOTER_BYTES} are read"
        raise RowFileError(f"{found}; write it with larger row groups and only the columns that are needed")
    file.seek(n_bytes - _END_BYTES - n_footer_bytes)
    return file.read(n_footer_bytes)


def _parse_footer(raw: bytes, n_bytes: int) -> list[RowGroup]:
    try:
        footer = ThriftReader(raw).read_struct(_FOOTER)
        groups: list[dict[int, Any]] = footer[4]
        # In a file that keeps its footer readable, asking a library for an encrypted column ends the whole process.
        if 8 in footer or any(8 in chunk for group in groups for chunk in group[1]):
            raise RowFileError(_ENCRYPTED)
        return [_to_row_group(group, n_bytes) for group in groups]
    except (ThriftError, KeyError):
        raise RowFileError(DAMAGED) from None


def _to_row_group(said: dict[int, Any], n_bytes: int) -> RowGroup:
    n_rows = _require_size(said[3])
    # What is said of the columns of an empty one means nothing.
    return RowGroup(n_rows, tuple(_to_chunk(chunk[3], n_bytes) for chunk in said[1] if n_rows))


def _to_chunk(said: dict[int, int], n_bytes: int) -> ColumnChunk:
    start, dictionary_start = said[9], said.get(11, 0)
    if 0 < dictionary_start < start:
        start = dictionary_start
    end = start + _require_size(said[7])
    if not len(PARQUET) <= start <= end <= n_bytes:
        raise ThriftError
    return ColumnChunk(start, end, _require_size(said[6]))


def _require_size(value: int) -> int:
    if value < 0:
        raise ThriftError
    return value
