import base64
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption

from service.rows.files import Row, RowFileError, RowFormat, check_row_file, read_rows
from service.rows.parquet_rows import ParquetRows
from service.rows.row import MAX_ROW_SIZE
from tests.service.row_samples import GOOD, kinds, opened, read

PARQUET = RowFormat.PARQUET
MEGABYTE = 1024 * 1024


def parquet(columns: dict[str, Any] | pa.Table, **options: Any) -> bytes:
    """Return columns as a Parquet file."""
    written = BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), written, **options)
    return written.getvalue()


def test_all_columns_are_read_and_others_passed_over() -> None:
    columns = {
        "nested": [[{"a": 1}], []],
        "ID": ["a", None],
        "text": [GOOD, "Суд зібрався."],
        "language": ["en", None],
        "source": ["BBC", ""],
        "author": pa.nulls(2),
        "document_id": pa.array(["7", None]).dictionary_encode(),
    }
    assert read(parquet(columns), PARQUET) == [
        Row(1, "a", GOOD, "en", source="BBC", document_id="7"),
        Row(2, None, "Суд зібрався.", None),
    ]


@pytest.mark.parametrize("type_", [pa.int8(), pa.int64(), pa.uint64(), pa.null(), pa.large_string(), pa.string_view()])
def test_an_id_is_a_string_or_an_integer(type_: pa.DataType) -> None:
    identifier = {"int": 7, "uin": 7, "nul": None}.get(str(type_)[:3], "7")
    (row,) = read(parquet({"id": pa.array([identifier], type_), "text": [GOOD]}), PARQUET)
    assert row == Row(1, identifier, GOOD, None)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": "zstd", "row_group_size": 50},
        {"compression": "gzip", "data_page_version": "2.0"},
        {"compression": "brotli", "data_page_size": 100, "write_page_index": True, "write_page_checksum": True},
        {"compression": "none", "use_dictionary": False, "store_schema": False},
        {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY", "id": "DELTA_BINARY_PACKED"}},
        {"use_dictionary": False, "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY"}, "compression": "lz4"},
    ],
    ids=str,
)
@pytest.mark.parametrize("is_dictionary", [False, True])
def test_a_file_is_read_however_it_was_written(options: dict[str, Any], is_dictionary: bool) -> None:
    texts = pa.array([f"Text number {n % 7} goes here." for n in range(300)])
    # pyarrow cannot read back what it writes as both a dictionary and with this encoding.
    is_dictionary &= "column_encoding" not in options
    columns = {"id": range(300), "text": texts.dictionary_encode() if is_dictionary else texts}
    rows = read(parquet(columns, **options), PARQUET)
    assert rows == [Row(n + 1, n, f"Text number {n % 7} goes here.", None) for n in range(300)]


def test_bad_cells_make_bad_rows_and_the_rest_goes_on() -> None:
    # Text is not checked when it is written.
    texts = pa.array([b"\xcf\xf0\xe8", b"x" * (MAX_ROW_SIZE + 1), b"fine as it is", b"too", None, b"z"])
    columns = {
        "id": ["a", "b", "c" * 201, "d", "e", "f"],
        "text": pa.Array.from_buffers(pa.string(), len(texts), texts.buffers()),
        "source": [None, None, None, "s" * 201, None, "s"],
    }
    rows = read(parquet(columns), PARQUET)
    assert kinds(rows) == ["invalid_encoding", "too_long", "invalid_id", "invalid_tag", "missing_text", None]
    assert [row.id for row in rows] == ["a", "b", None, "d", "e", "f"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1], "statement": ["x"]}, "missing: text; rename statement to text"),
        ({"Secret plan": [1], "text": ["x"]}, "missing: id$"),
        ({"id": [1], "text": ["x"], "Text": ["y"]}, "more than once: text"),
        ({"id": [1.0], "text": ["x"]}, "column id holds numbers with a fraction; it must hold strings or integers"),
        ({"id": [1], "text": [b"x"]}, "column text holds bytes; it must hold strings$"),
        ({"id": [1], "text": pa.nulls(1)}, "column text holds nulls"),
        ({"id": [1], "text": [["x"]]}, "column text holds nested values"),
        ({"id": [1], "text": [{"secret": "x"}]}, "column text holds nested values"),
        ({"id": [1], "text": ["x"], "document_id": [7]}, "column document_id holds integers"),
        ({"id": pa.array([1]).dictionary_encode(), "text": ["x"], "author": [True]}, "column author holds true"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    (tmp_path / "rows.parquet").write_bytes(parquet(columns))
    with pytest.raises(RowFileError, match=message) as refused:
        check_row_file(tmp_path / "rows.parquet", PARQUET)
    assert "ecret" not in str(refused.value)
    with pytest.raises(RowFileError, match=message):
        read(parquet(columns), PARQUET)


WHOLE = parquet({"id": ["a", "b"], "text": [GOOD, GOOD]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"id,text\n1,x\n", "it is text"),
        (b"PK\x03\x04" + b"\0" * 20, "it is a zip file"),
        (b"PAR1", "is cut off"),
        (WHOLE[:-1], "is cut off"),
        (WHOLE[: len(WHOLE) // 2], "is cut off"),
        (WHOLE[:4] + bytes(40) + WHOLE[44:], "is damaged"),
        (WHOLE[:-8] + (2**31).to_bytes(4, "little") + b"PAR1", "is cut off"),
    ],
)
def test_what_is_no_whole_parquet_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows.parquet").write_bytes(content)
    with pytest.raises(RowFileError, match=message):
        check_row_file(tmp_path / "rows.parquet", PARQUET)


def test_a_damaged_byte_makes_no_other_error() -> None:
    for place in range(4, len(WHOLE), 5):
        for value in (0, 0x7F, 0xFF):
            damaged = WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :]
            with suppress(RowFileError):
                assert len(read(damaged, PARQUET)) <= 2


class NoKeyService(encryption.KmsClient):  # type: ignore[misc]
    def __init__(self, _: encryption.KmsConnectionConfig) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_an_encrypted_file_is_refused(plaintext_footer: bool) -> None:
    keys = encryption.EncryptionConfiguration("f", column_keys={"t": ["text"]}, plaintext_footer=plaintext_footer)
    factory = encryption.CryptoFactory(NoKeyService)
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), keys)
    with pytest.raises(RowFileError, match="is encrypted"):
        read(parquet({"id": ["a"], "text": [GOOD]}, encryption_properties=properties), PARQUET)


def test_an_encoding_is_not_named_for_parquet() -> None:
    with pytest.raises(RowFileError, match="name no encoding"):
        read(WHOLE, PARQUET, encoding="windows-1251")


def test_a_file_says_how_many_rows_it_has(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(parquet({"id": range(300), "text": [GOOD] * 300}, row_group_size=70))
    assert check_row_file(tmp_path / "rows.parquet", PARQUET) == 300
    (tmp_path / "rows.parquet").write_bytes(parquet({"id": pa.nulls(0), "text": pa.array([], pa.string())}))
    assert check_row_file(tmp_path / "rows.parquet", PARQUET) == 0
    assert read((tmp_path / "rows.parquet").read_bytes(), PARQUET) == []


def test_the_file_stays_open_for_its_owner() -> None:
    file = opened(WHOLE)
    assert len(list(read_rows(file, PARQUET))) == 2
    assert not file.closed


def repeated(text: str, n_rows: int) -> pa.Table:
    """Return a table whose one text stands in a dictionary."""
    indices = pa.array([0] * n_rows, pa.int32())
    return pa.table({"id": range(n_rows), "text": pa.DictionaryArray.from_arrays(indices, pa.array([text]))})


BOMBS = {
    "one text, many times": parquet(repeated("a" * MEGABYTE, 100_000), compression="zstd", store_schema=False),
    "as a dictionary": parquet(repeated("a" * MEGABYTE, 100_000), compression="zstd"),
    "by the text before": parquet(
        {"id": range(500), "text": ["a" * MEGABYTE] * 500},
        compression="zstd",
        use_dictionary=False,
        column_encoding={"text": "DELTA_BYTE_ARRAY"},
    ),
    "long cells": parquet(
        {"id": range(200), "text": ["a" * 4 * MEGABYTE] * 200},
        compression="zstd",
        use_dictionary=False,
        write_batch_size=1,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_never_becomes_a_great_batch(name: str) -> None:
    assert len(BOMBS[name]) < MEGABYTE
    before = pa.total_allocated_bytes()
    for _, row in zip(range(300), read_rows(opened(BOMBS[name]), PARQUET), strict=False):
        assert pa.total_allocated_bytes() - before < 512 * MEGABYTE
        assert isinstance(row, Row) or row.kind == "too_long"


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ({"id": range(150), "text": ["a" * MEGABYTE] * 150}, {"use_dictionary": False}),
        (repeated("a" * 20 * MEGABYTE, 2), {}),
    ],
    ids=["page", "dictionary"],
)
def test_a_page_that_would_take_too_much_memory_is_refused_unread(columns: Any, options: dict[str, Any]) -> None:
    options |= {"compression": "zstd", "data_page_size": 2**30, "dictionary_pagesize_limit": 2**30}
    with pytest.raises(RowFileError, match="bytes of memory at once"):
        ParquetRows(opened(parquet(columns, **options)))


def test_the_size_of_a_page_is_taken_from_the_page_itself() -> None:
    content = bytearray(parquet({"text": ["a" * 1_100_000], "id": [1]}, use_dictionary=False, compression="none"))
    # The header of the first page: its kind, its size in four bytes, and its packed size.
    assert list(content[4:7]) == [0x15, 0, 0x15]
    assert content[11] == 0x15
    content[7:11] = b"\xfe\xff\xff\x7f"
    with pytest.raises(RowFileError, match=r"takes 1342177\d\d bytes of memory at once"):
        ParquetRows(opened(bytes(content)))


def test_more_rows_than_are_sane_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.rows.parquet_pages._MAX_ROWS", 1)
    with pytest.raises(RowFileError, match="more than 1 rows; split it"):
        ParquetRows(opened(WHOLE))
