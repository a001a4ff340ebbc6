"""Scores a bundle through ``credence`` and prints tables: beside baselines, by language and source, by outcome.

Manual
------
``python -m training.evaluate --split dev`` measures the shipped bundle on the held-back statements of the data pack,
or of the project's own where there is no pack. ``--bundle`` names another folder, and more than one may be given: the
first is compared with the rest. ``--baselines`` learns every baseline afresh beside it; ``--output`` also writes
Markdown and plots.
"""

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import Final

from credence import load_scorer
from credence.bundle import default_bundle_path, load_bundle
from credence.errors import BundleError
from training.baselines import predict_with_baseline
from training.config import ExperimentConfig, ModelKind
from training.corpora import OWN_ORIGIN, Example, data_pack_path, load_corpus
from training.evaluation import Predictions, predict_with_scorer
from training.metrics import RESAMPLES
from training.report import breakdown_table, comparison_table, outcome_table, write_plots
from training.sources import GOLD_ORIGIN, CorpusError
from training.splits import LeakError

BASELINES: Final[tuple[ModelKind, ...]] = (
    "majority",
    "language_only",
    "source_only",
    "cue_words",
    "tfidf",
    "frozen_encoder",
)


def main(arguments: list[str] | None = None) -> int:
    """Measure bundles; see the manual at the head of this module."""
    options = _parser().parse_args(arguments)
    try:
        corpus = load_corpus(("gold", "statements"), data_pack_path())
        bundles = options.bundle or [default_bundle_path()]
        examples = corpus.split(options.split, origin_prefix=options.origin or corpus.main_origin)
        models = [_score(path, examples) for path in bundles]
    except (BundleError, CorpusError, LeakError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.baselines:
        recipes = [ExperimentConfig(name=kind, model=kind) for kind in BASELINES]
        models.extend(predict_with_baseline(recipe, corpus.learned(), examples) for recipe in recipes)
    text = _report(models, examples, options.split)
    print(text)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / f"{options.split}.md").write_text(text, encoding="utf-8")
        write_plots(models[0], examples, load_bundle(bundles[0]).calibration, options.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Measure bundles through credence."
    )
    parser.add_argument("--bundle", type=Path, action="append", help="a bundle folder; by default the shipped one")
    parser.add_argument("--split", choices=("dev", "test"), default="dev", help="test only for a model that is to ship")
    parser.add_argument("--origin", choices=(GOLD_ORIGIN, OWN_ORIGIN), help="measure on this origin alone")
    parser.add_argument("--baselines", action="store_true", help="learn every baseline and print it beside the bundle")
    parser.add_argument("--output", type=Path, help="folder for the report and its plots")
    return parser


def _score(path: Path, examples: list[Example]) -> Predictions:
    scorer = load_scorer(path)
    return predict_with_scorer(
        f"bundle {scorer.info.model_version} ({scorer.info.bundle_digest[:8]})", scorer, examples
    )


def _report(models: list[Predictions], examples: list[Example], split: str) -> str:
    origins = sorted({e.origin.split("/")[0] for e in examples})
    unscored = models[0].is_scored.count(False)
    return "\n".join(
        [
            f"# {models[0].name} on {split}, {date.today().isoformat()}",
            "",
            f"{len(examples)} statements of {' and '.join(origins)}; "
            f"95 % intervals from {RESAMPLES} bootstrap samples of clusters.",
            f"{unscored} were taken for too short or another language and count as `not_a_claim`.",
            "",
            comparison_table(models, examples),
            "",
            breakdown_table(models[0], examples),
            "",
            outcome_table(models[0], examples),
            "",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
