"""Measures bundles through ``credence`` and writes the full report: figures with intervals, breakdowns, suites, plots.

Manual
------
``python -m training.evaluate --split dev --output FOLDER`` measures the shipped bundle on the held-back statements of
the data pack, or of the project's own where there is no pack, and writes ``dev.md``, ``dev.html`` (one page that needs
no other file), ``dev.json`` (what the leaderboard and promotion read) and the plots; the figures are printed too.
``--bundle`` names another folder, and more than one may be given: the first is reported, beside the rest.
``--baselines`` learns every baseline afresh and adds them, ``--baseline tfidf`` one of them. Each other model gets a
``dev.NAME.json`` of its own.
``--leave-out FILE`` names statements, an id a line, that are not measured, such as ``training.leaks`` writes.
``--no-suites`` leaves the behavioural suites out. Without a pack only ``--split test`` measures the shipped bundle, for
it has learned from our own development statements.

Worst errors are named by id, for texts of the data pack must not be passed on. ``--with-texts`` writes the texts too:
such a report is for your own eyes and never committed.
"""

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from credence import load_scorer
from credence.bundle import default_bundle_path, load_bundle
from credence.calibration import Calibration
from credence.errors import BundleError
from training.baselines import predict_with_baseline
from training.config import ExperimentConfig, ModelKind
from training.corpora import DATA_PACK_VARIABLE, ORIGINS, OWN_ORIGIN, Corpus, Example, data_pack_path, load_corpus
from training.evaluation import Predictions, evaluate_predictions, predict_with_scorer
from training.report import markdown_summary, write_report
from training.results import EvaluationResult
from training.sources import GOLD_ORIGIN, CorpusError
from training.splits import LeakError
from training.suites import SuiteResult, run_suites

BASELINES: Final[tuple[ModelKind, ...]] = (
    "majority",
    "language_only",
    "source_only",
    "cue_words",
    "tfidf",
    "frozen_encoder",
)


@dataclass(frozen=True, slots=True)
class _Model:
    """What one model says of the statements, and what else is known of it."""

    predictions: Predictions
    calibration: Calibration | None = None
    suites: tuple[SuiteResult, ...] = ()


def main(arguments: list[str] | None = None) -> int:
    """Measure bundles; see the manual at the head of this module."""
    options = _parser().parse_args(arguments)
    try:
        pack = data_pack_path()
        corpus = load_corpus(ORIGINS, pack)
        examples = _held_back(corpus, options.split, options.origin)
        if options.leave_out is not None:
            left_out = set(options.leave_out.read_text(encoding="utf-8").split())
            examples = [e for e in examples if e.id not in left_out]
        bundles = dict.fromkeys(options.bundle or [default_bundle_path()])
        if len({load_bundle(path).digest for path in bundles}) < len(bundles):
            raise BundleError("two of the folders hold the same bundle; name each bundle once")
        if options.split == "dev" and examples[0].origin.startswith(OWN_ORIGIN):
            _check_not_learned(bundles)
        models = [_score(path, examples, pack, with_suites=not options.no_suites) for path in bundles]
    except (BundleError, CorpusError, LeakError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if kinds := BASELINES if options.baselines else tuple(dict.fromkeys(options.baseline)):
        recipes = [ExperimentConfig(name=kind, model=kind) for kind in kinds]
        models.extend(_Model(predict_with_baseline(recipe, corpus.learned(), examples)) for recipe in recipes)
    results = _evaluate(models, examples, corpus)
    texts = {e.id: e.text for e in examples} if options.with_texts else None
    given = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "-m", "training.evaluate", *given])
    write_report(results, options.output, texts=texts, command=command)
    print(markdown_summary(results))
    print(f"the whole report is {options.output / options.split}.html")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Measure bundles through credence and write the full report."
    )
    origins = [f"{origin}/" for origin in ORIGINS]
    parser.add_argument("--bundle", type=Path, action="append", help="a bundle folder; by default the shipped one")
    parser.add_argument("--split", choices=("dev", "test"), default="dev", help="test only for a model that is to ship")
    parser.add_argument("--origin", choices=origins, help="measure on this origin alone")
    parser.add_argument("--leave-out", type=Path, help="file of ids, one a line, of statements not to measure")
    parser.add_argument("--baselines", action="store_true", help="learn every baseline and set it beside the bundle")
    parser.add_argument(
        "--baseline", choices=BASELINES, action="append", default=[], help="learn this baseline, may be given often"
    )
    parser.add_argument("--no-suites", action="store_true", help="leave the behavioural suites out")
    parser.add_argument(
        "--with-texts", action="store_true", help="write the texts of the worst errors; never commit it"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/evaluation"), help="folder for the report")
    return parser


def _held_back(corpus: Corpus, split: str, origin: str | None) -> list[Example]:
    examples = corpus.split(split, origin_prefix=origin) if origin else corpus.held_back(split)
    if not examples:
        raise CorpusError(f"there are no {split} statements of {origin or corpus.main_origin}; name another origin")
    return examples


def _check_not_learned(bundles: Iterable[Path]) -> None:
    """Refuse our own development statements for a bundle that learned from gold, for it learned from them too."""
    for path in bundles:
        if any(name.startswith(GOLD_ORIGIN) for name in load_bundle(path).manifest.data_digests):
            raise CorpusError(
                f"the bundle {path} has learned from our own dev statements, and no other are at hand; "
                f"set {DATA_PACK_VARIABLE} to the folder of the data pack"
            )


def _score(path: Path, examples: Sequence[Example], pack: Path | None, *, with_suites: bool) -> _Model:
    bundle, scorer = load_bundle(path), load_scorer(path)
    name = f"bundle {bundle.manifest.model_version} ({bundle.digest[:8]})"
    suites = run_suites(scorer, data_pack=pack) if with_suites else ()
    return _Model(predict_with_scorer(name, scorer, examples), bundle.calibration, suites)


def _evaluate(models: Sequence[_Model], examples: Sequence[Example], corpus: Corpus) -> list[EvaluationResult]:
    """Evaluate the first model beside all the others, and each of these beside the first."""
    first, *others = models
    return [
        evaluate_predictions(
            model.predictions,
            examples,
            digests=corpus.digests,
            calibration=model.calibration,
            suites=model.suites,
            others=[other.predictions for other in (others if model is first else [first])],
        )
        for model in models
    ]


if __name__ == "__main__":
    raise SystemExit(main())
