"""Draws statements of the public sets for labelling by the codebook: some as they come, some that the model finds hard.

Manual
------
``python -m training.candidates --output runs/candidates`` reads the data pack, leaves out whatever touches gold, and
writes two stand-off drawings with their texts: ``selection.jsonl``, drawn in the proportions of gold/dev and gold/test
and meant to be labelled twice, and ``learning.jsonl``, drawn from every set: a share at random, a share where the
model sees a storyline, a share where its two best outcomes are close (uncertainty sampling, Lewis and Gale 1994).

``--again`` draws a further ``learning.jsonl`` with a better ``--bundle``: without a selection, away from everything
that is labelled already. ``--rows uk=6000`` and ``--share storyline=0.5``, each as often as needed, say how many a
language and in which shares; ``--cap`` says how many statements a set and language puts into the pool, ``--set``
names the only sets to draw from. No model is asked for shares at random.
"""

import argparse
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from credence import load_scorer
from credence.bundle import default_bundle_path
from credence.errors import InvalidTextError
from credence.labels import OUTCOMES
from credence.normalise import check_text
from credence.sentences import split_statements
from training.corpora import Example, load_corpus, require_data_pack
from training.documents import POST_SETS, cluster_of, clusters_holding, read_set
from training.drawing import FAR_SETS, LEARNING_ROWS, SHARES, Candidate, draw_learning, draw_selection
from training.metrics import Floats
from training.sources import GOLD_ORIGIN, CorpusError, public_sets
from training.splits import LeakError, nearest_statements
from training.suites import draw_ntrex

_WORDS: Final = (4, 75)
# Lines that hold a development or test statement inside; see the head of datasets/sources.toml.
LEAKING_LINES: Final[dict[str, frozenset[int]]] = {
    "euvsdisinfo_summaries": frozenset({1631, 2149, 3346}),
    "propaganda_diary_2022": frozenset({364, 1183}),
    "unlp": frozenset({537, 618, 1476, 1910}),
}
_CAP_BY_STRATUM: Final = 2500
_FAR_CAP: Final = 300
# A cosine from which a statement is too much like a held-back one to be learned from.
TOO_CLOSE: Final = 0.7


def read_candidates(
    data_pack: Path, rng: np.random.Generator, *, cap_by_stratum: int, sets: Collection[str]
) -> Iterator[Candidate]:
    """Yield statements of four to 75 words in the three languages, at most so many a set and language."""
    for name in sets:
        found: defaultdict[str, list[Candidate]] = defaultdict(list)
        rows = list(read_set(data_pack, name))
        # Posts are cut into statements, which takes time: as many as can be used, and no more.
        cap = min(_FAR_CAP, cap_by_stratum) if name in FAR_SETS else cap_by_stratum
        for index in rng.permutation(len(rows)):
            number, row = rows[index]
            if row.get("lang") in LEARNING_ROWS and len(found[row["lang"]]) < cap:
                found[row["lang"]].extend(_cut(name, number, row))
        for statements in found.values():
            yield from statements[:cap]


def _cut(name: str, number: int, row: dict[str, Any]) -> Iterator[Candidate]:
    if number in LEAKING_LINES.get(name, ()):
        return
    text = row["text"]
    cluster = cluster_of(name, number, row)
    whole = [(0, len(text))]
    spans = [(s.start_char, s.end_char) for s in split_statements(text, language=row["lang"])]
    for start, end in spans if name in POST_SETS else whole:
        if _WORDS[0] <= len(text[start:end].split()) <= _WORDS[1] and _is_readable(text[start:end]):
            yield Candidate(name, number, start, end, row["lang"], cluster, text[start:end])


def _is_readable(text: str) -> bool:
    try:
        check_text(text)
    except InvalidTextError:
        return False
    return True


def keep_unseen(candidates: Iterable[Candidate], gold_texts: Sequence[str]) -> list[Candidate]:
    """Leave out repeated texts and near-duplicates of gold (cosine of character 4-grams)."""
    seen = {_plain(text) for text in gold_texts}
    kept: list[Candidate] = []
    for candidate in candidates:
        plain = _plain(candidate.text)
        if plain not in seen:
            seen.add(plain)
            kept.append(candidate)
    if not kept or not gold_texts:
        return kept
    closest, _ = nearest_statements([c.text for c in kept], gold_texts)
    return [c for c, cosine in zip(kept, closest, strict=True) if cosine < TOO_CLOSE]


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower()).strip()


def score_candidates(bundle: Path, candidates: Sequence[Candidate]) -> Floats:
    """Return what a bundle says of candidates (n, n_outcomes), all outcomes alike where it scores none."""
    scores = load_scorer(bundle).score_statements(
        [c.text for c in candidates], languages=[c.language for c in candidates]
    )
    return np.array([[(s.scores or {}).get(o, 1 / len(OUTCOMES)) for o in OUTCOMES] for s in scores])


def main(arguments: list[str] | None = None) -> int:
    """Draw candidates; see the manual at the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m training.candidates", description="Draw statements to label.")
    parser.add_argument("--output", type=Path, default=Path("runs/candidates"), help="folder for the drawings")
    parser.add_argument("--bundle", type=Path, default=default_bundle_path(), help="the model that finds them hard")
    parser.add_argument("--again", action="store_true", help="a further drawing, away from what is labelled")
    parser.add_argument("--rows", action="append", metavar="LANGUAGE=N", help="statements to learn from a language")
    parser.add_argument("--share", action="append", metavar="NAME=FRACTION", help=f"shares of {', '.join(SHARES)}")
    parser.add_argument("--set", action="append", metavar="NAME", help="draw from this public set, not from all")
    parser.add_argument("--cap", type=int, default=_CAP_BY_STRATUM, help="statements a set and language in the pool")
    parser.add_argument("--seed", type=int, default=13, help="seed of the drawing")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    try:
        rows = {k: int(n) for k, n in _named_numbers(options.rows, LEARNING_ROWS, "--rows", r"\d+").items()}
        shares = _named_numbers(options.share, SHARES, "--share", r"0?\.\d+|[01]")
        sets = options.set or list(public_sets())
        if unknown := set(sets) - public_sets().keys():
            raise CorpusError(f"found --set {min(unknown)}; datasets/sources.toml lists the public sets")
        if options.output.exists():
            raise CorpusError(f"{options.output} is there already; each drawing needs a folder of its own")
        pack = require_data_pack()
        origins = ("gold", "annotations") if options.again else ("gold",)
        labelled = load_corpus(origins, pack).examples
    except (CorpusError, LeakError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    # The parallel sentences that a suite asks about stay unlabelled.
    kept_apart = {statement.text for statement in draw_ntrex(pack)}
    # Nothing is drawn that shares a cluster with a held-back statement; training.leaks finds what clusters do not show.
    held_back = clusters_holding(pack, [e for e in labelled if e.split != "train"])
    read = read_candidates(pack, rng, cap_by_stratum=options.cap, sets=sets)
    found = (c for c in read if c.cluster not in held_back and c.text not in kept_apart)
    pool = keep_unseen(found, [e.text for e in labelled])
    selection: list[Candidate] = []
    if not options.again:
        selection = _draw_selection(pool, labelled, clusters_holding(pack, labelled), rng)
        taken = {c.cluster for c in selection}
        pool = keep_unseen((c for c in pool if c.cluster not in taken), [c.text for c in selection])
    is_blind = shares.keys() == {"random"}
    scores = np.full((len(pool), len(OUTCOMES)), 0.25) if is_blind else score_candidates(options.bundle, pool)
    drawings = {"learning": draw_learning(pool, scores, rng, rows=rows, shares=shares)}
    if selection:
        drawings["selection"] = selection
    options.output.mkdir(parents=True)
    for name, drawing in drawings.items():
        lines = (json.dumps(asdict(c), ensure_ascii=False) + "\n" for c in drawing)
        (options.output / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{name}: {len(drawing)} of {len(pool)} candidates", dict(Counter(c.language for c in drawing)))
    return 0


def _draw_selection(
    pool: Sequence[Candidate], gold: Sequence[Example], gold_clusters: Collection[str], rng: np.random.Generator
) -> list[Candidate]:
    """Draw what is chosen on: it shares no document or claim with anything that is labelled already."""
    proportions = Counter((e.origin.removeprefix(GOLD_ORIGIN), e.language) for e in gold if e.split != "train")
    return draw_selection([c for c in pool if c.cluster not in gold_clusters], proportions, rng)


def _named_numbers(
    given: Sequence[str] | None, default: Mapping[str, float], option: str, pattern: str
) -> dict[str, float]:
    """Return the numbers given as NAME=NUMBER, or all the defaults; raises ``CorpusError``."""
    numbers: dict[str, float] = {}
    for pair in given or ():
        name, _, number = pair.partition("=")
        if name not in default or not re.fullmatch(pattern, number):
            raise CorpusError(f"found {option} {pair!r}; expected one of {', '.join(default)}, = and a number")
        numbers[name] = float(number)
    return numbers or dict(default)


if __name__ == "__main__":
    raise SystemExit(main())
