"""Hand labels of public-set statements: hands batches out to labellers, collects what they gave, measures agreement.

Manual
------
``python -m training.annotations hand-out`` turns the drawings of ``training.candidates`` into batches for labellers who
see number, language and text and nothing else. A batch for learning holds three statements of gold/train among the
rest, so that agreement with gold is known. The selection drawing goes out twice, as ``SA`` and ``SB``.
``python -m training.annotations dispute`` writes the statements on which SA and SB differ as batches ``SC`` for a third
labeller. ``python -m training.annotations collect`` writes the stand-off records of ``datasets/annotations`` (no text:
set, line, offsets, SHA-256, label) and prints the agreement: Cohen's kappa with a bootstrap interval, by language.

``--wave 2`` names the records of a further drawing, which holds no selection; ``--candidates`` and ``--batches`` name
folders of its own. What an earlier wave has labelled is left out.

A labeller answers ``number<TAB>code<TAB>rule<TAB>sure`` in ``NAME.out`` beside ``NAME.tsv``; the codes are F, A, D and
N, in the order of the outcomes, and X for a line that cannot be labelled, which is left out.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from credence.labels import OUTCOMES, Outcome
from training.agreement import agreement
from training.candidates import TOO_CLOSE
from training.corpora import Example, load_corpus, require_data_pack
from training.documents import clusters_holding
from training.sources import ANNOTATIONS_DIR, CorpusError
from training.splits import closest_similarity
from training.stand_off import read_rows, text_digest

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
    """A line of a batch: ``drawing`` is ``learning``, ``selection`` or ``gold``; ``reference`` its row or id there."""

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
        for number, start in enumerate(range(0, len(selection), _BATCH)):
            batches[f"{side}{number:02d}"] = selection[start : start + _BATCH]
    for items in batches.values():
        rng.shuffle(items)
    _write_batches(folder, batches)
    return len(batches)


def dispute(folder: Path, candidates: Path, seed: int) -> int:
    """Write the selection statements whose two labels differ as batches for a third labeller; return how many."""
    first, second = _answers(folder, "SA", "selection"), _answers(folder, "SB", "selection")
    items = [i for i in _items("selection", candidates) if first[i.reference].label != second[i.reference].label]
    random.Random(seed).shuffle(items)
    _write_batches(folder, {f"SC{i // _BATCH:02d}": items[i : i + _BATCH] for i in range(0, len(items), _BATCH)})
    return len(items)


def collect(
    folder: Path, candidates: Path, *, gold_clusters: Collection[str] = (), earlier: Sequence[dict[str, Any]] = ()
) -> dict[str, list[dict[str, Any]]]:
    """Return the records of ``train`` and ``dev``, in the order of the drawings; raises ``CorpusError``.

    ``earlier`` are the records of the waves before. Nothing is learned that is nearly a statement of the selection,
    shares a cluster with what an earlier wave holds back, or was labelled by one. Nothing is selected on that shares a
    cluster with gold or with what is learned.
    """
    held_back_before = {record["cluster"] for record in earlier if record["split"] == "dev"}
    labelled_before = {record["text_sha256"] for record in earlier}
    learned = _answers(folder, "L", "learning")
    rows, held_back = _drawing("learning", candidates), _drawing("selection", candidates)
    texts, others = ([row["text"] for row in drawing] for drawing in (rows, held_back))
    closest = closest_similarity(texts, others) if others else [0.0] * len(rows)
    first, second, third = (_answers(folder, side, "selection") for side in ("SA", "SB", "SC"))
    train = [
        _record("train", row, learned[number], 1)
        for number, row in enumerate(rows)
        if number in learned and learned[number].label is not None
        if closest[number] < TOO_CLOSE and row["cluster"] not in held_back_before
        if text_digest(row["text"]) not in labelled_before
    ]
    known = {*gold_clusters, *(record["cluster"] for record in train)}
    dev: list[dict[str, Any]] = []
    for number, row in enumerate(held_back):
        agree = first[number].label == second[number].label
        answer = min(first[number], second[number], key=lambda a: a.sure) if agree else third[number]
        if answer.label is not None and row["cluster"] not in known:
            dev.append(_record("dev", row, answer, 2 if agree else 3))
    return {"train": train} | ({"dev": dev} if dev else {})


def _drawing(name: str, candidates: Path) -> list[dict[str, Any]]:
    """Return the rows of a drawing; a further drawing holds no selection."""
    if not (candidates / f"{name}.jsonl").is_file():
        return []
    lines = (candidates / f"{name}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def _items(name: str, candidates: Path) -> list[Item]:
    return [Item(name, i, row["language"], row["text"]) for i, row in enumerate(_drawing(name, candidates))]


def _write_batches(folder: Path, batches: dict[str, list[Item]]) -> None:
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


def _answers(folder: Path, prefix: str, drawing: str) -> dict[int | str, Answer]:
    """Return the answers to the statements of one drawing in the batches whose name begins so."""
    key = json.loads((folder / _KEY_FILE).read_text(encoding="utf-8"))
    found: dict[int | str, Answer] = {}
    for path in sorted(folder.glob(f"{prefix}*.out")):
        if path.stem not in key:
            raise CorpusError(f"{path.name} answers no batch of {_KEY_FILE}")
        for place, answer in zip(key[path.stem], _read_answers(path, len(key[path.stem])), strict=True):
            if place["drawing"] == drawing:
                found[place["reference"]] = answer
    return found


def _read_answers(path: Path, expected: int) -> Iterator[Answer]:
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


def _record(split: str, row: dict[str, Any], answer: Answer, labellers: int) -> dict[str, Any]:
    digest = text_digest(row["text"])
    return {
        "id": f"a{digest[:12]}",
        **{name: row[name] for name in ("set", "line", "start_char", "end_char")},
        "text_sha256": digest,
        "lang": row["language"],
        "label": answer.label,
        "rule": answer.rule,
        "sure": answer.sure,
        "labellers": labellers,
        "split": split,
        "cluster": row["cluster"],
    }


def _print_agreement(folder: Path, candidates: Path, gold_train: Sequence[Example]) -> None:
    by_id = {e.id: e for e in gold_train}
    checks = [(by_id[str(r)], a.label) for r, a in _answers(folder, "L", "gold").items() if a.label is not None]
    rows = _drawing("selection", candidates)
    first, second = _answers(folder, "SA", "selection"), _answers(folder, "SB", "selection")
    both = [(int(i), a.label, second[i].label) for i, a in first.items() if i in second]
    twice = [(rows[i], a, b) for i, a, b in both if a is not None and b is not None]
    tables = {
        "one labeller against gold/train": [(a, e.label, e.language, e.cluster) for e, a in checks],
        "two labellers apart": [(a, b, row["language"], row["cluster"]) for row, a, b in twice],
    }
    for title, pairs in tables.items():
        if not pairs:
            continue
        print(title)
        for language, n, share, kappa in agreement(pairs):
            print(f"  {language:3} {n:5} statements, agreed {share:.3f}, kappa {kappa}")


def main(arguments: list[str] | None = None) -> int:
    """Hand out, dispute or collect; see the manual at the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m training.annotations", description="Labels by hand, blind.")
    parser.add_argument("step", choices=["hand-out", "dispute", "collect"])
    parser.add_argument("--candidates", type=Path, default=Path("runs/candidates"), help="the drawings")
    parser.add_argument("--batches", type=Path, default=Path("runs/labelling/batches"), help="folder of the batches")
    parser.add_argument("--wave", type=int, default=1, help="number of the drawing")
    parser.add_argument("--output", type=Path, default=ANNOTATIONS_DIR, help="folder for the stand-off records")
    parser.add_argument("--seed", type=int, default=13, help="seed of the order of lines")
    options = parser.parse_args(arguments)
    try:
        gold = load_corpus(("gold",), require_data_pack()).examples
        gold_train = [e for e in gold if e.split == "train"]
        if options.step == "hand-out":
            print(f"{hand_out(options.batches, options.candidates, gold_train, options.seed)} batches")
        elif options.step == "dispute":
            print(f"{dispute(options.batches, options.candidates, options.seed)} disputed statements")
        else:
            records = collect(
                options.batches,
                options.candidates,
                gold_clusters=clusters_holding(require_data_pack(), gold),
                earlier=_earlier_records(options.output, options.wave),
            )
            _write_records(records, options.output, options.wave)
            _print_agreement(options.batches, options.candidates, gold_train)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _file_name(split: str, wave: int) -> str:
    return f"{split}.jsonl" if wave == 1 else f"{split}_{wave}.jsonl"


def _earlier_records(output: Path, wave: int) -> list[dict[str, Any]]:
    paths = [output / _file_name(split, before) for before in range(1, wave) for split in ("train", "dev")]
    return [row for path in paths if path.is_file() for _, row in read_rows(path)]


def _write_records(records: dict[str, list[dict[str, Any]]], output: Path, wave: int) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for split, rows in records.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (output / _file_name(split, wave)).write_text("".join(lines), encoding="utf-8")
        print(f"{split}: {len(rows)} records,", dict(Counter(str(row["label"]) for row in rows)))


if __name__ == "__main__":
    raise SystemExit(main())
