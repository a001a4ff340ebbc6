"""Batches of statements for labellers, and the answers that come back."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from credence.labels import OUTCOMES, Outcome
from training.corpora import Example
from training.sources import CorpusError

CODES: Final[dict[str, Outcome]] = dict(zip("FADN", OUTCOMES, strict=True))
UNLABELLED: Final = "X"
# The rules of the codebook that can give each outcome.
RULES: Final[dict[Outcome, frozenset[int]]] = {
    Outcome.FACTUAL_REPORT: frozenset({2, 6}),
    Outcome.ALLEGATION: frozenset({4, 5}),
    Outcome.LIKELY_DISINFORMATION_NARRATIVE: frozenset({3}),
    Outcome.NOT_A_CLAIM: frozenset({1}),
}
_BATCH: Final = 60
_GOLD_IN_BATCH: Final = 3
_KEY_FILE: Final = "key.json"


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a batch: ``drawing`` says where it comes from, ``reference`` is its row or id there."""

    drawing: str
    reference: int | str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a labeller gave; ``label`` is null where the line could not be labelled."""

    label: Outcome | None
    rule: int
    sure: int


def hand_out(folder: Path, candidates: Path, gold_train: Sequence[Example], seed: int) -> int:
    """Write all batches and the key that says what stands where; return how many batches."""
    rng = random.Random(seed)
    learning, selection = _items("learning", candidates), _items("selection", candidates)
    gold = [Item("gold", e.id, e.language, e.text) for e in gold_train]
    rng.shuffle(gold)
    size = _BATCH - _GOLD_IN_BATCH
    batches: dict[str, list[Item]] = {}
    for number, start in enumerate(range(0, len(learning), size)):
        checks = gold[number * _GOLD_IN_BATCH : (number + 1) * _GOLD_IN_BATCH]
        batches[f"L{number:03d}"] = learning[start : start + size] + checks
    for side in ("SA", "SB"):
        rng.shuffle(selection)
        batches |= in_batches(side, selection)
    for items in batches.values():
        rng.shuffle(items)
    write_batches(folder, batches)
    return len(batches)


def dispute(folder: Path, candidates: Path, seed: int) -> int:
    """Write the selection statements whose two labels differ as batches for a third labeller; return how many."""
    first, second = read_answers(folder, "SA", "selection"), read_answers(folder, "SB", "selection")
    items = [i for i in _items("selection", candidates) if first[i.reference].label != second[i.reference].label]
    random.Random(seed).shuffle(items)
    write_batches(folder, in_batches("SC", items))
    return len(items)


def read_drawing(name: str, candidates: Path) -> list[dict[str, Any]]:
    """Return the rows of a drawing; a further drawing holds no selection."""
    if not (candidates / f"{name}.jsonl").is_file():
        return []
    lines = (candidates / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def _items(name: str, candidates: Path) -> list[Item]:
    return [Item(name, i, row["language"], row["text"]) for i, row in enumerate(read_drawing(name, candidates))]


def in_batches(prefix: str, items: Sequence[Item]) -> dict[str, list[Item]]:
    """Return the items in batches of the usual size, each under its name."""
    return {f"{prefix}{i // _BATCH:02d}": list(items[i : i + _BATCH]) for i in range(0, len(items), _BATCH)}


def write_batches(folder: Path, batches: dict[str, list[Item]]) -> None:
    """Write batches and enter them in the key; raises ``CorpusError`` where a name is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    key_file = folder / _KEY_FILE
    key = json.loads(key_file.read_text(encoding="utf-8")) if key_file.is_file() else {}
    if taken := key.keys() & batches.keys():
        raise CorpusError(f"{folder} holds {min(taken)} already; give each wave a folder of its own with --batches")
    for name, items in batches.items():
        key[name] = [{"drawing": item.drawing, "reference": item.reference} for item in items]
        texts = [" ".join(item.text.split()) for item in items]
        lines = (f"{n}\t{i.language}\t{t}\n" for n, (i, t) in enumerate(zip(items, texts, strict=True), start=1))
        (folder / f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    key_file.write_text(json.dumps(key), encoding="utf-8")


def read_answers(folder: Path, prefix: str, drawing: str) -> dict[int | str, Answer]:
    """Return the answers to the statements of one drawing in the batches whose name begins so."""
    key = json.loads((folder / _KEY_FILE).read_text(encoding="utf-8"))
    found: dict[int | str, Answer] = {}
    for path in sorted(folder.glob(f"{prefix}*.out")):
        if path.stem not in key:
            raise CorpusError(f"{path.name} answers no batch of {_KEY_FILE}")
        for place, answer in zip(key[path.stem], _parse_answers(path, len(key[path.stem])), strict=True):
            if place["drawing"] == drawing:
                found[place["reference"]] = answer
    return found


def _parse_answers(path: Path, expected: int) -> Iterator[Answer]:
    lines = path.read_text(encoding="utf-8").split("\n")
    rows = [line.split("\t") for line in lines if line.strip()]
    if [row[0] for row in rows] != [str(number) for number in range(1, expected + 1)]:
        raise CorpusError(f"{path.name}: expected the numbers 1 to {expected}, one a line, found {len(rows)} lines")
    for row in rows:
        if len(row) != 4 or row[1] not in {*CODES, UNLABELLED}:
            raise CorpusError(f"{path.name} line {row[0]}: expected number, one of FADNX, rule and sure, found {row}")
        label = CODES.get(row[1])
        if label is not None and (row[2] not in map(str, RULES[label]) or row[3] not in {"1", "2", "3"}):
            raise CorpusError(
                f"{path.name} line {row[0]}: rule {row[2]} cannot give {label}, or sure {row[3]} is not 1-3"
            )
        yield Answer(label, int(row[2]), int(row[3])) if label else Answer(None, 0, 0)
