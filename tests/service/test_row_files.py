import csv
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest

from service.rows.files import BadRow, Row, RowFileError, RowFormat, check_row_file, read_rows, row_format
from service.rows.row import MAX_ROW_SIZE
from tests.service.row_samples import GOOD, csv_file, kinds, opened, read

CSV, JSON_LINES, PARQUET = RowFormat.CSV, RowFormat.JSON_LINES, RowFormat.PARQUET


def json_line(**cells: object) -> bytes:
    return json.dumps(cells).encode() + b"\n"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", CSV),
        ("a.CSV", CSV),
        ("a.jsonl", JSON_LINES),
        ("a.ndjson", JSON_LINES),
        ("a.parquet", RowFormat.PARQUET),
    ],
)
def test_the_extension_says_the_format(name: str, expected: RowFormat) -> None:
    assert row_format(Path(name)) is expected


def long_line(beginning: bytes, end: bytes, file_format: RowFormat) -> Iterator[bytes]:
    """Yield a file with one line of 64 MB between two good rows."""
    is_csv = file_format is CSV
    yield csv_file(f"a,{GOOD}") + b"\n" if is_csv else json_line(id="a", text=GOOD)
    yield beginning
    yield from (b"word " * 200_000 for _ in range(64))
    yield end
    yield f"z,{GOOD}\n".encode() if is_csv else json_line(id="z", text=GOOD)


def read_within_bounds(parts: Iterator[bytes], file_format: RowFormat) -> list[Row | BadRow]:
    """Return the rows of a flow, of which never more than a few of the greatest may be in memory."""
    tracemalloc.start()
    rows = list(read_rows(opened(parts), file_format))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MAX_ROW_SIZE
    return rows


@pytest.mark.parametrize(
    ("beginning", "end", "file_format"),
    [
        (b"b,", b"\n", CSV),
        (b'b,"', b'"\r\n', CSV),
        (b"", b"\n", CSV),
        (b'{"id": "b", "text": "', b'"}\n', JSON_LINES),
        (b"", b"\r\n", JSON_LINES),
    ],
)
def test_a_line_that_memory_could_not_hold_costs_one_row(beginning: bytes, end: bytes, file_format: RowFormat) -> None:
    rows = read_within_bounds(long_line(beginning, end, file_format), file_format)
    assert kinds(rows) == [None, "line_too_long", None]
    assert [row.id for row in rows] == ["a", None, "z"]
    assert rows[1].line == rows[2].line - 1


def test_a_long_line_within_a_cell_takes_only_the_row_with_it() -> None:
    huge = "word " * (MAX_ROW_SIZE // 4)
    rows = read(csv_file(f"a,{GOOD}", 'b,"it begins', huge + '"', f"z,{GOOD}"), CSV)
    assert kinds(rows) == [None, "line_too_long", None]
    assert rows[1].line == 3
    assert isinstance(rows[1], BadRow)
    assert "line 4 is longer" in rows[1].message


@pytest.mark.parametrize("line", [b"word " * 100 + b"\n", b'"word' + b" word" * 100 + b'\n",'], ids=["cell", "row"])
def test_a_quote_that_is_never_closed_is_given_up(line: bytes) -> None:
    parts = iter([b'id,text\na,"', *([line * 100] * 250)])
    rows = read_within_bounds(parts, CSV)
    assert kinds(rows)[0] == "invalid_csv"
    assert set(kinds(rows)) <= {"invalid_csv", "invalid_row"}


def test_a_first_line_that_memory_could_not_hold_is_refused() -> None:
    with pytest.raises(RowFileError, match="first line is longer"):
        read((b"word " * 200_000 for _ in range(20)), CSV)
    with pytest.raises(RowFileError, match="JSON array"):
        read((b'[{"id": 1}, ' * 200_000 for _ in range(5)), JSON_LINES)


def test_tags_come_along() -> None:
    tags = {"source": "BBC", "author": "Анна", "document_id": "7"}
    names = "id,text,source,author,document_id,language,other"
    expected = Row(1, "a", GOOD, None, **tags)
    assert read(json_line(id="a", text=GOOD, other=1, **tags), JSON_LINES) == [expected]
    (row,) = read(csv_file(f"a,{GOOD},BBC,Анна,7,,x", names=names), CSV)
    assert row == Row(2, "a", GOOD, None, **tags)


def test_an_empty_tag_is_no_tag() -> None:
    assert read(json_line(id=1, text=GOOD, source="", author=None), JSON_LINES) == [Row(1, 1, GOOD, None)]
    assert read(csv_file(f"1,{GOOD},", names="id,text,source"), CSV) == [Row(2, "1", GOOD, None)]


@pytest.mark.parametrize("tag", ["x" * 201, "null \0 byte", 7, ["x"], "\ud800"])
@pytest.mark.parametrize("name", ["source", "author", "document_id"])
def test_a_tag_that_cannot_be_kept_makes_a_bad_row(name: str, tag: object) -> None:
    (row,) = read(json_line(id="a", text=GOOD, **{name: tag}), JSON_LINES)
    assert isinstance(row, BadRow)
    assert (row.id, row.kind) == ("a", "invalid_tag")
    assert name in row.message


@pytest.mark.parametrize("identifier", ["x" * 201, "null \0 byte", int("1" * 201), 1.5, True, {}, "\udc00"])
def test_an_id_that_cannot_be_kept_makes_a_bad_row_without_it(identifier: object) -> None:
    (row,) = read(json_line(id=identifier, text=GOOD), JSON_LINES)
    assert (row.id, kinds([row])) == (None, ["invalid_id"])


def test_an_id_that_cannot_be_kept_is_in_no_row_of_csv() -> None:
    rows = read(csv_file("x" * 201 + ",", "null \0 byte,too,many", "x" * 200 + f",{GOOD}"), CSV)
    assert kinds(rows) == ["invalid_id", "invalid_row", None]
    assert [row.id for row in rows] == [None, None, "x" * 200]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("id,statement", "missing: text; rename statement to text"),
        ("ИД;Текст", "missing: id, text; rename ид to id; rename текст to text"),
        ("№,text", "missing: id; rename № to id"),
        ("id,Confidential plan", "missing: text$"),
        ("id,text,source,Source", "more than once: source"),
        ("id,text;language", "several kinds of comma"),
        ("", "missing: id, text$"),
    ],
)
def test_a_header_that_does_not_fit_says_what_to_change(tmp_path: Path, names: str, message: str) -> None:
    (tmp_path / "rows.csv").write_bytes(csv_file("1,2", names=names))
    with pytest.raises(RowFileError, match=message) as refused:
        check_row_file(tmp_path / "rows.csv", CSV)
    assert "Confidential" not in str(refused.value)
    with pytest.raises(RowFileError, match=message):
        read(csv_file("1,2", names=names), CSV)


def test_a_key_that_is_named_otherwise_is_hinted_at() -> None:
    for name in ("Text", "statement"):
        (row,) = read(json_line(id=1, **{name: GOOD}), JSON_LINES)
        assert isinstance(row, BadRow)
        assert row.kind == "missing_text"
        assert f"rename {name} to text" in row.message or f"rename {name.casefold()} to text" in row.message


@pytest.mark.parametrize(
    ("content", "command"), [(b'[\n{"id": 1}]', r"jq -c '\.\[\]'"), (b'\xef\xbb\xbf{\n"id": 1,\n', r"jq -c \. old")]
)
def test_json_of_another_shape_is_refused_at_once(tmp_path: Path, content: bytes, command: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    with pytest.raises(RowFileError, match=command):
        check_row_file(tmp_path / "rows.jsonl", JSON_LINES)
    with pytest.raises(RowFileError, match=command):
        read(content, JSON_LINES)


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"id,text\n", b"id;text\r\n\r\n"])
def test_a_file_without_rows_is_no_fault(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows").write_bytes(content)
    assert check_row_file(tmp_path / "rows", CSV) is None
    assert read(content, CSV) == []
    assert read(b"\n\n", JSON_LINES) == []


@pytest.mark.parametrize(("delimiter", "name"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs")])
def test_a_ragged_row_says_what_to_put_in_quotes(delimiter: str, name: str) -> None:
    rows = read(csv_file("a,b,c", "d", f"e,{GOOD}").replace(b",", delimiter.encode()), CSV)
    assert kinds(rows) == ["invalid_row", "invalid_row", None]
    assert isinstance(rows[0], BadRow)
    assert f"3 cells and the header 2: put quotes round a text with {name}" in rows[0].message


def test_lines_of_an_old_mac_are_rows() -> None:
    assert [row.id for row in read(b"id,text\ra,b c d\re,f g h\r", CSV)] == ["a", "e"]


def test_many_files_are_read_at_once_without_a_limit_of_one_on_another() -> None:
    usual, together = csv.field_size_limit(), Barrier(3)
    found: list[Row | BadRow] = []
    huge = "word " * 60_000

    def read_slowly() -> None:
        rows = read_rows(opened(csv_file("a,b c d", f"b,{huge}")), CSV)
        next(rows)
        together.wait()
        found.extend(rows)

    threads = [Thread(target=read_slowly) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row.id for row in found] == ["b"] * 3
    assert kinds(found) == [None] * 3
    assert csv.field_size_limit() == usual
