"""Fine-tunes the encoder on public tasks that neighbour ours, and puts the figures beside the published ones.

Manual
------
``CREDENCE_DATA=FOLDER python -m training.neighbouring --task all`` goes through every task of the data pack in about
an hour on two CPU cores; ``--task babe`` does one. It is a check that the trainer is good in itself: the encoder, loop
and optimiser of the shipped bundle, with the labels of others. Nothing is chosen on a test part.
``--folds 5`` measures all folds of the tasks that have no official split, in place of the first alone.
``--config`` names another recipe than ``experiments/neighbouring/config.toml``, ``--set optimiser.epochs=3`` overrides
a field. ``results.md`` and ``results.json`` in ``--output`` (``runs/neighbouring``) gain a row with each task, or
have the older one replaced.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline

from credence.normalise import normalise_text
from training.baselines import build_tfidf
from training.config import ConfigError, ExperimentConfig
from training.corpora import DATA_PACK_VARIABLE, data_pack_path
from training.encoders import PretrainedEncoder, load_encoder
from training.loop import (
    EncodedStatements,
    any_labels_loss,
    encode_texts,
    one_outcome_loss,
    predict_logits,
    train_classifier,
)
from training.metrics import Floats, Ints, bootstrap
from training.model import OutcomeClassifier
from training.neighbouring_results import TaskResult, record_result
from training.neighbouring_tasks import TASK_NAMES, Fold, LabelledText, Task, TaskDescription, label_matrix, read_task
from training.sources import CorpusError, check_sources
from training.stand_off import text_digest

RECIPE: Final = Path("experiments/neighbouring/config.toml")
OUTPUT: Final = Path("runs/neighbouring")

# From what is learned and what is asked about to scores of each label of the latter, (n_asked, n_labels).
Scorer = Callable[[Sequence[LabelledText], Sequence[LabelledText]], Floats]


def main(arguments: list[str] | None = None) -> int:
    """Measure one task or all; see the manual at the head of this module."""
    options = _parser().parse_args(arguments)
    try:
        config = _read_recipe(options.config, options.set)
        data_pack = data_pack_path()
        if data_pack is None:
            raise CorpusError(f"{DATA_PACK_VARIABLE} is not set; the tasks are in the data pack")
        check_sources(data_pack)
        encoder = load_encoder(config.encoder.name, trim=config.encoder.trim)
        for name in TASK_NAMES if options.task == "all" else (options.task,):
            result = measure_task(read_task(name, data_pack), config, encoder, max_folds=options.folds)
            table = record_result(result, options.output)
            print(f"{name}: {result.metric} {result.figures['encoder']} in {result.seconds:.0f} s", flush=True)
    except (ConfigError, CorpusError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table)
    return 0


def measure_task(task: Task, config: ExperimentConfig, encoder: PretrainedEncoder, *, max_folds: int = 1) -> TaskResult:
    """Let the encoder and two baselines learn each fold, and measure what they say of the test texts of all of them."""
    about, limit = task.description, config.data.max_train_statements
    folds = [replace(fold, train=_drawn(fold.train, limit)) for fold in task.folds[:max_folds]]
    tested = [text for fold in folds for text in fold.test]
    gold = label_matrix(tested, len(about.labels))[:, about.scored_columns]
    groups = [text.group for text in tested]
    figures, seconds = {}, {}
    for name, scorer in _scorers(about, config, encoder).items():
        start = time.monotonic()
        decided = np.concatenate([_decide(scorer, fold, about) for fold in folds])[:, about.scored_columns]
        seconds[name] = round(time.monotonic() - start, 1)
        figures[name] = bootstrap({"f1": mean_f1}, decided.astype(np.float64), gold, groups)["f1"]
    return TaskResult(
        task=task.name,
        title=about.title,
        metric="macro-F1" if about.scored == about.labels else f"F1 of {', '.join(about.scored)}",
        figures=figures,
        published=about.published,
        split=about.split,
        differences=(*about.differences, *_differences_of_run(task, len(folds), config, encoder)),
        train_rows=len(folds[0].train),
        test_rows=len(tested),
        epochs=config.optimiser.epochs,
        seconds=seconds["encoder"],
        date=datetime.now(UTC).date().isoformat(),
    )


def mean_f1(decided: Floats, gold: Ints) -> float:
    """Return the mean over labels of F1, from 0 or 1 for each text and label (n_texts, n_labels); 0 where neither."""
    hits = (decided * gold).sum(0)
    return float((2 * hits / np.maximum(decided.sum(0) + gold.sum(0), 1)).mean())


def best_thresholds(scores: Floats, gold: Ints) -> Floats:
    """Return for each label the score (n_labels,), midway between two, from which on saying it has the best F1."""
    thresholds = np.empty(scores.shape[1])
    for label, (column, truth) in enumerate(zip(scores.T, gold.T, strict=True)):
        values = np.unique(column)
        candidates = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2])
        figures = [mean_f1((column >= c).astype(np.float64)[:, None], truth[:, None]) for c in candidates]
        thresholds[label] = candidates[int(np.argmax(figures))]
    return thresholds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.neighbouring", description="Measure neighbouring tasks.")
    parser.add_argument("--task", choices=("all", *TASK_NAMES), default="all", help="the task to measure")
    parser.add_argument("--folds", type=int, default=1, help="how many folds, where a task has no official split")
    parser.add_argument("--config", type=Path, default=RECIPE, help="the recipe")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="override a field, may be given often")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of results.md and results.json")
    return parser


def _read_recipe(path: Path, overrides: list[str] | None) -> ExperimentConfig:
    config = ExperimentConfig.from_toml(path, overrides)
    optimiser = config.optimiser
    if config.model != "encoder" or optimiser.lora_rank or optimiser.average_seeds * optimiser.average_epochs != 1:
        raise ConfigError(f"{path}: neighbouring tasks take one full fine-tuning of an encoder, nothing averaged")
    if config.encoder.start_from is not None:
        raise ConfigError(f"{path}: neighbouring tasks have outcomes of their own; leave encoder.start_from out")
    return config


def _drawn(texts: tuple[LabelledText, ...], limit: int | None) -> tuple[LabelledText, ...]:
    return texts if limit is None else tuple(sorted(texts, key=lambda t: text_digest(t.text))[:limit])


def _scorers(about: TaskDescription, config: ExperimentConfig, encoder: PretrainedEncoder) -> dict[str, Scorer]:
    regression = LogisticRegression(max_iter=2000, C=10.0, class_weight="balanced", random_state=config.seed)
    return {
        "encoder": _fine_tuned(about, config, encoder),
        "tfidf": _baseline(about, make_pipeline(build_tfidf(), regression)),
        "majority": _baseline(about, DummyClassifier(strategy="prior")),
    }


def _fine_tuned(about: TaskDescription, config: ExperimentConfig, encoder: PretrainedEncoder) -> Scorer:
    def score(learned: Sequence[LabelledText], asked: Sequence[LabelledText]) -> Floats:
        torch.manual_seed(config.seed)
        model = OutcomeClassifier(copy.deepcopy(encoder.model), config.optimiser.dropout, len(about.labels))
        gold = label_matrix(learned, len(about.labels))
        outcomes = (
            tuple(map(tuple, gold.astype(float).tolist())) if about.multi_label else tuple(gold.argmax(1).tolist())
        )
        with tempfile.TemporaryDirectory() as folder:
            train_classifier(
                model,
                EncodedStatements(_ids(learned, config, encoder), outcomes, (1.0,) * len(learned)),
                config.optimiser,
                seed=config.seed,
                checkpoint_dir=Path(folder),
                on_epoch=lambda epoch, loss, _: print(f"epoch {epoch}: loss {loss:.4f}", flush=True),
                row_loss=any_labels_loss if about.multi_label else one_outcome_loss,
            )
        return predict_logits(model, _ids(asked, config, encoder)).astype(np.float64)

    return score


def _baseline(about: TaskDescription, estimator: Any) -> Scorer:
    def score(learned: Sequence[LabelledText], asked: Sequence[LabelledText]) -> Floats:
        gold = label_matrix(learned, len(about.labels))
        if about.multi_label:
            return np.asarray(OneVsRestClassifier(estimator).fit(_texts(learned), gold).predict_proba(_texts(asked)))
        scores = np.zeros((len(asked), len(about.labels)))
        estimator.fit(_texts(learned), gold.argmax(1))
        scores[:, estimator.classes_] = estimator.predict_proba(_texts(asked))
        return scores

    return score


def _decide(scorer: Scorer, fold: Fold, about: TaskDescription) -> Ints:
    """Return 1 where a test text is said to have a label, (n_test, n_labels)."""
    if not about.multi_label:
        best: Ints = np.eye(len(about.labels), dtype=np.int64)[scorer(fold.train, fold.test).argmax(1)]
        return best
    scores = scorer(fold.train, (*fold.dev, *fold.test))
    dev, test = np.split(scores, [len(fold.dev)])
    decided: Ints = (test >= best_thresholds(dev, label_matrix(fold.dev, len(about.labels)))).astype(np.int64)
    return decided


def _differences_of_run(task: Task, n_folds: int, config: ExperimentConfig, encoder: PretrainedEncoder) -> list[str]:
    fold, limit, length = task.folds[0], config.data.max_train_statements, config.data.max_length_tokens
    cut = float(np.mean([len(row) == length for row in _ids(fold.test, config, encoder)]))
    found = ["vocabulary trimmed to three languages"] if config.encoder.trim else []
    if n_folds < len(task.folds):
        found.append(f"{n_folds} of {len(task.folds)} folds measured")
    if limit is not None and len(fold.train) > limit:
        found.append(f"learned from {limit:,} of {len(fold.train):,} rows, drawn evenly")
    if cut:
        found.append(f"{cut:.1%} of the test texts cut at {length} tokens")
    return found


def _ids(
    texts: Sequence[LabelledText], config: ExperimentConfig, encoder: PretrainedEncoder
) -> tuple[tuple[int, ...], ...]:
    prefix, length = config.encoder.text_prefix, config.data.max_length_tokens
    return tuple(encode_texts(encoder.tokenizer, _texts(texts), prefix=prefix, max_length=length))


def _texts(texts: Sequence[LabelledText]) -> list[str]:
    return [normalise_text(t.text).text for t in texts]


if __name__ == "__main__":
    raise SystemExit(main())
