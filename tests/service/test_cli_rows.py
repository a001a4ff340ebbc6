import csv
import json
from collections.abc import Iterator
from dataclasses import fields
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from credence.scoring import ModelInfo, Scorer, StatementScore
from service.cli import build_cli
from service.models.source import ServedModel
from service.rows.files import BadRow, Row
from service.rows.scoring import CHUNK_ROWS, score_rows
from service.rows.writers import JsonLinesWriter

GOOD = "The court met on Monday."


class Convert:
    """Scores an input of some bytes in a folder of its own."""

    def __init__(self, served_model: ServedModel, folder: Path) -> None:
        self.cli = build_cli(lambda bundle_path: served_model)
        self.folder = folder

    def __call__(self, content: bytes, suffix: str = ".jsonl", output: str = "out.jsonl", *options: str) -> Result:
        source = self.folder / f"in{suffix}"
        source.write_bytes(content)
        arguments = ["score", "--input", str(source), "--output", str(self.folder / output), *options]
        return CliRunner().invoke(self.cli, arguments)

    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "out.jsonl").read_text(encoding="utf-8").splitlines()]

    def cells(self) -> list[dict[str, str]]:
        return list(csv.DictReader(StringIO((self.folder / "out.csv").read_text(encoding="utf-8"))))


@pytest.fixture
def convert(served_model: ServedModel, tmp_path: Path) -> Convert:
    return Convert(served_model, tmp_path)


def test_rows_keep_their_order_and_ids(convert: Convert) -> None:
    n_rows = 2 * CHUNK_ROWS + 1
    result = convert("".join(json.dumps({"id": n, "text": f"Row {n} is fine."}) + "\n" for n in range(n_rows)).encode())
    assert (result.exit_code, result.stdout) == (0, "")
    assert [row["id"] for row in convert.rows()] == list(range(n_rows))
    assert list(convert.rows()[0]) == ["id", *(field.name for field in fields(StatementScore))]


def test_a_bad_row_gets_an_error_row_and_the_rest_goes_on(convert: Convert) -> None:
    lines = [
        json.dumps({"id": "a", "text": GOOD}).encode(),
        b'{"id": "b", "text": "cut off',
        b'["c"]',
        b'{"id": "d"}',
        b'{"id": "e", "text": ""}',
        json.dumps({"id": "f", "text": "a" * 2001}).encode(),
        b'{"id": "g", "text": "null \\u0000 byte"}',
        b'{"id": "h", "text": "half \\ud800 pair"}',
        b'{"id": "i", "text": "\xcf\xf0\xe8"}',
        b'{"id": "j", "text": "Fine as it is", "language": "pl"}',
        b'{"id": ["k"], "text": "Fine as it is"}',
        b"[" * 50_000,
        json.dumps({"id": "z", "text": GOOD}).encode(),
    ]
    result = convert(b"\n".join(lines))
    rows = convert.rows()
    assert result.exit_code == 1
    assert "13 rows read, 11 of them with errors" in result.stderr
    assert [row["error"]["kind"] if "error" in row else row["label"] for row in rows] == [
        "factual_report", "invalid_json", "invalid_row", "missing_text", "empty", "too_long", "control_character",
        "lone_surrogate", "invalid_encoding", "unknown_language", "invalid_id", "invalid_json", "factual_report",
    ]  # fmt: skip
    assert [row["line"] for row in rows[1:-1]] == list(range(2, 13))
    assert [row["id"] for row in rows[3:8]] == ["d", "e", "f", "g", "h"]


def test_a_language_of_a_row_is_used(convert: Convert) -> None:
    convert(b'{"id": 1, "text": "Das Gericht tagte.", "language": "en"}\n{"id": 2, "text": "A b c", "language": null}')
    assert [row["language"] for row in convert.rows()] == ["en", "en"]


def test_bom_blank_lines_and_windows_line_ends_are_no_fault(convert: Convert) -> None:
    row = json.dumps({"id": "a", "text": GOOD}).encode()
    assert convert(b"\xef\xbb\xbf" + row + b"\r\n\r\n" + row + b"\r\n").exit_code == 0
    assert len(convert.rows()) == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_of_a_spreadsheet_is_read(convert: Convert, delimiter: str) -> None:
    lines = ["id,language,text", f"a,,{GOOD}", '"b",uk,"Суд ""зібрався""\r\nв понеділок"', "", f"c,en,{GOOD}"]
    content = "\r\n".join(lines).replace(",", delimiter).encode("utf-8-sig")
    assert convert(content, ".csv").exit_code == 0
    assert [(row["id"], row["language"]) for row in convert.rows()] == [("a", "en"), ("b", "uk"), ("c", "en")]


def test_bad_rows_of_csv_get_error_rows(convert: Convert) -> None:
    rows = [
        b"id,text",
        b"a," + GOOD.encode(),
        b"b,too, many",
        b"c",
        b"d,\xcf\xf0\xe8",
        b"e,",
        b'f,"not "doubled" quotes"',
        b"g," + GOOD.encode(),
        b'h,"never closed',
        b"i,swallowed",
    ]
    assert convert(b"\n".join(rows) + b"\n", ".csv").exit_code == 1
    found = [(row["id"], row["error"]["kind"], row["line"]) for row in convert.rows() if "error" in row]
    assert found == [
        ("b", "invalid_row", 3),
        ("c", "invalid_row", 4),
        ("d", "invalid_encoding", 5),
        ("e", "empty", 6),
        (None, "invalid_csv", 7),
        (None, "invalid_csv", 9),
    ]
    assert "Lines 9 to 10" in convert.rows()[-1]["error"]["message"]


def test_csv_and_json_lines_say_the_same(convert: Convert) -> None:
    content = f'{{"id": "a", "text": "{GOOD}"}}\n{{"id": "b", "text": "Why?"}}\n{{"id": "c", "text": ""}}'.encode()
    convert(content)
    convert(content, output="out.csv")
    (scored, unscored, bad), cells = convert.rows(), convert.cells()
    assert {outcome: float(cells[0][f"score_{outcome}"]) for outcome in scored["scores"]} == scored["scores"]
    assert cells[0]["prediction_set"] == "|".join(scored["prediction_set"])
    for name in scored.keys() - {"scores", "prediction_set", "is_cut"}:
        assert cells[0][name] == ("" if scored[name] is None else str(scored[name]))
        assert cells[1][name] == ("" if unscored[name] is None else str(unscored[name]))
    assert (cells[1]["score_allegation"], cells[1]["is_cut"]) == ("", "false")
    assert (cells[2]["error_kind"], cells[2]["line"]) == (bad["error"]["kind"], str(bad["line"]))


def test_a_huge_cell_of_csv_keeps_its_id_and_is_too_long(convert: Convert) -> None:
    huge = b'a,"' + b"word " * 60_000 + b'"'
    assert convert(b"\n".join([b"id,text", huge, b"b," + GOOD.encode()]), ".csv").exit_code == 1
    bad, good = convert.rows()
    assert (bad["id"], bad["error"]["kind"], bad["line"], good["id"]) == ("a", "too_long", 2, "b")


def test_reading_csv_leaves_the_limit_of_other_readers_alone(convert: Convert) -> None:
    before = csv.field_size_limit()
    convert(b"id,text\na," + GOOD.encode(), ".csv")
    assert csv.field_size_limit() == before


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv"])
@pytest.mark.parametrize(
    ("content", "suffix"),
    [(b"", ".csv"), (b"\xef\xbb\xbf", ".csv"), (b"id,text\n", ".csv"), (b"", ".jsonl"), (b"\n \n", ".jsonl")],
)
def test_an_input_without_rows_is_no_fault(convert: Convert, content: bytes, suffix: str, output: str) -> None:
    result = convert(content, suffix, output)
    assert result.exit_code == 0
    assert result.stderr.startswith("0 rows read")
    assert (convert.folder / output).is_file()


def test_names_of_columns_may_have_capitals_and_spaces(convert: Convert) -> None:
    assert convert(b" ID ;Text; LANGUAGE\na;A b c;en\n", ".csv").exit_code == 0
    assert [(row["id"], row["language"]) for row in convert.rows()] == [("a", "en")]


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        ('{"id": 1, "text": "Суд собрался"}'.encode("windows-1251"), ".jsonl"),
        ("id,text\n1,Суд собрался".encode("windows-1251"), ".csv"),
        ("id,text\nсуд,Fine as it is".encode("windows-1251"), ".csv"),
    ],
)
def test_a_row_in_another_encoding_says_how_to_convert_the_file(convert: Convert, content: bytes, suffix: str) -> None:
    assert convert(content, suffix).exit_code == 1
    error = convert.rows()[0]["error"]
    assert error["kind"] == "invalid_encoding"
    assert "iconv -f WINDOWS-1251 -t UTF-8" in error["message"]


FORMULAS = ["=1+1", "+1", "-1", "@sum", "\tcell", "\rcell"]


def test_no_cell_of_csv_is_a_formula(convert: Convert) -> None:
    rows = [{"id": name, "text": text} for name in FORMULAS for text in (GOOD, "")]
    assert convert("\n".join(json.dumps(row) for row in rows).encode(), output="out.csv").exit_code == 1
    with (convert.folder / "out.csv").open(encoding="utf-8", newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file, strict=True)]
    assert ids == [f"'{name}" for name in FORMULAS for _ in range(2)]


def test_json_lines_keep_an_id_that_looks_like_a_formula(convert: Convert) -> None:
    convert("\n".join(json.dumps({"id": name, "text": GOOD}) for name in FORMULAS).encode())
    assert [row["id"] for row in convert.rows()] == FORMULAS


def test_a_negative_number_stays_a_number_in_csv(convert: Convert) -> None:
    convert(json.dumps({"id": -1, "text": GOOD}).encode(), output="out.csv")
    assert convert.cells()[0]["id"] == "-1"


@pytest.mark.parametrize(
    ("content", "suffix", "message"),
    [
        (b"\n", ".csv", "missing: id, text"),
        (b"id,body\n1,x", ".csv", "missing: text"),
        (b"id,text;language\n1,x", ".csv", "several kinds of comma"),
        (b"id,text,text\n1,x,y", ".csv", "more than once: text"),
        (b"Text,ID,id,text\n1,2,3,4", ".csv", "more than once: id, text"),
        ("id,text\n1,x".encode("utf-16"), ".csv", "iconv -f UTF-16 -t UTF-8"),
        (b'[{"id": 1, "text": "x"},\n{"id": 2, "text": "y"}]', ".jsonl", "a JSON array; put one object on a line"),
        (b'\xef\xbb\xbf\n [\n  {"id": 1}\n]', ".jsonl", "a JSON array; put one object on a line"),
        (b"", ".txt", "must end in .jsonl, .ndjson, .csv or .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(
    convert: Convert, content: bytes, suffix: str, message: str
) -> None:
    result = convert(content, suffix)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert [path.name for path in convert.folder.iterdir()] == [f"in{suffix}"]


def test_the_input_is_never_overwritten(convert: Convert) -> None:
    content = json.dumps({"id": "a", "text": GOOD}).encode()
    (convert.folder / "out.jsonl").symlink_to(convert.folder / "in.jsonl")
    assert convert(content, ".jsonl", "out.jsonl", "--overwrite").exit_code == 2
    assert (convert.folder / "in.jsonl").read_bytes() == content


def test_an_output_that_exists_is_replaced_only_on_request(convert: Convert) -> None:
    content = json.dumps({"id": "a", "text": GOOD}).encode()
    output = convert.folder / "out.jsonl"
    output.write_text("the old output")
    refused = convert(content)
    assert (refused.exit_code, refused.stdout, output.read_text()) == (2, "", "the old output")
    assert "out.jsonl exists; name another file, or add --overwrite" in refused.stderr
    assert convert(content, ".jsonl", "out.jsonl", "--overwrite").exit_code == 0
    assert [row["id"] for row in convert.rows()] == ["a"]


def test_an_output_that_exists_is_refused_before_a_model_is_loaded(tmp_path: Path) -> None:
    def refuse(bundle_path: Path | None) -> ServedModel:
        raise AssertionError("the model was loaded")

    (tmp_path / "in.jsonl").touch()
    (tmp_path / "out.jsonl").touch()
    arguments = ["score", "--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    assert CliRunner().invoke(build_cli(refuse), arguments).exit_code == 2


class FailingScorer:
    def __init__(self, inner: Scorer) -> None:
        self.info: ModelInfo = inner.info
        self.score_document = inner.score_document

    def score_statements(self, texts: object, *, languages: object = None) -> list[StatementScore]:
        raise OSError("the disk is full")


def test_a_failure_leaves_the_old_output_and_no_half_one(scorer: Scorer, tmp_path: Path) -> None:
    convert = Convert(ServedModel(FailingScorer(scorer), "", {}), tmp_path)
    (tmp_path / "out.jsonl").write_text("the old output")
    result = convert(json.dumps({"id": "a", "text": GOOD}).encode(), ".jsonl", "out.jsonl", "--overwrite")
    assert (result.exit_code, result.stderr) == (2, "credence: the disk is full\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "the old output"


def test_no_more_than_one_chunk_is_held_in_memory(scorer: Scorer) -> None:
    output, pulled = BytesIO(), 0

    def rows() -> Iterator[Row | BadRow]:
        nonlocal pulled
        for line in range(1, 5 * CHUNK_ROWS):
            pulled += 1
            assert pulled - output.getvalue().count(b"\n") <= CHUNK_ROWS
            yield Row(line, line, GOOD, None)

    writer = JsonLinesWriter(output)
    counts = score_rows(rows(), scorer, writer, max_chars=2000, report_progress=lambda n_rows: None)
    assert (counts.n_rows, counts.n_errors) == (5 * CHUNK_ROWS - 1, 0)
