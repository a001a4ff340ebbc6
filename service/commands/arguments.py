"""What the command line is given: a text from wherever it stands, and the paths of rows."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from credence.errors import CredenceError
from service.rows.signatures import name_binary
from service.rows.text_encoding import UTF16_MARKS, conversion_hint

_FILE_NAME: Final = re.compile(r"\S+\.(?:txt|md|html?|jsonl?|ndjson|csv|parquet|docx?|pdf)", re.IGNORECASE)


class CommandError(CredenceError):
    """The command cannot do what was asked; the message says why and what to do."""


def read_text(argument: str | None) -> str:
    """Return the text that an argument stands for: of stdin, of a file, or itself. Raises ``CommandError``."""
    if argument is None:
        raise CommandError("give a text, a file or - for stdin; credence score --help says more")
    if not argument:
        return argument
    if argument == "-":
        return decode_text(sys.stdin.buffer.read(), "stdin")
    try:
        path = Path(argument)
        if path.is_dir():
            raise CommandError("this is a folder; name a file in it")
        if path.is_file():
            return decode_text(path.read_bytes(), path.name)
    except (ValueError, OSError):
        # Longer than a path can be, or with characters that none has: a text.
        return argument
    if _FILE_NAME.fullmatch(argument):
        raise CommandError(f"there is no file {argument}; to score it as a text, pipe it to credence score -")
    return argument


def decode_text(raw: bytes, name: str) -> str:
    """Decode UTF-8, with or without a BOM; raises ``CommandError`` that says how to convert the rest."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if not raw.startswith(UTF16_MARKS) and (binary := name_binary(raw)):
            raise CommandError(f"{name} is not text but {binary}; credence batch takes files of rows") from None
        raise CommandError(f"{name} is not UTF-8 (byte {error.start}); {conversion_hint(raw)}") from None


def check_row_paths(input_path: Path, output_path: Path, *, may_overwrite: bool) -> None:
    """Raise ``CommandError`` where rows cannot go from one file to the other."""
    if not input_path.is_file():
        raise CommandError(f"there is no file {input_path}")
    if output_path.exists() and output_path.samefile(input_path):
        raise CommandError("the output would overwrite the input; name another file")
    check_output_path(output_path, may_overwrite=may_overwrite)


def scored_path(input_path: Path) -> Path:
    """Return where scored rows go if nobody says: beside the input, in the same format."""
    return input_path.with_name(f"{input_path.stem}.scored{input_path.suffix}")


def check_output_path(path: Path, *, may_overwrite: bool) -> None:
    """Raise ``CommandError`` where nothing can be written, or something would be lost."""
    if not path.parent.is_dir():
        raise CommandError(f"there is no folder {path.parent} for the output")
    if path.is_dir():
        raise CommandError(f"{path} is a folder; name a file in it")
    if path.exists() and not may_overwrite:
        raise CommandError(f"{path} exists; name another file, or add --overwrite to replace it")


def parse_time(written: str | None, option: str) -> datetime | None:
    """Return the aware time that an option names, in UTC where it says no zone; raises ``CommandError``."""
    if written is None:
        return None
    try:
        time = datetime.fromisoformat(written)
    except ValueError:
        raise CommandError(f"{option} takes a time such as 2026-03-01 or 2026-03-01T12:00:00Z") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
