"""Finds learned statements that are held-back ones in another guise: translated, cut otherwise, of the same document.

Manual
------
``CREDENCE_DATA=FOLDER python -m training.leaks`` compares the learned records of ``datasets/annotations`` with every
held-back statement of gold and annotations, prints what leaks and why, and leaves with exit code 1 if anything does;
``--drop`` takes those records out, ``--touched FILE`` writes the ids of the held-back statements concerned, which
``training.evaluate --leave-out FILE`` leaves out. Clusters do not show it all: the pack names no document for held-back
gold rows, and its sets do not say which rows translate one another. Embedding takes a minute on two cores.
``--statements FILE`` compares statements of our own instead, before they join ``datasets/statements``: those that say
what a held-back statement or one of a suite says, in whatever words and language, would teach it. ``--drop`` takes them
out of the file.
"""

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from training.corpora import OWN_ORIGIN, require_data_pack
from training.encoders import PACKAGED_NAME, load_encoder
from training.loop import embed_texts, encode_texts
from training.metrics import Floats
from training.model import OutcomeClassifier
from training.sources import ANNOTATIONS_DIR, DATASETS_DIR, CorpusError
from training.stand_off import (
    JoinedRecord,
    expecting_fields,
    join_annotations,
    join_gold,
    learned_record_paths,
    read_rows,
    write_rows,
)

# Sets that hold translations of one text; by the embeddings of E5 a translation has a cosine of 0.93 on average, other
# pairs of sentences 0.77 (Wang et al. 2024, arXiv:2402.05672, for the model; measured on 30 triples of news).
_PARALLEL_SETS: Final = frozenset({"vox_debunk_sentences", "propaganda_diary_2022", "narrative_catalogue"})
_TRANSLATION_COSINE: Final = 0.92
# Sets in which an address names one article.
_ARTICLE_SETS: Final = frozenset({"basil", "viina_war_reports"})
# As many words in a row are no accident.
_SHARED_WORDS: Final = 6
_SHARED_SHARE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Guarded:
    """A statement that is learned or held back: where it comes from and, where that is known, the address."""

    id: str
    set: str
    language: str
    text: str
    url: str | None


@dataclass(frozen=True, slots=True)
class Leak:
    """What a learned statement gives away of the held-back statement ``held_back``."""

    held_back: str
    reason: str


def find_leaks(learned: Sequence[Guarded], held_back: Sequence[Guarded]) -> dict[str, Leak]:
    """Return the ids of the learned statements that leak, each with what it leaks and why."""
    return {
        **_same_document(learned, held_back),
        **_shared_words(learned, held_back),
        **_translations(learned, held_back),
    }


def _same_document(learned: Sequence[Guarded], held_back: Sequence[Guarded]) -> dict[str, Leak]:
    documents = {(h.set, h.url): h.id for h in held_back if h.url and h.set in _ARTICLE_SETS}
    found = {g.id: documents.get((g.set, g.url)) for g in learned if g.url}
    return {name: Leak(other, "same document") for name, other in found.items() if other is not None}


def _shared_words(learned: Sequence[Guarded], held_back: Sequence[Guarded]) -> dict[str, Leak]:
    """Find texts of which one holds most of the other's runs of six words."""
    runs = {h.id: _runs(h.text) for h in held_back}
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for name, found in runs.items():
        for run in found:
            holders[run].add(name)
    leaks: dict[str, Leak] = {}
    for statement in learned:
        own = _runs(statement.text)
        shared = Counter(name for run in own for name in holders.get(run, ()))
        for name, n in shared.items():
            if n >= _SHARED_SHARE * min(len(own), len(runs[name])):
                leaks[statement.id] = Leak(name, "the same words")
    return leaks


def _runs(text: str) -> set[str]:
    words = re.findall(r"\w+", text.casefold())
    return {" ".join(words[i : i + _SHARED_WORDS]) for i in range(len(words) - _SHARED_WORDS + 1)}


def _translations(learned: Sequence[Guarded], held_back: Sequence[Guarded]) -> dict[str, Leak]:
    ours, theirs = ([g for g in side if g.set in _PARALLEL_SETS] for side in (learned, held_back))
    if not ours or not theirs:
        return {}
    vectors = _embed([g.text for g in (*ours, *theirs)])
    cosines = vectors[: len(ours)] @ vectors[len(ours) :].T
    another = np.array([[a.set == b.set and a.language != b.language for b in theirs] for a in ours])
    nearest = np.where(another, cosines, -1.0)
    best = nearest.argmax(1)
    return {
        statement.id: Leak(theirs[best[row]].id, f"a translation (cosine {nearest[row, best[row]]:.2f})")
        for row, statement in enumerate(ours)
        if nearest[row, best[row]] >= _TRANSLATION_COSINE
    }


def find_echoes(written: Sequence[Guarded], held_back: Sequence[Guarded]) -> dict[str, Leak]:
    """Return the ids of the statements of our own that are as near to a held-back one as a translation of it is."""
    vectors = _embed([g.text for g in (*written, *held_back)])
    cosines = vectors[: len(written)] @ vectors[len(written) :].T
    best = cosines.argmax(1)
    return {
        statement.id: Leak(held_back[best[row]].id, f"an echo (cosine {cosines[row, best[row]]:.2f})")
        for row, statement in enumerate(written)
        if cosines[row, best[row]] >= _TRANSLATION_COSINE
    }


def _embed(texts: Sequence[str]) -> Floats:
    encoder = load_encoder(PACKAGED_NAME, trim=True)
    ids = encode_texts(encoder.tokenizer, texts, prefix="query: ", max_length=128)
    vectors = embed_texts(OutcomeClassifier(encoder.model, 0.0), ids).astype(np.float64)
    unit: Floats = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def read_guarded(data_pack: Path, records: Path) -> tuple[list[Guarded], list[Guarded]]:
    """Return what is learned from annotations, and what gold and annotations hold back; raises ``CorpusError``."""
    learned = [g for path in learned_record_paths(records) for g in _guarded(join_annotations(path, data_pack), "set")]
    held_back = [g for path in records.glob("dev*.jsonl") for g in _guarded(join_annotations(path, data_pack), "set")]
    for split in ("dev", "test"):
        texts = data_pack / "gold" / f"{split}.jsonl"
        joined = join_gold(DATASETS_DIR / "gold" / f"{split}.jsonl", texts)
        held_back.extend(_guarded(joined, "origin"))
    return learned, held_back


def _guarded(joined: Iterable[JoinedRecord], set_field: str) -> list[Guarded]:
    return [Guarded(j.record["id"], j.record[set_field], j.record["lang"], j.text, j.url) for j in joined]


def read_written(path: Path) -> list[Guarded]:
    """Return the statements of a file of our own, of ``statements`` or ``suites``; raises ``CorpusError``."""
    found = []
    for where, row in read_rows(path):
        with expecting_fields(where):
            found.append(Guarded(row["id"], OWN_ORIGIN, row["lang"], row["text"], None))
    if not found:
        raise CorpusError(f"{path} holds no statements")
    return found


def drop_rows(paths: Iterable[Path], leaks: Collection[str]) -> None:
    """Rewrite files of records or statements without those that leak."""
    for path in paths:
        write_rows(path, [row for _, row in read_rows(path) if row["id"] not in leaks])


def main(arguments: list[str] | None = None) -> int:
    """Find leaks; see the manual at the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m training.leaks", description="Find held-back texts in disguise.")
    parser.add_argument("--records", type=Path, default=ANNOTATIONS_DIR, help="folder of the stand-off records")
    parser.add_argument("--statements", type=Path, help="file of statements of our own, looked at in place of records")
    parser.add_argument("--touched", type=Path, help="file for the ids of the held-back statements concerned")
    parser.add_argument("--drop", action="store_true", help="take what leaks out of its file")
    options = parser.parse_args(arguments)
    try:
        written = None if options.statements is None else read_written(options.statements)
        learned, held_back = read_guarded(require_data_pack(), options.records)
        if written is None:
            leaks, paths = find_leaks(learned, held_back), learned_record_paths(options.records)
        else:
            asked = [g for path in sorted((DATASETS_DIR / "suites").glob("*.jsonl")) for g in read_written(path)]
            leaks, paths = find_echoes(written, [*held_back, *asked]), [options.statements]
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, leak in sorted(leaks.items()):
        print(f"{name}: {leak.reason} of held-back {leak.held_back}")
    if options.touched is not None:
        touched = sorted({leak.held_back for leak in leaks.values()})
        options.touched.write_text("".join(f"{name}\n" for name in touched), encoding="utf-8")
    kind = "learned" if written is None else "new"
    print(f"{len(leaks)} {kind} statements leak" + (", dropped" if options.drop else ""))
    if options.drop:
        drop_rows(paths, leaks)
        return 0
    return 1 if leaks else 0


if __name__ == "__main__":
    raise SystemExit(main())
