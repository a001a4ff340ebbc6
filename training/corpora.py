"""Reads the statements to learn from, checks every digest, and rebuilds the corpus.

Manual
------
``python -m training.corpora --output runs/corpus`` writes ``train.jsonl``, ``dev.jsonl`` and ``test.jsonl``. With
``CREDENCE_DATA`` naming a data pack, the hand labels of ``datasets/gold`` and ``datasets/annotations`` are joined to
its texts; without it, the project's own statements make the whole corpus, and the command says so.
"""

import argparse
import gzip
import hashlib
import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from credence.bundle import file_digest
from credence.labels import Outcome
from credence.normalise import normalise_text
from training.sources import ANNOTATIONS_ORIGIN, DATASETS_DIR, GOLD_ORIGIN, CorpusError, check_sources, public_sets
from training.splits import LeakError, assign_split, check_no_leak

DATA_PACK_VARIABLE: Final = "CREDENCE_DATA"
SPLITS: Final = ("train", "dev", "test")
ORIGINS: Final = ("gold", "annotations", "statements")
OWN_ORIGIN: Final = "statements/"


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled statement.

    ``sure`` is 3 clear, 2 leaning, 1 toss-up; ``origin`` the set or file it came from; ``date`` as its source gives it.
    """

    id: str
    text: str
    language: str
    label: Outcome
    rule: int
    sure: int
    split: str
    cluster: str
    origin: str
    date: str | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """Examples by split, and the digest of each file that they were built from."""

    examples: tuple[Example, ...]
    digests: dict[str, str]

    def split(self, name: str, *, origin_prefix: str | tuple[str, ...] = "") -> list[Example]:
        """Return the examples of one split whose origin begins as asked, in a stable order."""
        return [e for e in self.examples if e.split == name and e.origin.startswith(origin_prefix)]

    @property
    def main_origin(self) -> str:
        """Return the origin on which choices are made and figures reported: gold where the corpus has it."""
        has_gold = any(e.origin.startswith(GOLD_ORIGIN) for e in self.examples)
        return GOLD_ORIGIN if has_gold else OWN_ORIGIN

    def learned(self) -> list[Example]:
        """Return the examples to learn from. Beside gold, our own development statements are free to be learned too."""
        own = self.split("dev", origin_prefix=OWN_ORIGIN) if self.main_origin == GOLD_ORIGIN else []
        return [*self.split("train"), *own]

    def held_back(self, split: str) -> list[Example]:
        """Return the examples of ``dev`` or ``test``: of gold and the annotations, or else of our own statements."""
        is_gold = self.main_origin == GOLD_ORIGIN
        return self.split(split, origin_prefix=(GOLD_ORIGIN, ANNOTATIONS_ORIGIN) if is_gold else OWN_ORIGIN)


def data_pack_path() -> Path | None:
    """Return the folder named by ``CREDENCE_DATA``, or null; raises ``CorpusError`` if it is named but not there."""
    named = os.environ.get(DATA_PACK_VARIABLE)
    if not named:
        return None
    path = Path(named)
    if not (path / "gold").is_dir():
        raise CorpusError(
            f"{DATA_PACK_VARIABLE} names a folder without gold/; name the root of the data pack, or unset it"
        )
    return path


def require_data_pack() -> Path:
    """Return the folder named by ``CREDENCE_DATA``; raises ``CorpusError`` where none is named."""
    path = data_pack_path()
    if path is None:
        raise CorpusError(f"{DATA_PACK_VARIABLE} is not set; name the root of the data pack")
    return path


def load_corpus(origins: tuple[str, ...], data_pack: Path | None, *, datasets_dir: Path = DATASETS_DIR) -> Corpus:
    """Build the corpus of the origins asked for; gold needs a data pack and is left out without one.

    Raises ``CorpusError`` at the first row that is not what its record says, ``LeakError`` where splits share one.
    """
    examples: list[Example] = []
    digests: dict[str, str] = {}
    with_gold = "gold" in origins and data_pack is not None
    if "statements" in origins or not with_gold:
        for path in sorted((datasets_dir / "statements").glob("*.jsonl")):
            digests[f"{OWN_ORIGIN}{path.name}"] = file_digest(path)
            examples.extend(_read_statements(path))
    if with_gold and data_pack is not None:
        for split in SPLITS:
            records = datasets_dir / "gold" / f"{split}.jsonl"
            digests[f"{GOLD_ORIGIN}{split}.jsonl"] = file_digest(records)
            examples.extend(_join_gold(records, data_pack / "gold" / f"{split}.jsonl"))
    if with_gold and "annotations" in origins and data_pack is not None:
        for records in sorted((datasets_dir / "annotations").glob("*.jsonl")):
            digests[f"{ANNOTATIONS_ORIGIN}{records.name}"] = file_digest(records)
            examples.extend(_join_annotations(records, data_pack, datasets_dir))
    check_no_leak([(e.id, e.text, e.split, e.cluster) for e in examples])
    return Corpus(tuple(examples), digests)


def _read_statements(path: Path) -> Iterator[Example]:
    for where, row in _rows(path):
        with _expecting_fields(where):
            cluster = row["minimal_set"] or row["id"]
            example = Example(
                id=row["id"],
                text=row["text"],
                language=row["lang"],
                label=Outcome(row["label"]),
                rule=row["rule"],
                sure=3,
                split=assign_split(cluster),
                cluster=cluster,
                origin=f"{OWN_ORIGIN}{path.stem}",
            )
        yield example


def _join_gold(records: Path, texts: Path) -> Iterator[Example]:
    found: dict[str, dict[str, Any]] = {}
    for where, row in _rows(texts):
        with _expecting_fields(where):
            found[row["id"]] = row
    for where, row in _rows(records):
        with _expecting_fields(where):
            example = Example(
                id=row["id"],
                text=_text_of(row, found, where, texts.name),
                language=row["lang"],
                label=Outcome(row["label"]),
                rule=row["rule"],
                sure=row["sure"],
                split=row["split"],
                cluster=row["cluster"],
                origin=f"{GOLD_ORIGIN}{row['origin']}",
                date=found[row["id"]].get("date"),
            )
        yield example


def _join_annotations(records: Path, data_pack: Path, datasets_dir: Path) -> Iterator[Example]:
    """Join each record to its characters of its line of its set's file."""
    rows = list(_rows(records))
    wanted: defaultdict[str, set[int]] = defaultdict(set)
    for where, row in rows:
        with _expecting_fields(where):
            wanted[row["set"]].add(row["line"])
    sets = public_sets(datasets_dir=datasets_dir)
    found = {
        (name, number): line
        for name, numbers in wanted.items()
        if name in sets
        for number, line in _lines_of_set(data_pack / sets[name]["file"], numbers)
    }
    for where, row in rows:
        with _expecting_fields(where):
            source = found.get((row["set"], row["line"]))
            if source is None:
                raise CorpusError(f"{where}: the data pack's {row['set']} has no line {row['line']}; get it anew")
            text = source["text"][row["start_char"] : row["end_char"]]
            example = Example(
                id=row["id"],
                text=_checked(text, row, where, row["set"]),
                language=row["lang"],
                label=Outcome(row["label"]),
                rule=row["rule"],
                sure=row["sure"],
                split=row["split"],
                cluster=row["cluster"],
                origin=f"{ANNOTATIONS_ORIGIN}{row['set']}",
                date=source.get("date"),
            )
        yield example


def _lines_of_set(path: Path, numbers: set[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if number in numbers:
                yield number, json.loads(line)


def _text_of(record: dict[str, Any], found: dict[str, dict[str, Any]], where: str, file_name: str) -> str:
    row = found.get(record["id"])
    if row is None:
        raise CorpusError(f"{where}: the data pack's gold/{file_name} has no row {record['id']}; get the pack anew")
    return _checked(row["text"], record, where, f"gold/{file_name}")


def _checked(text: str, record: dict[str, Any], where: str, file_name: str) -> str:
    digest = text_digest(text)
    if digest != record["text_sha256"]:
        raise CorpusError(
            f"{where}: row {record['id']} of the data pack's {file_name} has a text with SHA-256 {digest}; "
            f"the label was given to {record['text_sha256']}"
        )
    return text


@contextmanager
def _expecting_fields(where: str) -> Iterator[None]:
    try:
        yield
    except CorpusError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorpusError(f"{where}: {error!r}; expected the fields that datasets/README.md lists") from error


def normal_texts(examples: Sequence[Example]) -> list[str]:
    """Return the texts in the normal form that the scorer reads."""
    return [normalise_text(e.text).text for e in examples]


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, as stand-off records carry it."""
    return hashlib.sha256(text.encode()).hexdigest()


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
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


def main(arguments: list[str] | None = None) -> int:
    """Rebuild the corpus; see the manual at the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m training.corpora", description="Rebuild and check the corpus.")
    parser.add_argument("--output", type=Path, default=Path("runs/corpus"), help="folder for the rebuilt corpus")
    options = parser.parse_args(arguments)
    try:
        pack = data_pack_path()
        # Rows before files: a message that names the row is worth more than one that names its file.
        corpus = load_corpus(ORIGINS, pack)
        if pack is None:
            print(f"{DATA_PACK_VARIABLE} is not set: building from the project's own statements alone")
        else:
            print(f"checked {check_sources(pack)} files of the data pack against datasets/sources.toml")
    except (CorpusError, LeakError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    options.output.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        rows = corpus.split(split)
        lines = (json.dumps(asdict(e), ensure_ascii=False) + "\n" for e in rows)
        (options.output / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
        counts = Counter(str(e.label) for e in rows)
        print(
            f"{split:5} {len(rows):5} statements: " + ", ".join(f"{label} {n}" for label, n in sorted(counts.items()))
        )
    print(f"no cluster and no near-duplicate stands in two splits; written to {options.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
