"""Reads the statements to learn from, checks every digest, and rebuilds the corpus.

Manual
------
``python -m training.corpora --output runs/corpus`` writes ``train.jsonl``, ``dev.jsonl`` and ``test.jsonl``. With
``CREDENCE_DATA`` naming a data pack, the hand labels of ``datasets/gold`` and ``datasets/annotations`` are joined to
its texts; without it, the project's own statements make the whole corpus, and the command says so.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from credence.bundle import file_digest
from credence.labels import Outcome
from credence.normalise import normalise_text
from training.sources import ANNOTATIONS_ORIGIN, DATASETS_DIR, GOLD_ORIGIN, CorpusError, check_sources
from training.splits import LeakError, assign_split, check_no_leak
from training.stand_off import JoinedRecord, expecting_fields, join_annotations, join_gold, read_rows

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
        """Return the origin that figures are reported for: gold where the corpus has it."""
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
            f"{DATA_PACK_VARIABLE} names {path}, where there is no folder gold/; name the root of the data pack, "
            "or unset it"
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
            texts = data_pack / "gold" / f"{split}.jsonl"
            examples.extend(_example(joined, GOLD_ORIGIN, "origin") for joined in join_gold(records, texts))
    if with_gold and "annotations" in origins and data_pack is not None:
        for records in sorted((datasets_dir / "annotations").glob("*.jsonl")):
            digests[f"{ANNOTATIONS_ORIGIN}{records.name}"] = file_digest(records)
            found = join_annotations(records, data_pack, datasets_dir=datasets_dir)
            examples.extend(_example(joined, ANNOTATIONS_ORIGIN, "set") for joined in found)
    check_no_leak([(e.id, e.text, e.split, e.cluster) for e in examples])
    return Corpus(tuple(examples), digests)


def _read_statements(path: Path) -> Iterator[Example]:
    for where, row in read_rows(path):
        with expecting_fields(where):
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


def _example(joined: JoinedRecord, prefix: str, set_field: str) -> Example:
    row = joined.record
    with expecting_fields(joined.where):
        return Example(
            id=row["id"],
            text=joined.text,
            language=row["lang"],
            label=Outcome(row["label"]),
            rule=row["rule"],
            sure=row["sure"],
            split=row["split"],
            cluster=row["cluster"],
            origin=f"{prefix}{row[set_field]}",
            date=joined.date,
        )


def folders_of(examples: Sequence[Example]) -> str:
    """Return where examples come from: ``gold``, ``annotations``, ``statements``, or several of them."""
    return " and ".join(sorted({e.origin.partition("/")[0] for e in examples}))


def normal_texts(examples: Sequence[Example]) -> list[str]:
    """Return the texts in the normal form that the scorer reads."""
    return [normalise_text(e.text).text for e in examples]


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
