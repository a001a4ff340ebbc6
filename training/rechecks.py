"""Second and third looks at single labels near the edge of rule 3, where labellers waver most.

Manual
------
``python -m training.rechecks hand-out`` writes as batches ``RA`` the statements of ``datasets/annotations`` that one
labeller saw and that stand near the edge between a storyline and loaded talk: those labelled as a storyline, those
labelled by rule 5, and what is less than clear in collections of debunked claims. They are labelled again as
``training.annotations`` says, by labellers who see number, language and text alone. ``dispute`` writes those whose two
labels differ as batches ``RC`` for a third labeller. ``collect`` writes the labels that two of the three gave, or
else the third, back into the records, and prints the agreement.

``last`` writes batches ``RD``: what is still in doubt after that and might be a storyline read too narrowly, among
statements of gold/train, for labellers who have settled examples of gold/train at hand. ``collect-last`` lets their
answers decide, and prints the agreement with gold. Each look is collected once.
"""

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from credence.labels import Outcome
from training.agreement import print_agreement
from training.corpora import Example, load_corpus, require_data_pack
from training.labelling import Answer, Item, in_batches, read_answers, write_batches
from training.sources import ANNOTATIONS_DIR, CorpusError, set_of
from training.stand_off import JoinedRecord, join_annotations, learned_record_paths, read_rows, write_rows

_DRAWING: Final = "recheck"
_SECOND, _THIRD, _LAST = "RA", "RC", "RD"
_GOLD_IN_LAST: Final = 350
_COLLECTED_FILE: Final = "last-look-collected"
_RULE_OF_LOADED_TALK: Final = 5
_CLEAR: Final = 3
# Collections of claims that fact-checkers took up or of persuasion, whose lines stand nearest to the edge.
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


def is_in_doubt(record: dict[str, Any]) -> bool:
    """Tell whether labellers split on it, or saw no storyline in a line of debunked claims and were not both sure."""
    return record["labellers"] == 3 or (
        record["set"] in _DEBUNKED_SETS
        and record["label"] != Outcome.LIKELY_DISINFORMATION_NARRATIVE
        and (record["labellers"] == 2 or record["sure"] < _CLEAR)
    )


def decide(record: dict[str, Any], last: Answer | None) -> dict[str, Any]:
    """Return the record with the label of the last look, where there was one."""
    if last is None or last.label is None:
        return record
    found = {"label": last.label, "rule": last.rule, "sure": last.sure}
    return {**record, **found, "labellers": record["labellers"] + 1}


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
    parser.add_argument("step", choices=["hand-out", "dispute", "collect", "last", "collect-last"])
    parser.add_argument("--batches", type=Path, default=Path("runs/labelling/rechecks"), help="folder of the batches")
    parser.add_argument("--records", type=Path, default=ANNOTATIONS_DIR, help="folder of the stand-off records")
    parser.add_argument("--seed", type=int, default=13, help="seed of the order of lines")
    options = parser.parse_args(arguments)
    try:
        if options.step == "collect":
            _collect(options.batches, options.records)
        elif options.step == "collect-last":
            _collect_last(options.batches, options.records)
        else:
            _hand_out(options.step, options.batches, options.records, random.Random(options.seed))
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _hand_out(step: str, batches: Path, records: Path, rng: random.Random) -> None:
    joined = list(_joined(records))
    gold: list[Item] = []
    if step == "last":
        chosen = [j for j in joined if is_in_doubt(j.record)]
        gold = [Item("gold", e.id, e.language, e.text) for e in _gold_train() if set_of(e.origin) in _DEBUNKED_SETS]
        gold = rng.sample(gold, min(len(gold), _GOLD_IN_LAST))
    elif step == "dispute":
        second = read_answers(batches, _SECOND, _DRAWING)
        chosen = [j for j in joined if j.record["id"] in second and _differs(j.record, second[j.record["id"]])]
    else:
        chosen = [j for j in joined if is_near_edge(j.record)]
    items = [*(Item(_DRAWING, j.record["id"], j.record["lang"], j.text) for j in chosen), *gold]
    rng.shuffle(items)
    write_batches(batches, in_batches({"hand-out": _SECOND, "dispute": _THIRD, "last": _LAST}[step], items))
    print(f"{len(chosen)} statements to look at again")


def _gold_train() -> list[Example]:
    return [e for e in load_corpus(("gold",), require_data_pack()).examples if e.split == "train"]


def _joined(records: Path) -> Iterator[JoinedRecord]:
    for path in learned_record_paths(records):
        yield from join_annotations(path, require_data_pack())


def _differs(record: dict[str, Any], answer: Answer) -> bool:
    return answer.label is not None and answer.label != record["label"]


def _collect(batches: Path, records: Path) -> None:
    second, third = (read_answers(batches, prefix, _DRAWING) for prefix in (_SECOND, _THIRD))
    pairs: list[tuple[Outcome, Outcome, str, str]] = []

    def look_again(record: dict[str, Any]) -> dict[str, Any]:
        answer = second.get(record["id"])
        if not is_near_edge(record) or answer is None or answer.label is None:
            return record
        pairs.append((Outcome(record["label"]), answer.label, record["lang"], record["cluster"]))
        return settle(record, answer, third.get(record["id"]))

    _rewrite(records, look_again)
    print_agreement("two labellers near the edge", pairs)


def _collect_last(batches: Path, records: Path) -> None:
    """Let the last look decide, once: a second time would count its labellers twice."""
    collected = batches / _COLLECTED_FILE
    if collected.exists():
        raise CorpusError(f"{collected.name} in {batches} says that the last look was collected already")
    last = read_answers(batches, _LAST, _DRAWING)
    gold = {e.id: e for e in _gold_train()}
    checks = [(gold[str(i)], a.label) for i, a in read_answers(batches, _LAST, "gold").items() if a.label is not None]
    _rewrite(records, lambda record: decide(record, last.get(record["id"])))
    collected.touch()
    print_agreement("the last look against gold/train", [(a, e.label, e.language, e.cluster) for e, a in checks])


def _rewrite(records: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write each record as the change leaves it, and print how many labels moved where."""
    moves: Counter[tuple[str, str]] = Counter()
    for path in learned_record_paths(records):
        before = [row for _, row in read_rows(path)]
        after = [change(row) for row in before]
        moves.update((o["label"], n["label"]) for o, n in zip(before, after, strict=True) if o["label"] != n["label"])
        write_rows(path, after)
    for (old, new), n in moves.most_common():
        print(f"  {old} became {new}: {n}")


if __name__ == "__main__":
    raise SystemExit(main())
