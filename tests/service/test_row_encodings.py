import json
from pathlib import Path

import pytest

from service.rows.files import BadRow, Row, RowFileError, RowFormat, check_row_file
from tests.service.row_samples import GOOD, csv_file, kinds, read

CSV, JSON_LINES = RowFormat.CSV, RowFormat.JSON_LINES
CYRILLIC = "Суд зібрався в понеділок, повідомив ґрунтовний речник."


@pytest.mark.parametrize("encoding", ["windows-1251", "CP1251", "koi8-u", "Windows_1251"])
def test_a_file_is_read_in_the_encoding_that_it_is_said_to_be_in(encoding: str) -> None:
    plain = csv_file(f'"ї","{CYRILLIC}"').decode()
    (row,) = read(plain.encode(encoding), CSV, encoding=encoding)
    assert row == Row(2, "ї", CYRILLIC, None)
    line = json.dumps({"id": "ї", "text": CYRILLIC}, ensure_ascii=False)
    assert read(line.encode(encoding), JSON_LINES, encoding=encoding) == [Row(1, "ї", CYRILLIC, None)]


@pytest.mark.parametrize("name", ["utf-16", "latin-9", "", "../codecs", "идк", "\0"])
def test_an_encoding_that_is_not_taken_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(RowFileError, match=r"name one of utf-8, windows-1251, .*cp866$"):
        read(csv_file(f"a,{GOOD}"), CSV, encoding=name)


def test_bytes_that_an_encoding_does_not_have_make_a_bad_row() -> None:
    # 0x98 stands for nothing in windows-1251.
    for content, file_format in ((b"id,text\n1,\x98 x", CSV), (b'{"id": "1", "text": "\x98 x"}', JSON_LINES)):
        (row,) = read(content, file_format, encoding="windows-1251")
        assert isinstance(row, BadRow)
        assert row.kind == "invalid_encoding"
        assert "not WINDOWS-1251" in row.message


def test_a_row_that_is_not_utf8_says_how_to_name_the_encoding() -> None:
    for row in read(f"id,text\n1,{CYRILLIC[:3]}\nї,x\n".encode("windows-1251"), CSV):
        assert isinstance(row, BadRow)
        assert row.kind == "invalid_encoding"
        assert "such as windows-1251" in row.message


@pytest.mark.parametrize("content", [csv_file(f"1,{CYRILLIC}"), b"\xef\xbb\xbf" + csv_file("1,x")])
def test_a_utf8_file_is_not_read_as_something_else(content: bytes) -> None:
    with pytest.raises(RowFileError, match="is UTF-8 and not windows-1251"):
        read(content, CSV, encoding="windows-1251")


@pytest.mark.parametrize("file_format", [CSV, JSON_LINES])
@pytest.mark.parametrize(
    ("beginning", "what"),
    [
        (b"PK\x03\x04\x14\0\0\0", "a zip file, or an office file such as .xlsx"),
        (b"\x1f\x8b\x08\0", "compressed with gzip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file"),
        (b"PAR1\x15\0", "a Parquet file"),
        (b"%PDF-1.7\n", "a PDF file"),
        (b"\x28\xb5\x2f\xfd\x04", "compressed with zstd"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 9, "binary data"),
        ("id,text\n1,Суд".encode("utf-16-le"), "UTF-16 without a mark"),
        (b"\xff\xfei\0d\0", "UTF-16; convert it first"),
    ],
)
def test_what_is_not_text_is_recognised_by_its_first_bytes(
    tmp_path: Path, file_format: RowFormat, beginning: bytes, what: str
) -> None:
    (tmp_path / "rows").write_bytes(beginning)
    with pytest.raises(RowFileError, match=what):
        check_row_file(tmp_path / "rows", file_format)
    with pytest.raises(RowFileError, match=what):
        read(beginning, file_format)


def test_a_stray_control_character_is_a_matter_of_its_row() -> None:
    assert kinds(read(csv_file("a,null \0 byte"), CSV)) == [None]


def test_a_header_in_another_encoding_says_so() -> None:
    with pytest.raises(RowFileError, match=r"first line.*is not utf-8.*windows-1251"):
        read("номер;текст\n1;2".encode("windows-1251"), CSV)
