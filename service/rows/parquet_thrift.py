"""The few records of a Parquet file that say what it will take to read it (Thrift, compact protocol).

They are read here before any library sees the file: one that lies in them can make it take all memory, or abort.
"""

from collections.abc import Mapping
from typing import Any, Final

I32: Final = 5
I64: Final = 6
_TRUE: Final = 1
_BYTE: Final = 3
_I16: Final = 4
_DOUBLE: Final = 7
_BINARY: Final = 8
_LIST: Final = 9
_SET: Final = 10
_MAP: Final = 11
STRUCT: Final = 12
_UUID: Final = 13
_MAX_DEPTH: Final = 16

# What is wanted of a struct, by the number of the field: an integer of one size, whether there is a struct, a struct
# of which something is wanted, or a list (a tuple of one) of those. The rest is passed over.
Wanted = Mapping[int, Any]


class ThriftError(Exception):
    """The bytes are not the record that was expected."""


class ThriftReader:
    """Reads records one after the other; ``position`` is where the next one begins. Raises ``ThriftError``."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.position = 0

    def read_struct(self, wanted: Wanted, depth: int = 0) -> dict[int, Any]:
        """Return the wanted fields that a struct has."""
        if depth > _MAX_DEPTH:
            raise ThriftError
        found: dict[int, Any] = {}
        number = 0
        while (header := self._read_byte()) & 0x0F:
            number = number + (header >> 4) if header >> 4 else self._read_integer()
            kind = header & 0x0F
            if number not in wanted:
                self._pass_over(kind, depth, is_field=True)
                continue
            # A field that stands there twice may be read as the one or the other.
            if number in found:
                raise ThriftError
            found[number] = self._read_wanted(kind, wanted[number], depth)
        return found

    def _read_wanted(self, kind: int, wanted: Any, depth: int) -> Any:
        if isinstance(wanted, int):
            if kind != wanted:
                raise ThriftError
            return self._pass_over(kind, depth) if kind == STRUCT else self._read_integer()
        if isinstance(wanted, tuple):
            if kind != _LIST:
                raise ThriftError
            n_items, kind = self._read_list_header()
            return [self._read_wanted(kind, wanted[0], depth + 1) for _ in range(n_items)]
        if kind != STRUCT:
            raise ThriftError
        return self.read_struct(wanted, depth + 1)

    def _pass_over(self, kind: int, depth: int, *, is_field: bool = False) -> None:
        if kind in (_TRUE, _TRUE + 1):
            # As a field, it is all in the header.
            self.position += 0 if is_field else 1
        elif kind == _BYTE:
            self.position += 1
        elif kind in (_I16, I32, I64):
            self._read_varint()
        elif kind == _DOUBLE:
            self.position += 8
        elif kind == _BINARY:
            # Not in one line: reading the length moves the position too.
            n_bytes = self._read_varint()
            self.position += n_bytes
        elif kind in (_LIST, _SET):
            n_items, item = self._read_list_header()
            self._pass_over_many(n_items, (item,), depth)
        elif kind == _MAP:
            if n_items := self._read_varint():
                kinds = self._read_byte()
                self._pass_over_many(n_items, (kinds >> 4, kinds & 0x0F), depth)
        elif kind == STRUCT:
            self.read_struct({}, depth + 1)
        elif kind == _UUID:
            self.position += 16
        else:
            raise ThriftError

    def _pass_over_many(self, n_items: int, kinds: tuple[int, ...], depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ThriftError
        for _ in range(n_items):
            for kind in kinds:
                self._pass_over(kind, depth + 1)
            if self.position > len(self._raw):
                raise ThriftError

    def _read_list_header(self) -> tuple[int, int]:
        header = self._read_byte()
        n_items = header >> 4
        return (self._read_varint() if n_items == 0x0F else n_items), header & 0x0F

    def _read_integer(self) -> int:
        zigzag = self._read_varint()
        return (zigzag >> 1) ^ -(zigzag & 1)

    def _read_varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._read_byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ThriftError

    def _read_byte(self) -> int:
        try:
            byte = self._raw[self.position]
        except IndexError:
            raise ThriftError from None
        self.position += 1
        return byte
