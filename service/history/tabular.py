"""Rows of one shape in four formats. All but JSON are streamed: a portion of rows is written, sent, and let go of."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any, Final, get_args
from uuid import UUID

from pydantic import BaseModel

from credence.labels import DISCLAIMER
from service.rows.formula_guard import guard_cell
from service.utc_times import write_time

if TYPE_CHECKING:
    import pyarrow

Rows = Sequence[Mapping[str, Any]]


class TabularFormat(StrEnum):
    """The formats, the one that is preferred first."""

    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"

    @property
    def media_type(self) -> str:
        """Return the name of the format in headers, without parameters."""
        return _MEDIA_TYPES[self]


_MEDIA_TYPES: Final = {
    TabularFormat.JSON: "application/json",
    TabularFormat.CSV: "text/csv",
    TabularFormat.NDJSON: "application/x-ndjson",
    TabularFormat.PARQUET: "application/vnd.apache.parquet",
}
# The first that fits counts: a bool is an int too.
_KINDS: Final = ((bool, "bool_"), (int, "int64"), (float, "float64"), (datetime, "timestamp"), (str | UUID, "string"))


class RowShape:
    """The columns of rows, as the model that describes a row has them."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model
        self._kinds = {name: _kind(field.annotation) for name, field in model.model_fields.items()}

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names in their order."""
        return tuple(self._kinds)

    def to_arrow(self) -> "pyarrow.Schema":
        """Return the columns as Arrow has them, with the disclaimer."""
        import pyarrow

        types = {kind: getattr(pyarrow, kind) for _, kind in _KINDS}
        types["timestamp"] = lambda: pyarrow.timestamp("us", tz="UTC")
        columns = [pyarrow.field(name, types[kind]()) for name, kind in self._kinds.items()]
        return pyarrow.schema(columns, metadata={"disclaimer": DISCLAIMER})


def encode_json(content: Mapping[str, Any]) -> bytes:
    """Return an object as JSON; times are ISO 8601 in UTC."""
    return _to_json(content).encode()


def encode_rows(portions: Iterable[Rows], shape: RowShape, file_format: TabularFormat) -> Iterator[bytes]:
    """Return a file of rows in pieces, one a portion or more. JSON is not written so: it needs what stands around."""
    writers = {
        TabularFormat.CSV: _encode_csv,
        TabularFormat.NDJSON: _encode_ndjson,
        TabularFormat.PARQUET: _encode_parquet,
    }
    return writers[file_format](portions, shape)


def _encode_csv(portions: Iterable[Rows], shape: RowShape) -> Iterator[bytes]:
    buffer = StringIO(newline="")
    writer = csv.DictWriter(buffer, shape.columns)
    writer.writeheader()
    for portion in portions:
        writer.writerows({name: _to_cell(value) for name, value in row.items()} for row in portion)
        yield _drain(buffer).encode()
    yield _drain(buffer).encode()


def _encode_ndjson(portions: Iterable[Rows], shape: RowShape) -> Iterator[bytes]:
    for portion in portions:
        yield "".join(f"{_to_json(row)}\n" for row in portion).encode()


def _encode_parquet(portions: Iterable[Rows], shape: RowShape) -> Iterator[bytes]:
    import pyarrow
    from pyarrow import parquet

    schema, sink = shape.to_arrow(), BytesIO()
    # The writer counts for itself where in the file it is, so that what is written can be taken away.
    with parquet.ParquetWriter(pyarrow.PythonFile(sink, mode="w"), schema) as writer:
        for portion in portions:
            rows = [{name: str(v) if isinstance(v, UUID) else v for name, v in row.items()} for row in portion]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            yield _drain(sink)
    yield _drain(sink)


def _drain(buffer: StringIO | BytesIO) -> Any:
    piece = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return piece


def _to_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), default=_to_text)


def _to_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return guard_cell(value)
    return _to_text(value) if isinstance(value, datetime | UUID) else value


def _to_text(value: datetime | UUID) -> str:
    return write_time(value) if isinstance(value, datetime) else str(value)


def _kind(annotation: Any) -> str:
    alternatives = [kind for kind in get_args(annotation) or (annotation,) if kind is not type(None)]
    return next(kind for python, kind in _KINDS if issubclass(alternatives[0], python))
