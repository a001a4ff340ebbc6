"""How much memory the pages of a Parquet file take: known by their headers, before any page is unpacked."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Final

from service.rows.parquet_layout import DAMAGED, ColumnChunk, RowGroup
from service.rows.parquet_thrift import I32, ThriftError, ThriftReader
from service.rows.row import RowFileError

_MAX_ROWS: Final = 50_000_000
_MAX_PAGES: Final = 500_000
_MAX_UNPACKED_BYTES: Final = 16 * 1024**3
_MAX_HELD_BYTES: Final = 128 * 1024**2
# A column that was written from a dictionary is read into one, which the library copies and indexes.
_DICTIONARY_COPIES: Final = 8

_PAGE: Final = {1: I32, 2: I32, 3: I32, 5: {1: I32}, 8: {1: I32}}
_DICTIONARY_PAGE: Final = 2
# A header is short, unless it quotes the least and the greatest value of its page.
_HEADER_WINDOWS: Final = (1024, 1024 * 1024)

_SMALLER: Final = "split the file, or write it with smaller row groups and pages"


@dataclass(frozen=True, slots=True)
class _LargestPages:
    """The unpacked bytes of the largest pages of a column chunk, with values and with the dictionary."""

    n_data_bytes: int
    n_dictionary_bytes: int


def plan_batches(file: BufferedReader, groups: Sequence[RowGroup], columns: Sequence[int], max_rows: int) -> list[int]:
    """Return how many rows of each row group can be read at once, ``max_rows`` at most; none of an empty one.

    ``columns`` are the numbers of the columns that will be read. Raises ``RowFileError`` where the file would take too
    much memory or time however it is read.
    """
    if sum(group.n_rows for group in groups) > _MAX_ROWS:
        raise RowFileError(f"the Parquet file has more than {_MAX_ROWS} rows; split it")
    survey = _PageSurvey(file)
    planned = []
    try:
        picked = [[group.chunks[column] for column in columns if group.n_rows] for group in groups]
        n_unpacked_bytes = sum(chunk.n_unpacked_bytes for chunks in picked for chunk in chunks)
        if n_unpacked_bytes > _MAX_UNPACKED_BYTES:
            raise RowFileError(f"the Parquet file unpacks to {n_unpacked_bytes} bytes; {_SMALLER}")
        for group, chunks in zip(groups, picked, strict=True):
            largest = [survey.measure(chunk, group.n_rows) for chunk in chunks]
            planned.append(min(group.n_rows, _plan_batch(largest, max_rows)))
    except (ThriftError, KeyError, IndexError):
        raise RowFileError(DAMAGED) from None
    return planned


def _plan_batch(columns: Sequence[_LargestPages], max_rows: int) -> int:
    held = sum(column.n_data_bytes + _DICTIONARY_COPIES * column.n_dictionary_bytes for column in columns)
    if held > _MAX_HELD_BYTES:
        raise RowFileError(f"reading the Parquet file takes {held} bytes of memory at once; {_SMALLER}")
    # Every value is unpacked from a page and is no longer than that, however short a way it is written in.
    row = sum(max(column.n_data_bytes, column.n_dictionary_bytes) for column in columns)
    return max(1, min(max_rows, _MAX_HELD_BYTES // max(1, row)))


class _PageSurvey:
    """Goes through the headers of pages, and refuses a file that has too many."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._n_pages = 0

    def measure(self, chunk: ColumnChunk, n_rows: int) -> _LargestPages:
        """Return the largest pages of a chunk. Raises ``ThriftError`` and ``KeyError`` where they are no pages."""
        n_data_bytes = n_dictionary_bytes = 0
        position = chunk.start
        while position < chunk.end:
            page, position = self._read_header(position)
            position += page[3]
            values = page.get(5) or page.get(8) or {1: 0}
            if page[2] < 0 or page[3] < 0 or not 0 <= values[1] <= n_rows:
                raise ThriftError
            if page[1] == _DICTIONARY_PAGE:
                n_dictionary_bytes = max(n_dictionary_bytes, page[2])
            else:
                n_data_bytes = max(n_data_bytes, page[2])
        return _LargestPages(n_data_bytes, n_dictionary_bytes)

    def _read_header(self, position: int) -> tuple[dict[int, Any], int]:
        """Return the header at a place, and where what it is the header of begins."""
        self._n_pages += 1
        if self._n_pages > _MAX_PAGES:
            raise RowFileError(f"the Parquet file has more than {_MAX_PAGES} pages; write it with larger ones")
        for window in _HEADER_WINDOWS:
            self._file.seek(position)
            reader = ThriftReader(self._file.read(window))
            try:
                header = reader.read_struct(_PAGE)
            except ThriftError:
                if window == _HEADER_WINDOWS[-1]:
                    raise
            else:
                return header, position + reader.position
        raise ThriftError
