import csv
import json
from contextlib import closing
from io import BytesIO, StringIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from credence.labels import DISCLAIMER
from credence.scoring import StatementScore
from service.rows.files import BadRow, Row, RowFormat
from service.rows.writers import build_writer
from tests.service.row_samples import GOOD, read
from tests.service.tiny_scorer import TinyScorer

SCORED, UNSCORED = TinyScorer().score_statements([GOOD, "Why?"])
BAD = BadRow(7, None, "empty", "The text has no visible characters.")
Written = tuple[Row, StatementScore] | BadRow
IDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)


def written(file_format: RowFormat, *rows: Written) -> bytes:
    file = BytesIO()
    with closing(build_writer(file, file_format)) as writer:
        for row in rows:
            if isinstance(row, BadRow):
                writer.write_error(row)
            else:
                writer.write_score(*row)
    return file.getvalue()


def row(identifier: str | int | None) -> Row:
    return Row(1, identifier, GOOD, None)


def cells(content: bytes) -> list[dict[str, Any]]:
    return list(csv.DictReader(StringIO(content.decode(), newline=""), strict=True))


def table(content: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(content))


def test_parquet_has_the_columns_of_csv_with_types() -> None:
    rows: list[Written] = [(row("a"), SCORED), (row(2), UNSCORED), BAD]
    found, as_csv = table(written(RowFormat.PARQUET, *rows)), cells(written(RowFormat.CSV, *rows))
    assert found.column_names == list(as_csv[0])
    types = {name: str(found.schema.field(name).type) for name in found.column_names}
    assert types.pop("prediction_set").startswith("list<")
    assert {types.pop(name) for name in found.column_names if name.startswith("score_")} == {"double"}
    assert [types.pop(name) for name in ("confidence", "is_cut", "line", "end_char")] == [
        "double", "bool", "int64", "int64",
    ]  # fmt: skip
    assert {types.pop(name) for name in ("start_char", "read_end_char")} == {"int64"}
    assert set(types.values()) == {"string"}


def test_parquet_says_what_json_lines_say() -> None:
    rows: list[Written] = [(row("a"), SCORED), (row(2), UNSCORED), BAD]
    scored, unscored, bad = table(written(RowFormat.PARQUET, *rows)).to_pylist()
    lines = [json.loads(line) for line in written(RowFormat.JSON_LINES, *rows).splitlines()]
    assert {name[6:]: scored[name] for name in scored if name.startswith("score_")} == lines[0]["scores"]
    for name in lines[0].keys() - {"scores", "id"}:
        assert (scored[name], unscored[name]) == (lines[0][name], lines[1][name])
    assert [found["id"] for found in (scored, unscored, bad)] == ["a", "2", None]
    assert (bad["line"], bad["error_kind"], bad["label"], scored["error_kind"]) == (7, "empty", None, None)


def test_parquet_carries_the_disclaimer() -> None:
    assert table(written(RowFormat.PARQUET)).schema.metadata[b"disclaimer"].decode() == DISCLAIMER


def test_an_output_without_rows_can_be_read() -> None:
    assert table(written(RowFormat.PARQUET)).num_rows == 0
    assert cells(written(RowFormat.CSV)) == []
    assert written(RowFormat.JSON_LINES) == b""


def test_rows_of_parquet_are_written_on_the_way() -> None:
    file = BytesIO()
    with closing(build_writer(file, RowFormat.PARQUET)) as writer:
        for number in range(20_000):
            writer.write_score(row(number), SCORED)
        before_the_end = len(file.getvalue())
    assert before_the_end > 1000
    assert pq.ParquetFile(pa.BufferReader(file.getvalue())).num_row_groups == 3
    assert table(file.getvalue())["id"].to_pylist() == [str(number) for number in range(20_000)]


@pytest.mark.parametrize("file_format", RowFormat)
def test_a_writer_leaves_the_file_open(file_format: RowFormat) -> None:
    file = BytesIO()
    build_writer(file, file_format).close()
    assert not file.closed


class FullDisk(BytesIO):
    def __init__(self, n_free_bytes: int) -> None:
        super().__init__()
        self.n_free_bytes = n_free_bytes

    def write(self, content: Any) -> int:
        self.n_free_bytes -= len(content)
        if self.n_free_bytes < 0:
            raise OSError(28, "No space left on device")
        return super().write(content)


def fill(file: BytesIO, file_format: RowFormat) -> None:
    with closing(build_writer(file, file_format)) as writer:
        for number in range(10_000):
            writer.write_score(row(number), SCORED)


@pytest.mark.parametrize("n_free_bytes", [0, 1000, 20_000])
@pytest.mark.parametrize("file_format", RowFormat)
def test_a_full_disk_is_said(file_format: RowFormat, n_free_bytes: int) -> None:
    with pytest.raises(OSError, match="No space left") as said:
        fill(FullDisk(n_free_bytes), file_format)
    assert said.value.errno == 28


@settings(deadline=None)
@given(IDS)
@example("=1+1")
@example("'=1+1")
@example("''-")
@example("\r")
@example('"\n')
def test_an_id_comes_back_from_our_own_output(identifier: str) -> None:
    content = written(RowFormat.CSV, (row(identifier), SCORED))
    (cell,) = (line["id"] for line in cells(content))
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    again = StringIO(newline="")
    csv.writer(again).writerows([["id", "text"], [cell, GOOD]])
    assert [found.id for found in read(again.getvalue().encode(), RowFormat.CSV)] == [identifier]
    (line,) = written(RowFormat.JSON_LINES, (row(identifier), SCORED)).decode().removesuffix("\n").split("\n")
    assert json.loads(line)["id"] == identifier
    assert table(written(RowFormat.PARQUET, (row(identifier), SCORED)))["id"].to_pylist() == [identifier]
