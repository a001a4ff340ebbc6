"""Second and third looks at single labels near the edge of rule 3, where labellers waver most.

Manual
------
``python -m training.rechecks hand-out`` writes as batches ``RA`` the statements of ``datasets/annotations`` that one
labeller saw and that stand near the edge between a storyline and loaded talk: those labelled as a storyline, those
labelled by rule 5, and what is less than clear in collections of debunked claims. They are labelled again as
``training.annotations`` says, by labellers who see number, language and text alone. ``dispute`` writes those whose two
labels differ as batches ``RC`` for a third labeller. ``collect`` writes the labels that two of the three gave, or
else the third, back into the records, and prints the agreement.
"""

import argparse
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from credence.labels import Outcome
from training.agreement import agreement
from training.corpora import require_data_pack
from training.labelling import Answer, Item, in_batches, read_answers, write_batches
from training.sources import ANNOTATIONS_DIR, CorpusError
from training.stand_off import JoinedRecord, join_annotations, read_rows

_DRAWING: Final = "recheck"
_SECOND, _THIRD = "RA", "RC"
_RULE_OF_LOADED_TALK: Final = 5
_CLEAR: Final = 3
# Collections of claims that fact-checkers rated false, whose lines stand nearest to the edge.
_DEBUNKED_SETS: Final = frozenset(
    {
        "claimreview_ukraine",
        "euvsdisinfo_summaries",
        "euvsdisinfo_titles",
        "narrative_catalogue",
        "propaganda_diary_2022",
        "propaganda_diary_en_2024",
        "slavic_persuasion_ru",
    }
)


def is_near_edge(record: dict[str, Any]) -> bool:
    """Tell whether one labeller alone saw a statement that stands near the edge of rule 3."""
    return record["labellers"] == 1 and (
        record["label"] == Outcome.LIKELY_DISINFORMATION_NARRATIVE
        or record["rule"] == _RULE_OF_LOADED_TALK
        or (record["set"] in _DEBUNKED_SETS and record["sure"] < _CLEAR)
    )


def settle(record: dict[str, Any], second: Answer | None, third: Answer | None) -> dict[str, Any]:
    """Return the record as two or three labellers leave it: the second confirms it, or else the third decides."""
    if second is None or second.label is None:
        return record
    if second.label == record["label"]:
        return {**record, "sure": max(record["sure"], second.sure), "labellers": 2}
    if third is None or third.label is None:
        return record
    return {**record, "label": third.label, "rule": third.rule, "sure": third.sure, "labellers": 3}


def main(arguments: list[str] | None = None) -> int:
    """Hand out, dispute or collect; see the manual at the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m training.rechecks", description="Look at single labels again.")
    parser.add_argument("step", choices=["hand-out", "dispute", "collect"])
    parser.add_argument("--batches", type=Path, default=Path("runs/labelling/rechecks"), help="folder of the batches")
    parser.add_argument("--records", type=Path, default=ANNOTATIONS_DIR, help="folder of the stand-off records")
    parser.add_argument("--seed", type=int, default=13, help="seed of the order of lines")
    options = parser.parse_args(arguments)
    try:
        if options.step == "collect":
            _collect(options.batches, options.records)
        else:
            edge = [j for j in _joined(options.records) if is_near_edge(j.record)]
            if options.step == "dispute":
                second = read_answers(options.batches, _SECOND, _DRAWING)
                edge = [j for j in edge if j.record["id"] in second and _differs(j.record, second[j.record["id"]])]
            prefix = _SECOND if options.step == "hand-out" else _THIRD
            items = [Item(_DRAWING, j.record["id"], j.record["lang"], j.text) for j in edge]
            random.Random(options.seed).shuffle(items)
            write_batches(options.batches, in_batches(prefix, items))
            print(f"{len(items)} statements to look at again")
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _paths(records: Path) -> list[Path]:
    return sorted(records.glob("train*.jsonl"))


def _joined(records: Path) -> Iterator[JoinedRecord]:
    for path in _paths(records):
        yield from join_annotations(path, require_data_pack())


def _differs(record: dict[str, Any], answer: Answer) -> bool:
    return answer.label is not None and answer.label != record["label"]


def _collect(batches: Path, records: Path) -> None:
    second, third = (read_answers(batches, prefix, _DRAWING) for prefix in (_SECOND, _THIRD))
    pairs: list[tuple[Outcome, Outcome, str, str]] = []
    changes: Counter[tuple[str, str]] = Counter()
    for path in _paths(records):
        before = [row for _, row in read_rows(path)]
        after = [settle(r, second.get(r["id"]), third.get(r["id"])) if is_near_edge(r) else r for r in before]
        for old, new in zip(before, after, strict=True):
            answer = second.get(old["id"])
            if is_near_edge(old) and answer is not None and answer.label is not None:
                pairs.append((Outcome(old["label"]), answer.label, old["lang"], old["cluster"]))
            if old["label"] != new["label"]:
                changes[old["label"], new["label"]] += 1
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in after), encoding="utf-8")
    for language, n, share, kappa in agreement(pairs):
        print(f"  {language:3} {n:5} statements, agreed {share:.3f}, kappa {kappa}")
    for (old_label, new_label), n in changes.most_common():
        print(f"  {old_label} became {new_label}: {n}")


if __name__ == "__main__":
    raise SystemExit(main())
