"""What the command line is given: a text from wherever it stands, and the paths of rows."""

import re
import sys
from pathlib import Path
from typing import Final

from credence.errors import CredenceError
from service.text_encoding import conversion_hint

_FILE_NAME: Final = re.compile(r"\S+\.(?:txt|md|html?|jsonl?|csv|docx?|pdf)", re.IGNORECASE)


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
        raise CommandError(f"{name} is not UTF-8 (byte {error.start}); {conversion_hint(raw)}") from None


def check_row_paths(input_path: Path, output_path: Path, *, may_overwrite: bool) -> None:
    """Raise ``CommandError`` where rows cannot go from one file to the other."""
    if not input_path.is_file():
        raise CommandError(f"there is no file {input_path}")
    if not output_path.parent.is_dir():
        raise CommandError(f"there is no folder {output_path.parent} for the output")
    if output_path.is_dir():
        raise CommandError(f"{output_path} is a folder; name a file in it")
    if output_path.exists():
        if output_path.samefile(input_path):
            raise CommandError("--output would overwrite --input; name another file")
        if not may_overwrite:
            raise CommandError(f"{output_path} exists; name another file, or add --overwrite to replace it")
