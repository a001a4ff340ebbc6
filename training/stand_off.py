"""Reads JSON lines that say what is wrong with them, and joins stand-off records to their texts in the data pack."""

import gzip
import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.sources import DATASETS_DIR, CorpusError, public_sets


@dataclass(frozen=True, slots=True)
class JoinedRecord:
    """A record, where it stands, the text that its label was given to, and its source's date and address."""

    where: str
    record: dict[str, Any]
    text: str
    date: str | None
    url: str | None


def join_gold(records: Path, texts: Path) -> Iterator[JoinedRecord]:
    """Join each record to the row of the same id; raises ``CorpusError`` where the text is missing or another."""
    found: dict[str, dict[str, Any]] = {}
    for where, row in read_rows(texts):
        with expecting_fields(where):
            found[row["id"]] = row
    for where, record in read_rows(records):
        with expecting_fields(where):
            source = found.get(record["id"])
            if source is None:
                raise CorpusError(
                    f"{where}: the data pack's gold/{texts.name} has no row {record['id']}; get the pack anew"
                )
            joined = _checked(where, record, source["text"], source, f"gold/{texts.name}")
        yield joined


def join_annotations(records: Path, data_pack: Path, *, datasets_dir: Path = DATASETS_DIR) -> Iterator[JoinedRecord]:
    """Join each record to its characters of its line of its set's file; raises ``CorpusError`` as above."""
    rows = list(read_rows(records))
    wanted: defaultdict[str, set[int]] = defaultdict(set)
    for where, record in rows:
        with expecting_fields(where):
            wanted[record["set"]].add(record["line"])
    sets = public_sets(datasets_dir=datasets_dir)
    found = {
        (name, number): line
        for name, numbers in wanted.items()
        if name in sets
        for number, line in read_set_file(data_pack / sets[name]["file"], numbers)
    }
    for where, record in rows:
        with expecting_fields(where):
            source = found.get((record["set"], record["line"]))
            if source is None:
                raise CorpusError(f"{where}: the data pack's {record['set']} has no line {record['line']}; get it anew")
            text = source["text"][record["start_char"] : record["end_char"]]
            joined = _checked(where, record, text, source, record["set"])
        yield joined


def read_set_file(path: Path, numbers: set[int] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a set's file with their 1-based line numbers, all or those named; raises ``CorpusError``."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                if numbers is None or number in numbers:
                    yield number, json.loads(line)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise CorpusError(f"the data pack's sets/{path.name} cannot be read ({error!r}); get the pack anew") from error


def _checked(where: str, record: dict[str, Any], text: str, source: dict[str, Any], file_name: str) -> JoinedRecord:
    digest = text_digest(text)
    if digest != record["text_sha256"]:
        raise CorpusError(
            f"{where}: row {record['id']} of the data pack's {file_name} has a text with SHA-256 {digest}; "
            f"the label was given to {record['text_sha256']}"
        )
    url = source.get("url")
    # A few sets list the addresses of all copies; such a list names no one document.
    return JoinedRecord(where, record, text, source.get("date"), url if isinstance(url, str) else None)


@contextmanager
def expecting_fields(where: str) -> Iterator[None]:
    """Turn what a row of the wrong form raises into a ``CorpusError`` that says where it stands."""
    try:
        yield
    except CorpusError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorpusError(f"{where}: {error!r}; expected the fields that datasets/README.md lists") from error


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, as stand-off records carry it."""
    return hashlib.sha256(text.encode()).hexdigest()


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row of a JSON Lines file with the words that say where it stands; raises ``CorpusError``."""
    name = f"{path.parent.name}/{path.name}"
    try:
        # Not splitlines: a text may hold U+2028 or U+0085, which end no line of a JSON Lines file.
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise CorpusError(f"{name} is missing; get it anew") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{name} is not UTF-8 at byte {error.start}; get it anew") from error
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        where = f"{name} line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise CorpusError(f"{where}: not JSON ({error.msg} at column {error.colno})") from error
        yield where, row


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as a JSON Lines file, as ``read_rows`` reads them."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def learned_record_paths(records: Path) -> list[Path]:
    """Return the files of a folder of annotations that hold what is learned, one a drawing."""
    return sorted(records.glob("train*.jsonl"))
