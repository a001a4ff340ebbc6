"""Runs one experiment: learns, calibrates, bundles, measures on held-back statements, tracks, and registers the bundle.

Manual
------
``python -m training.train --config experiments/tiny/config.toml`` runs on any CPU in minutes, without a data pack.
``accelerate launch --num_processes 2 -m training.train --config ...`` trains on several devices.
``--set optimiser.epochs=1`` overrides a field; ``--resume`` goes on after the last finished epoch of the same run;
``--publish FOLDER`` copies the finished bundle there. Runs and the MLflow store lie in ``runs/`` unless told otherwise.
"""

import argparse
import importlib.metadata
import json
import platform
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

import torch

from credence.bundle import load_bundle
from credence.errors import BundleError
from training.baselines import predict_with_baseline
from training.config import ConfigError, ExperimentConfig
from training.corpora import OWN_ORIGIN, data_pack_path, load_corpus
from training.evaluation import Predictions, evaluate_predictions
from training.feedback import add_feedback
from training.fine_tuning import Session, fine_tune_bundle
from training.loop import is_main_process, mixed_precision, wait_for_all_processes
from training.metrics import Interval
from training.report import write_report
from training.results import EvaluationResult
from training.sources import CorpusError
from training.splits import LeakError
from training.tracking import BUNDLE_ARTIFACT, NullRun, register_challenger, tracked_run

RUNS_DIR: Final = Path("runs")


def main(arguments: list[str] | None = None) -> int:
    """Run one experiment; see the manual at the head of this module."""
    options = _parser().parse_args(arguments)
    try:
        config = ExperimentConfig.from_toml(options.config, options.set)
        _check_start(config, options.runs)
        corpus = load_corpus(config.data.origins, data_pack_path())
        if config.data.feedback_path is not None:
            corpus, counts = add_feedback(corpus, config.data.feedback_path)
            print(counts)
    except (BundleError, ConfigError, CorpusError, LeakError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if corpus.main_origin == OWN_ORIGIN:
        print("learning from the project's own statements alone: no data pack, or the recipe leaves it out")
    folder = options.runs / config.name
    if is_main_process():
        if not options.resume:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
    wait_for_all_processes()
    uri = options.tracking_uri or f"sqlite:///{options.runs / 'mlflow.db'}"
    if not is_main_process():
        if config.model == "encoder":
            fine_tune_bundle(Session(config, corpus, folder, NullRun()))
        return 0
    tags = {"model": config.model, "config": str(options.config)}
    with tracked_run(config.name, uri, options.runs / "artifacts", tags) as run:
        command = shlex.join(["python", "-m", "training.train", *(sys.argv[1:] if arguments is None else arguments)])
        _run_tracked(Session(config, corpus, folder, run), uri, options.publish, command)
    return 0


def _check_start(config: ExperimentConfig, runs: Path) -> None:
    """Refuse a start that is no bundle, reads texts otherwise, or lies where this run makes room for itself."""
    start = config.encoder.start_from
    if start is None:
        return
    if start.resolve().is_relative_to((runs / config.name).resolve()):
        raise ConfigError(
            f"encoder.start_from: this run would empty the folder in which {start} lies; copy it elsewhere"
        )
    prefix = load_bundle(start).manifest.text_prefix
    if prefix != config.encoder.text_prefix:
        raise ConfigError(
            f"encoder.start_from: that bundle reads texts after {prefix!r}; set encoder.text_prefix to it"
        )


def _run_tracked(session: Session, uri: str, publish: Path | None, command: str) -> None:
    """Learn, record what came of it, and register a new bundle as challenger."""
    _log_setup(session)
    fine_tunes = session.config.model == "encoder"
    predictions = (
        fine_tune_bundle(session)
        if fine_tunes
        else predict_with_baseline(session.config, session.learned(), session.dev)
    )
    if predictions is None:
        return
    figures = _log_results(session, predictions, command)
    print(f"run {session.run.run_id}: macro-F1 on dev {figures['macro_f1']}")
    if fine_tunes:
        version = register_challenger(session.run, uri)
        print(f"registered as version {version} of credence, now challenger; training.promote makes it champion")
        if publish is not None:
            shutil.copytree(session.folder / BUNDLE_ARTIFACT, publish, dirs_exist_ok=True)
            print(f"bundle copied to {publish}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description="Run one experiment from its recipe.")
    parser.add_argument("--config", type=Path, required=True, help="the recipe, experiments/<name>/config.toml")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="override a field, may be given often")
    parser.add_argument("--resume", action="store_true", help="go on after the last finished epoch")
    parser.add_argument("--publish", type=Path, help="copy the finished bundle to this folder")
    parser.add_argument("--runs", type=Path, default=RUNS_DIR, help="folder of runs and of the MLflow store")
    parser.add_argument("--tracking-uri", help="an MLflow server or store in place of the local one")
    return parser


def _log_setup(session: Session) -> None:
    config = session.config
    flat: dict[str, object] = {}
    for name, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{field}": v for field, v in value.items()})
        else:
            flat[name] = value
    flat["resolved_precision"] = mixed_precision(config.optimiser)
    flat["torch_threads"] = torch.get_num_threads()
    session.run.log_params(flat)
    for name, digest in session.corpus.digests.items():
        session.run.log_data(name, digest, "evaluation" if name.endswith(("/dev.jsonl", "/test.jsonl")) else "training")


def _log_results(session: Session, predictions: Predictions, command: str) -> dict[str, Interval]:
    result = _evaluate(session, predictions)
    flat = {f"dev_{n}{suffix}": value for n, i in result.metrics.items() for suffix, value in _parts(i)}
    session.run.log_metrics(flat)
    report = session.folder / "report"
    bundle = session.folder / BUNDLE_ARTIFACT
    write_report([result], report, command=command)
    (report / "config.json").write_text(session.config.model_dump_json(indent=1), encoding="utf-8")
    (report / "environment.json").write_text(json.dumps(_environment(), indent=1), encoding="utf-8")
    session.run.log_artifacts(report, "report")
    if bundle.is_dir():
        session.run.log_artifacts(bundle, BUNDLE_ARTIFACT)
    return result.metrics


def _evaluate(session: Session, predictions: Predictions) -> EvaluationResult:
    bundle = session.folder / BUNDLE_ARTIFACT
    return evaluate_predictions(
        predictions,
        session.dev,
        digests=session.corpus.digests,
        calibration=load_bundle(bundle).calibration if bundle.is_dir() else None,
        model_kind=None if bundle.is_dir() else session.config.model,
        run_id=session.run.run_id,
    )


def _environment() -> dict[str, object]:
    packages = {d.name: d.version for d in importlib.metadata.distributions()}
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": dict(sorted(packages.items())),
    }


def _parts(interval: Interval) -> tuple[tuple[str, float], ...]:
    return ("", interval.value), ("_low", interval.low), ("_high", interval.high)


if __name__ == "__main__":
    raise SystemExit(main())
