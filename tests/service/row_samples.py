"""Files of rows for tests: bytes in a list, or a flow that no memory could hold."""

from collections.abc import Iterable
from io import BufferedReader, BytesIO, RawIOBase
from typing import Any

from service.rows.files import BadRow, Row, RowFormat, read_rows

GOOD = "The court met on Monday."


class Flow(RawIOBase):
    """A file of parts that are made only when they are read; whoever asks for much at once is refused."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = filter(None, parts)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        assert len(buffer) <= 1024 * 1024, "so much is read at once"
        self._rest = self._rest or next(self._parts, b"")
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def csv_file(*lines: str, names: str = "id,text") -> bytes:
    """Return lines below a line of names."""
    return "\n".join([names, *lines]).encode()


def opened(content: bytes | Iterable[bytes]) -> BufferedReader:
    """Open bytes, or a flow of them, as a file."""
    raw: Any = BytesIO(content) if isinstance(content, bytes) else Flow(content)
    return BufferedReader(raw)


def read(content: bytes | Iterable[bytes], file_format: RowFormat, **options: str) -> list[Row | BadRow]:
    """Return the rows of a file."""
    return list(read_rows(opened(content), file_format, **options))


def kinds(rows: Iterable[Row | BadRow]) -> list[str | None]:
    """Return the kind of each bad row, and ``None`` for a good one."""
    return [row.kind if isinstance(row, BadRow) else None for row in rows]
