import csv
import json
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from credence.labels import DISCLAIMER
from service.cli import build_cli
from service.models.source import ServedModel
from tests.service.row_samples import GOOD

ROWS = [{"id": "a", "text": GOOD}, {"id": "=b", "text": "They secretly rule us all."}, {"id": "c", "text": ""}]
SUFFIXES = [".csv", ".jsonl", ".ndjson", ".parquet"]


class Batch:
    """Runs ``credence batch`` in a folder of its own."""

    def __init__(self, served_model: ServedModel, folder: Path) -> None:
        self.cli = build_cli(lambda bundle_path: served_model)
        self.folder = folder

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(self.cli, ["batch", *arguments])

    def put(self, suffix: str) -> str:
        """Write the rows as a file of a format, and return its path."""
        path = self.folder / f"rows{suffix}"
        if suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        elif suffix == ".csv":
            path.write_text("\n".join(["id,text", *(f"{row['id']},{row['text']}" for row in ROWS)]), encoding="utf-8")
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
        return str(path)

    def labels(self, name: str) -> dict[str, str | None]:
        """Return the label of each id in an output."""
        path = self.folder / name
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
        elif path.suffix == ".csv":
            rows = list(csv.DictReader(StringIO(path.read_text(encoding="utf-8"))))
        else:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {row["id"]: row.get("label") or None for row in rows}


@pytest.fixture
def batch(served_model: ServedModel, tmp_path: Path) -> Batch:
    return Batch(served_model, tmp_path)


@pytest.mark.parametrize("output", SUFFIXES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_of_any_format_are_scored_into_any_other(batch: Batch, suffix: str, output: str) -> None:
    result = batch(batch.put(suffix), "--output", str(batch.folder / f"out{output}"))
    assert (result.exit_code, result.stdout) == (1, "")
    identifier = "'=b" if output == ".csv" else "=b"
    expected = {"a": "factual_report", identifier: "likely_disinformation_narrative", "c": None}
    assert batch.labels(f"out{output}") == expected


def test_the_output_stands_beside_the_input_unless_it_is_named(batch: Batch) -> None:
    for suffix in SUFFIXES:
        assert batch(batch.put(suffix)).exit_code == 1
        assert (batch.folder / f"rows.scored{suffix}").is_file()
    path = batch.put(".csv")
    refused = batch(path)
    assert refused.exit_code == 2
    assert "rows.scored.csv exists; name another file, or add --overwrite" in refused.stderr
    assert batch(path, "--overwrite").exit_code == 1


def test_what_came_of_it_is_said_in_the_end(batch: Batch) -> None:
    said = batch(batch.put(".jsonl")).stderr.splitlines()
    assert said[0].startswith("3 rows read, 1 of them with errors, into ")
    assert said[1:] == [
        "  1 empty, first in line 3: The text has no visible characters: send at least one word.",
        DISCLAIMER,
    ]


def test_rows_that_are_all_scored_are_a_success(batch: Batch) -> None:
    (batch.folder / "good.jsonl").write_text(json.dumps(ROWS[0]), encoding="utf-8")
    assert batch(str(batch.folder / "good.jsonl")).exit_code == 0


def test_the_encoding_of_a_file_can_be_named(batch: Batch) -> None:
    path = batch.folder / "rows.csv"
    path.write_bytes("id;text\nї;Суд зібрався в понеділок.".encode("windows-1251"))
    unnamed = batch(str(path))
    assert (unnamed.exit_code, batch.labels("rows.scored.csv")) == (1, {"": None})
    assert batch(str(path), "--overwrite", "--encoding", "windows-1251").exit_code == 0
    assert batch.labels("rows.scored.csv") == {"ї": "factual_report"}


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("none.csv", None, (), "there is no file"),
        ("rows.xlsx", b"PK\x03\x04", (), "must end in .jsonl, .ndjson, .csv or .parquet"),
        ("rows.csv", b"PK\x03\x04", (), "a zip file, or an office file such as .xlsx or .docx; save it as CSV"),
        ("rows.parquet", b"PAR1 and no end", (), "is cut off"),
        ("rows.csv", b"id,body\n1,x", (), "missing: text; rename body to text"),
        ("rows.csv", b"id,text\n1,x", ("--encoding", "latin-9"), "name one of utf-8, windows-1251"),
        ("rows.csv", b"id,text\n1,x", ("--output", "rows.xml"), "rows.xml: the name must end in"),
    ],
)
def test_what_cannot_be_scored_is_said_before_a_model_is_loaded(
    tmp_path: Path, name: str, content: bytes | None, options: tuple[str, ...], message: str
) -> None:
    def refuse(bundle_path: Path | None) -> ServedModel:
        raise AssertionError("the model was loaded")

    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = CliRunner().invoke(build_cli(refuse), ["batch", str(tmp_path / name), *options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == [name] * (content is not None)


def test_a_file_of_rows_is_not_taken_for_a_text(batch: Batch) -> None:
    result = CliRunner().invoke(batch.cli, ["score", batch.put(".parquet")])
    assert result.exit_code == 2
    assert "rows.parquet is not text but a Parquet file; credence batch takes files of rows" in result.stderr


def test_help_tells_the_columns_and_the_exit_codes(batch: Batch) -> None:
    told = " ".join(batch("--help").stdout.split())
    for part in ("document_id", ".parquet", "--encoding", "apostrophe", "Exit code", "rows.scored.csv"):
        assert part in told
    assert "bool" not in told
