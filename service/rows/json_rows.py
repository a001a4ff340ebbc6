"""Rows as JSON lines."""

import json
from collections.abc import Iterator
from io import BufferedReader
from typing import Final

from service.rows.row import MAX_ROW_SIZE, BadRow, Row, RowFileError, build_row, find_bad_id
from service.rows.text_encoding import UTF8_MARK, encoding_hint

_LONG_LINE: Final = f"The line is longer than {MAX_ROW_SIZE} bytes and was not read: shorten or split its text."


def read_json_lines(file: BufferedReader, encoding: str) -> Iterator[Row | BadRow]:
    """Read rows one by one; blank lines are passed over. Raises ``RowFileError`` where it is JSON of another kind."""
    is_first = True
    for line, (raw, is_whole) in enumerate(_read_lines(file), start=1):
        content = raw.removeprefix(UTF8_MARK) if line == 1 else raw
        if not content.strip() and is_whole:
            continue
        if is_first:
            require_json_lines(content)
            is_first = False
        yield _parse(line, content, encoding) if is_whole else BadRow(line, None, "line_too_long", _LONG_LINE)


def require_json_lines(beginning: bytes) -> None:
    """Raise ``RowFileError`` where a file begins as JSON does that is not a line for each row."""
    content = beginning.removeprefix(UTF8_MARK).lstrip()
    if content.startswith(b"["):
        raise RowFileError("the input is a JSON array; put one object on a line, as in: jq -c '.[]' old > new")
    if content.partition(b"\n")[0].rstrip() == b"{":
        raise RowFileError("the input has one object on several lines; put each on one, as in: jq -c . old > new")


def _read_lines(file: BufferedReader) -> Iterator[tuple[bytes, bool]]:
    """Yield each line and whether that is all of it; what is beyond the limit is passed over."""
    while raw := file.readline(MAX_ROW_SIZE + 1):
        if len(raw) <= MAX_ROW_SIZE or raw.endswith(b"\n"):
            yield raw, True
            continue
        while (rest := file.readline(MAX_ROW_SIZE)) and not rest.endswith(b"\n"):
            pass
        yield raw, False


def _parse(line: int, raw: bytes, encoding: str) -> Row | BadRow:
    try:
        row = json.loads(raw.decode(encoding))
    except UnicodeDecodeError as error:
        fault = f"Byte {error.start} of the line is not {encoding.upper()}: {encoding_hint(encoding)}."
        return BadRow(line, None, "invalid_encoding", fault)
    except (ValueError, RecursionError):
        return BadRow(line, None, "invalid_json", "The line is not JSON that can be read.")
    if not isinstance(row, dict):
        return BadRow(line, None, "invalid_row", "The line is not a JSON object with the keys id and text.")
    identifier = row.get("id")
    return find_bad_id(line, identifier) or build_row(line, identifier, row)
