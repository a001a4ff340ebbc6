"""Measures what a recipe is worth on sources it never saw: the drop from in-source to leave-source-out macro-F1.

Manual
------
``python -m training.leave_source_out --config experiments/NAME/config.toml --output runs/NAME/report`` deals the public
sets into folds, those of one publisher always together. For each fold the recipe learns without its sets and predicts
the development statements that come from them; once more it learns from all sets. Both see equally many statements, and
the drop is measured on the same development statements (paired bootstrap over clusters). ``--set`` overrides a field:
``data.max_train_statements`` and ``optimiser.average_seeds`` keep it affordable on a CPU.
"""

import argparse
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np

from credence.calibration import softmax
from training.config import ConfigError, ExperimentConfig
from training.corpora import Corpus, Example, data_pack_path, load_corpus, normal_texts
from training.encoders import load_encoder
from training.evaluation import clusters_of, gold_columns
from training.feedback import add_feedback
from training.fine_tuning import Session, fine_tune_model
from training.loop import encode_texts, predict_logits
from training.metrics import Floats, Interval, bootstrap, macro_f1, paired_difference
from training.sources import CorpusError, set_of
from training.splits import LeakError
from training.stand_off import text_digest
from training.targets import LEFT_OUT_SOURCE_TARGET
from training.tracking import NullRun

RESULT_FILE: Final = "leave_source_out.json"
# Sets that share a publisher or were drawn from one another; every other set is a family of its own.
_FAMILIES: Final[dict[str, str]] = {
    "euvsdisinfo_summaries": "EUvsDisinfo",
    "euvsdisinfo_titles": "EUvsDisinfo",
    "propaganda_diary_2022": "VoxUkraine",
    "propaganda_diary_en_2024": "VoxUkraine",
    "vox_debunk_sentences": "VoxUkraine",
    "narrative_catalogue": "VoxUkraine",
    "liar": "PolitiFact",
    "liar2_valid_test": "PolitiFact",
}


@dataclass(frozen=True, slots=True)
class LeftOutResult:
    """What came of it: both figures and their difference on the same statements, and the families of each fold."""

    recipe: str
    date: str
    statements: int
    learned: int
    in_source: Interval
    left_out: Interval
    macro_f1_left_out_source_drop: Interval
    folds: tuple[tuple[str, ...], ...]
    data_digests: dict[str, str]


def family_of(example: Example) -> str:
    """Return the publisher whose statements are left out together."""
    name = set_of(example.origin)
    return _FAMILIES.get(name, name)


def deal_families(dev: Sequence[Example], n_folds: int) -> list[tuple[str, ...]]:
    """Deal the families of the development statements into folds of near-equal size, the largest first."""
    folds: list[list[str]] = [[] for _ in range(n_folds)]
    sizes = [0] * n_folds
    for family, count in Counter(map(family_of, dev)).most_common():
        smallest = sizes.index(min(sizes))
        folds[smallest].append(family)
        sizes[smallest] += count
    return [tuple(sorted(fold)) for fold in folds]


def without_families(corpus: Corpus, families: Sequence[str]) -> Corpus:
    """Return the corpus without the statements to learn from of some families."""
    kept = tuple(e for e in corpus.examples if e.split != "train" or family_of(e) not in families)
    return replace(corpus, examples=kept)


def measure_left_out(config: ExperimentConfig, corpus: Corpus, folder: Path, n_folds: int) -> LeftOutResult:
    """Learn ``n_folds`` + 1 times and compare; a fold that was finished before is not learned again."""
    dev = corpus.held_back("dev")
    folds = deal_families(dev, n_folds)
    smallest = min(len(without_families(corpus, fold).learned()) for fold in folds)
    limit = min(smallest, config.data.max_train_statements or smallest)
    limited = config.model_copy(update={"data": config.data.model_copy(update={"max_train_statements": limit})})
    in_source = _predict(limited, corpus, folder / f"all-{limit}", dev)
    left_out = np.empty_like(in_source)
    for fold in folds:
        predicted = _predict(limited, without_families(corpus, fold), folder / _fold_name(limit, fold), dev)
        rows = [i for i, example in enumerate(dev) if family_of(example) in fold]
        left_out[rows] = predicted[rows]
    gold, clusters = gold_columns(dev), clusters_of(dev)
    return LeftOutResult(
        recipe=config.name,
        date=date.today().isoformat(),
        statements=len(dev),
        learned=limit,
        in_source=bootstrap({"f1": macro_f1}, in_source, gold, clusters)["f1"],
        left_out=bootstrap({"f1": macro_f1}, left_out, gold, clusters)["f1"],
        macro_f1_left_out_source_drop=paired_difference(macro_f1, in_source, left_out, gold, clusters),
        folds=tuple(folds),
        data_digests=dict(corpus.digests),
    )


def _predict(config: ExperimentConfig, corpus: Corpus, folder: Path, dev: list[Example]) -> Floats:
    """Return the probabilities of a model learned in this folder, from its file where it was learned before."""
    stored = folder / "probabilities.npy"
    if not stored.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        encoder = load_encoder(config.encoder.name, trim=config.encoder.trim)
        model = fine_tune_model(Session(config, corpus, folder, NullRun()), encoder)
        ids = encode_texts(
            encoder.tokenizer,
            normal_texts(dev),
            prefix=config.encoder.text_prefix,
            max_length=config.bundle.max_length_tokens,
        )
        unfinished = folder / "unfinished.npy"
        np.save(unfinished, softmax(predict_logits(model, ids)))
        unfinished.replace(stored)
        for weights in folder.glob("weights-*.pt"):
            weights.unlink()
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    found: Floats = np.load(stored)
    return found


def _fold_name(limit: int, families: Sequence[str]) -> str:
    return f"without-{text_digest(json.dumps([limit, *families]))[:8]}"


def _digest(config: ExperimentConfig, corpus: Corpus) -> str:
    """Name what is learned from what, so that nothing of another recipe or corpus is taken for a finished fold."""
    return text_digest(config.model_dump_json() + json.dumps(corpus.digests, sort_keys=True))[:8]


def main(arguments: list[str] | None = None) -> int:
    """Measure the drop; see the manual at the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m training.leave_source_out", description="Leave sources out.")
    parser.add_argument("--config", type=Path, required=True, help="the recipe, experiments/<name>/config.toml")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="override a field, may be given often")
    parser.add_argument("--folds", type=int, default=5, help="how often sources are left out")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder to work in")
    parser.add_argument("--output", type=Path, required=True, help=f"folder for {RESULT_FILE}")
    options = parser.parse_args(arguments)
    try:
        config = ExperimentConfig.from_toml(options.config, options.set)
        if config.encoder.start_from is not None:
            raise ConfigError(f"{options.config}: the bundle of encoder.start_from saw every source; name its recipe")
        corpus = load_corpus(config.data.origins, data_pack_path())
        if config.data.feedback_path is not None:
            corpus, _ = add_feedback(corpus, config.data.feedback_path)
    except (ConfigError, CorpusError, LeakError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    folder = options.runs / f"{config.name}-leave-source-out-{_digest(config, corpus)}"
    result = measure_left_out(config, corpus, folder, options.folds)
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / RESULT_FILE).write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    print(
        f"macro-F1 in source {result.in_source}, left out {result.left_out}: "
        f"drop {result.macro_f1_left_out_source_drop} (must be at most {LEFT_OUT_SOURCE_TARGET.must:g})"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
