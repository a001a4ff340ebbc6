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
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from training.agreement import print_agreement
from training.candidates import TOO_CLOSE
from training.corpora import Example, load_corpus, require_data_pack
from training.documents import clusters_holding
from training.labelling import Answer, dispute, hand_out, read_answers, read_drawing
from training.sources import ANNOTATIONS_DIR, CorpusError
from training.splits import nearest_statements
from training.stand_off import read_rows, text_digest, write_rows


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
    learned = read_answers(folder, "L", "learning")
    rows, held_back = read_drawing("learning", candidates), read_drawing("selection", candidates)
    texts, others = ([row["text"] for row in drawing] for drawing in (rows, held_back))
    closest = nearest_statements(texts, others)[0] if others else [0.0] * len(rows)
    first, second, third = (read_answers(folder, side, "selection") for side in ("SA", "SB", "SC"))
    train = [
        _record("train", row, learned[number], 1)
        for number, row in enumerate(rows)
        if number in learned and learned[number].label is not None
        if closest[number] < TOO_CLOSE and row["cluster"] not in held_back_before
        if text_digest(row["text"]) not in labelled_before
    ]
    known = {*gold_clusters, *(record["cluster"] for record in train)}
    dev: list[dict[str, Any]] = []
    for side, answers in (("SA", first), ("SB", second)):
        if unanswered := len(held_back) - len(answers):
            raise CorpusError(f"{side} lacks answers to {unanswered} statements of the selection")
    for number, row in enumerate(held_back):
        agree = first[number].label == second[number].label
        answer = min(first[number], second[number], key=lambda a: a.sure) if agree else third.get(number)
        if answer is None:
            raise CorpusError(
                f"the labels of selection row {number} differ; dispute it and let a third labeller answer"
            )
        if answer.label is not None and row["cluster"] not in known:
            dev.append(_record("dev", row, answer, 2 if agree else 3))
    return {"train": train} | ({"dev": dev} if dev else {})


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
    checks = [(by_id[str(r)], a.label) for r, a in read_answers(folder, "L", "gold").items() if a.label is not None]
    rows = read_drawing("selection", candidates)
    first, second = read_answers(folder, "SA", "selection"), read_answers(folder, "SB", "selection")
    both = [(int(i), a.label, second[i].label) for i, a in first.items() if i in second]
    twice = [(rows[i], a, b) for i, a, b in both if a is not None and b is not None]
    tables = {
        "one labeller against gold/train": [(a, e.label, e.language, e.cluster) for e, a in checks],
        "two labellers apart": [(a, b, row["language"], row["cluster"]) for row, a, b in twice],
    }
    for title, pairs in tables.items():
        print_agreement(title, pairs)


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
        write_rows(output / _file_name(split, wave), rows)
        print(f"{split}: {len(rows)} records,", dict(Counter(str(row["label"]) for row in rows)))


if __name__ == "__main__":
    raise SystemExit(main())
