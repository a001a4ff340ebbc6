"""Behavioural suites: what a model must do whatever its figures are (after CheckList, Ribeiro et al. 2020).

Three kinds of test. A minimum functionality test asks for the right answer on easy, telling statements. An invariance
test changes what must not matter and asks for the same answer. A directional test changes what must matter and asks
for the answer to move. The statements lie in ``datasets/suites`` and are never learned from.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Final, Literal

import numpy as np

from credence.labels import Outcome
from credence.scoring import Scorer
from training.metrics import Floats, Interval, Ints, bootstrap
from training.perturbations import PERTURBATIONS, Perturbation
from training.sources import DATASETS_DIR
from training.splits import assign_split
from training.stand_off import read_rows, read_set_file, text_digest
from training.targets import SUITE_TARGETS

NTREX_FILE: Final = "sets/ntrex_parallel_news.jsonl.gz"
NTREX_PAIRS: Final = 300
_NTREX_ORIGIN: Final = "ntrex_parallel_news"
_LABELLED: Final = ("gold", "annotations")
_BATCH: Final = 256
_FILES: Final = (
    "translations",
    "exchanged_sides",
    "debunks",
    "attributed_storylines",
    "attribution",
    "hedges",
    "names_and_numbers",
)
# The suites whose statements are perturbed: every outcome, every language, and no two of them nearly alike.
_PERTURBED: Final = ("translations", "debunks", "attributed_storylines")


@dataclass(frozen=True, slots=True)
class SuiteStatement:
    """One statement of a suite; the statements of one ``group`` are tested together."""

    id: str
    language: str
    text: str
    label: Outcome
    group: str


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """How often a model did what a suite asks for.

    ``rate`` is a share of ``cases``, its interval over resampled groups. ``must`` and ``goal`` are the bounds that a
    model to be shipped keeps and aims at, null where none is set. ``failures`` are the ids of the cases gone wrong.
    """

    name: str
    what: str
    cases: int
    rate: Interval
    better: Literal["higher", "lower"]
    must: float | None
    goal: float | None
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Whether a case counts towards the rate."""

    case: str
    group: str
    counts: bool


@dataclass(frozen=True, slots=True)
class _Suite:
    what: str
    better: Literal["higher", "lower"] = "higher"


_SUITES: Final[dict[str, _Suite]] = {
    "translations": _Suite("the same outcome in two of the three languages"),
    "translations_ntrex": _Suite("the same, on professional translations of news"),
    "exchanged_sides": _Suite("the same outcome with the two sides exchanged"),
    "debunks": _Suite("debunks called disinformation", "lower"),
    "attributed_storylines": _Suite("attributed storylines called disinformation", "lower"),
    "debunks_and_attributed": _Suite("debunks and attributed storylines called disinformation", "lower"),
    "minimal_sets": _Suite("all members of a held-back minimal set right, in one language"),
    "attribution": _Suite("a storyline is disinformation, and with a plain attribution an allegation"),
    "hedges": _Suite("a fact is a factual report, and with a hedge an allegation"),
    "names_and_numbers": _Suite("the same outcome with other names, places and numbers"),
    "typos": _Suite("the same outcome with about every eighth word misspelt"),
    "lookalike_letters": _Suite("the same outcome with letters of another script that look the same"),
    "all_caps": _Suite("the same outcome in capitals"),
    "no_punctuation": _Suite("the same outcome without commas, brackets, dashes and the last full stop"),
    "quotes": _Suite("the same outcome with quotation marks of another style"),
    "yo_and_apostrophe": _Suite("the same outcome with ё as е and another apostrophe"),
    "list_dash": _Suite("the same outcome after a hyphen or a dash"),
}


class _Outcomes:
    """The outcomes that a scorer gives, each text scored once and without naming its language, as a user would."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._known: dict[str, Outcome] = {}

    def of(self, texts: Iterable[str]) -> list[Outcome]:
        """Return the outcome of each text; one that was not scored counts as ``not_a_claim``."""
        asked = list(texts)
        new = [text for text in dict.fromkeys(asked) if text not in self._known]
        for start in range(0, len(new), _BATCH):
            batch = new[start : start + _BATCH]
            for text, score in zip(batch, self._scorer.score_statements(batch), strict=True):
                self._known[text] = score.outcome or Outcome.NOT_A_CLAIM
        return [self._known[text] for text in asked]


def run_suites(scorer: Scorer, *, data_pack: Path | None, datasets_dir: Path = DATASETS_DIR) -> tuple[SuiteResult, ...]:
    """Run every suite that has a case; ``translations_ntrex`` has none without a data pack.

    Raises ``CorpusError`` where a file is missing.
    """
    outcomes = _Outcomes(scorer)
    read = {name: read_suite(name, datasets_dir=datasets_dir) for name in _FILES}
    verdicts = {
        "translations": _same_in_pairs(outcomes, read["translations"]),
        "exchanged_sides": _same_in_pairs(outcomes, read["exchanged_sides"]),
        "debunks": _called_disinformation(outcomes, read["debunks"]),
        "attributed_storylines": _called_disinformation(outcomes, read["attributed_storylines"]),
        "minimal_sets": _all_right(outcomes, read_held_back_minimal_sets(datasets_dir=datasets_dir)),
        "attribution": _all_right(outcomes, read["attribution"]),
        "hedges": _all_right(outcomes, read["hedges"]),
        "names_and_numbers": _same_in_pairs(outcomes, read["names_and_numbers"]),
    }
    verdicts["debunks_and_attributed"] = [*verdicts["debunks"], *verdicts["attributed_storylines"]]
    if data_pack is not None:
        verdicts["translations_ntrex"] = _same_in_pairs(outcomes, draw_ntrex(data_pack, datasets_dir=datasets_dir))
    statements = [statement for name in _PERTURBED for statement in read[name]]
    for name, perturb in PERTURBATIONS.items():
        verdicts[name] = _same_when_perturbed(outcomes, statements, perturb)
    return tuple(_result(name, verdicts[name]) for name in _SUITES if verdicts.get(name))


def read_suite(name: str, *, datasets_dir: Path = DATASETS_DIR) -> list[SuiteStatement]:
    """Read the statements of one file of ``datasets/suites``."""
    rows = [row for _, row in read_rows(datasets_dir / "suites" / f"{name}.jsonl")]
    return [SuiteStatement(r["id"], r["lang"], r["text"], Outcome(r["label"]), r["group"]) for r in rows]


def read_held_back_minimal_sets(*, datasets_dir: Path = DATASETS_DIR) -> list[SuiteStatement]:
    """Read the minimal sets that no model learns from; the members in one language make a group."""
    rows = [r for p in sorted((datasets_dir / "statements").glob("minimal_sets_*.jsonl")) for _, r in read_rows(p)]
    return [
        SuiteStatement(r["id"], r["lang"], r["text"], Outcome(r["label"]), f"{r['minimal_set']}-{r['lang']}")
        for r in rows
        if assign_split(r["minimal_set"]) == "test"
    ]


def draw_ntrex(data_pack: Path, *, datasets_dir: Path = DATASETS_DIR) -> list[SuiteStatement]:
    """Draw NTREX sentences in three languages, by digest, from those that have no hand label in any language.

    The drawing changes as more of them are labelled: compare bundles within one report. Their label is unknown and
    plays no part: each carries ``not_a_claim``.
    """
    records = [path for folder in _LABELLED for path in (datasets_dir / folder).glob("*.jsonl")]
    labelled = {row["text_sha256"] for path in records for _, row in read_rows(path)}
    sentences: defaultdict[int, list[SuiteStatement]] = defaultdict(list)
    passed_over: set[int] = set()
    for _, row in read_set_file(data_pack / NTREX_FILE):
        pair, language, text = row["pair_id"], row["lang"], row["text"]
        group = f"{_NTREX_ORIGIN}-{pair}"
        sentences[pair].append(SuiteStatement(f"{group}-{language}", language, text, Outcome.NOT_A_CLAIM, group))
        if text_digest(text) in labelled:
            passed_over.add(pair)
    # By digest, so that one pair more or less leaves all the others as they are.
    order = sorted(sentences.keys() - passed_over, key=lambda pair: hashlib.sha256(f"ntrex {pair}".encode()).digest())
    return [statement for pair in order[:NTREX_PAIRS] for statement in sentences[pair]]


def _same_in_pairs(outcomes: _Outcomes, statements: Sequence[SuiteStatement]) -> list[_Verdict]:
    found = dict(zip((s.id for s in statements), outcomes.of(s.text for s in statements), strict=True))
    return [
        _Verdict(f"{one.id}~{other.id}", group, found[one.id] is found[other.id])
        for group, members in _by_group(statements).items()
        for one, other in combinations(members, 2)
    ]


def _called_disinformation(outcomes: _Outcomes, statements: Sequence[SuiteStatement]) -> list[_Verdict]:
    found = outcomes.of(s.text for s in statements)
    wrong = Outcome.LIKELY_DISINFORMATION_NARRATIVE
    return [_Verdict(s.id, s.group, outcome is wrong) for s, outcome in zip(statements, found, strict=True)]


def _all_right(outcomes: _Outcomes, statements: Sequence[SuiteStatement]) -> list[_Verdict]:
    found = dict(zip((s.id for s in statements), outcomes.of(s.text for s in statements), strict=True))
    return [
        _Verdict(group, group, all(found[s.id] is s.label for s in members))
        for group, members in _by_group(statements).items()
    ]


def _same_when_perturbed(
    outcomes: _Outcomes, statements: Sequence[SuiteStatement], perturb: Perturbation
) -> list[_Verdict]:
    changed = [(s, perturb(s.text)) for s in statements if perturb(s.text) != s.text]
    before = outcomes.of(s.text for s, _ in changed)
    after = outcomes.of(text for _, text in changed)
    return [_Verdict(s.id, s.group, a is b) for (s, _), a, b in zip(changed, before, after, strict=True)]


def _result(name: str, verdicts: Sequence[_Verdict]) -> SuiteResult:
    suite = _SUITES[name]
    counted = np.asarray([v.counts for v in verdicts], np.float64)
    groups = [v.group for v in verdicts]
    interval = bootstrap({name: _share}, counted, np.zeros(len(verdicts), np.int64), groups)[name]
    target = SUITE_TARGETS.get(name)
    must, goal = (target.must, target.goal) if target else (None, None)
    failures = tuple(v.case for v in verdicts if v.counts is (suite.better == "lower"))
    return SuiteResult(name, suite.what, len(verdicts), interval, suite.better, must, goal, failures)


def _share(counted: Floats, _: Ints) -> float:
    return float(counted.mean())


def _by_group(statements: Sequence[SuiteStatement]) -> dict[str, list[SuiteStatement]]:
    groups: defaultdict[str, list[SuiteStatement]] = defaultdict(list)
    for statement in statements:
        groups[statement.group].append(statement)
    return groups
