"""Fine-tunes an encoder and makes the bundle: learn, export, calibrate on held-back statements, compare, seal."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from credence import load_scorer
from credence.bundle import FORMAT_VERSION, BundlePaths, Manifest, load_bundle, write_manifest
from credence.labels import CODEBOOK_VERSION, OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from credence.model_scorer import OutcomeModel
from training.config import ExperimentConfig
from training.corpora import Corpus, Example, folders_of, normal_texts
from training.encoders import PretrainedEncoder, load_encoder
from training.evaluation import Predictions, clusters_of, gold_columns, measure, predict_with_scorer
from training.export import compare_logits, write_network
from training.fit_calibration import cross_fitted, fit_calibration
from training.loop import (
    EncodedStatements,
    encode_texts,
    is_main_process,
    predict_logits,
    train_classifier,
    wait_for_all_processes,
)
from training.loss_weights import loss_weights
from training.metrics import Floats, macro_f1
from training.model import OutcomeClassifier, average_weights, interpolate_weights
from training.perturbations import PERTURBATIONS
from training.report import write_card
from training.sources import ANNOTATIONS_ORIGIN
from training.stand_off import text_digest
from training.tracking import BUNDLE_ARTIFACT, Run
from training.warm_start import load_bundle_weights


@dataclass(frozen=True, slots=True)
class Session:
    """What every step of a run needs: the recipe, the statements, the folder to work in and the place to record in."""

    config: ExperimentConfig
    corpus: Corpus
    folder: Path
    run: Run

    @property
    def dev(self) -> list[Example]:
        """Return the held-back statements on which choices are made."""
        return self.corpus.held_back("dev")

    def learned(self) -> list[Example]:
        """Return the statements to learn from: all, or as many as the recipe allows, drawn evenly by their digest."""
        learned, data = self.corpus.learned(), self.config.data
        if data.annotations_share < 1:
            annotations = [e for e in learned if e.origin.startswith(ANNOTATIONS_ORIGIN)]
            kept = _first_by_digest(annotations, round(len(annotations) * data.annotations_share))
            learned = [e for e in learned if not e.origin.startswith(ANNOTATIONS_ORIGIN)] + kept
        limit = data.max_train_statements
        return learned if limit is None else _first_by_digest(learned, limit)


def _first_by_digest(examples: list[Example], n: int) -> list[Example]:
    return sorted(examples, key=lambda e: text_digest(e.text))[:n]


def fine_tune_bundle(session: Session) -> Predictions | None:
    """Fine-tune, bundle, calibrate, and return what the bundle says of the development statements.

    Of several processes only the first makes the bundle; the others return null when training is over.
    """
    config = session.config
    # Named before training: the folder may hold another bundle when it is over.
    start = _start_digest(config)
    encoder = load_encoder(config.encoder.name, trim=config.encoder.trim)
    model = fine_tune_model(session, encoder)
    if not is_main_process():
        return None
    paths = BundlePaths(session.folder / BUNDLE_ARTIFACT)
    write_network(model, encoder.tokenizer, paths)
    logits = _bundle_logits(session, paths)
    _calibrate_and_seal(session, encoder, paths, logits, start)
    predictions = predict_with_scorer(config.name, load_scorer(paths.root), session.dev)
    _compare_with_torch(session, logits, predict_logits(model, _encode_dev(session, encoder)))
    return predictions


def fine_tune_model(session: Session, encoder: PretrainedEncoder) -> OutcomeClassifier:
    """Train once for each seed from the same start, and average the weights of the last epochs of all of them."""
    config = session.config
    torch.manual_seed(config.seed)
    model = OutcomeClassifier(encoder.model, config.optimiser.dropout)
    if config.encoder.start_from is not None:
        load_bundle_weights(model, config.encoder.start_from)
    if config.optimiser.lora_rank:
        model.add_lora(config.optimiser.lora_rank)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    dev_ids = _encode_dev(session, encoder)
    for turn in range(config.optimiser.average_seeds):
        model.load_state_dict(start)
        train_classifier(
            model,
            encode_learned(session, encoder, config.seed + turn),
            config.optimiser,
            seed=config.seed + turn,
            checkpoint_dir=session.folder / f"checkpoint-{turn}",
            on_epoch=_epoch_keeper(session, dev_ids, turn),
        )
    wait_for_all_processes()
    kept = [
        _weights_path(session, turn, epoch) for turn in range(config.optimiser.average_seeds) for epoch in _kept(config)
    ]
    learned = average_weights([torch.load(path, weights_only=True, map_location="cpu") for path in kept])
    model.load_state_dict(interpolate_weights(learned, start, config.optimiser.average_start))
    model.merge_lora()
    return model.eval()


def _kept(config: ExperimentConfig) -> range:
    """Return the epochs whose weights are averaged."""
    epochs = config.optimiser.epochs
    return range(max(1, epochs - config.optimiser.average_epochs + 1), epochs + 1)


def _weights_path(session: Session, turn: int, epoch: int) -> Path:
    return session.folder / f"weights-{turn}-{epoch}.pt"


def encode_learned(session: Session, encoder: PretrainedEncoder, seed: int) -> EncodedStatements:
    """Return the statements to learn from as the encoder reads them, each with its outcome and weight in the loss."""
    config = session.config
    examples = _perturb(session.learned(), config.data.perturbed_share, seed)
    return EncodedStatements(
        ids=tuple(_encode(config, encoder, examples, config.data.max_length_tokens)),
        outcomes=tuple(OUTCOMES.index(e.label) for e in examples),
        weights=tuple(loss_weights(examples, config.data)),
    )


def _perturb(examples: list[Example], share: float, seed: int) -> list[Example]:
    """Try one way of changing the text, drawn with the seed, on that share of the examples; each keeps the label."""
    rng = random.Random(seed)
    ways = list(PERTURBATIONS.values())
    return [replace(e, text=rng.choice(ways)(e.text)) if rng.random() < share else e for e in examples]


def _epoch_keeper(
    session: Session, dev_ids: list[tuple[int, ...]], turn: int
) -> Callable[[int, float, OutcomeClassifier], None]:
    """Return what happens after each epoch: the figure on dev is recorded, and weights to average are kept on disk."""
    config, dev = session.config, session.dev

    def keep(epoch: int, loss: float, model: OutcomeClassifier) -> None:
        if not is_main_process():
            return
        figure = macro_f1(predict_logits(model, dev_ids).astype(np.float64), gold_columns(dev))
        step = turn * config.optimiser.epochs + epoch
        session.run.log_metrics({"train_loss": loss, "dev_macro_f1_torch": figure}, step)
        print(f"seed {turn + 1}, epoch {epoch}: loss {loss:.4f}, macro-F1 on dev {figure:.4f}", flush=True)
        if epoch in _kept(config):
            torch.save(model.state_dict(), _weights_path(session, turn, epoch))

    return keep


def _encode_dev(session: Session, encoder: PretrainedEncoder) -> list[tuple[int, ...]]:
    return _encode(session.config, encoder, session.dev, session.config.bundle.max_length_tokens)


def _encode(
    config: ExperimentConfig, encoder: PretrainedEncoder, examples: list[Example], max_length: int
) -> list[tuple[int, ...]]:
    return encode_texts(
        encoder.tokenizer, normal_texts(examples), prefix=config.encoder.text_prefix, max_length=max_length
    )


def _bundle_logits(session: Session, paths: BundlePaths) -> Floats:
    config = session.config
    model = OutcomeModel(
        paths, text_prefix=config.encoder.text_prefix, max_length_tokens=config.bundle.max_length_tokens
    )
    return model.score_logits(normal_texts(session.dev)).values.astype(np.float64)


def _calibrate_and_seal(
    session: Session, encoder: PretrainedEncoder, paths: BundlePaths, logits: Floats, start: dict[str, str]
) -> None:
    """Fit the calibration on the bundle's own logits of the held-back statements, then write card and manifest."""
    config, dev = session.config, session.dev
    gold, smoothing = gold_columns(dev), config.optimiser.label_smoothing
    fitted_on = f"{len(dev)} held-back statements (dev of {folders_of(dev)})"
    languages, clusters = [e.language for e in dev], clusters_of(dev)
    calibration = fit_calibration(
        logits, gold, languages, clusters, config.calibration, fitted_on=fitted_on, label_smoothing=smoothing
    )
    paths.calibration.write_text(calibration.to_json(), encoding="utf-8")
    out_of_fold = Predictions(config.name, cross_fitted(logits, gold, clusters, smoothing), (True,) * len(dev))
    write_card(
        paths.card,
        config,
        session.corpus,
        measure(out_of_fold, dev),
        session.run.run_id,
        start=next((f"{name} ({digest[:12]})" for name, digest in start.items()), None),
    )
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model_version=config.bundle.model_version,
        outcomes=tuple(OUTCOMES),
        languages=SUPPORTED_LANGUAGES,
        codebook_version=CODEBOOK_VERSION,
        max_length_tokens=config.bundle.max_length_tokens,
        text_prefix=config.encoder.text_prefix,
        mlflow_run_id=session.run.run_id,
        data_digests={**session.corpus.digests, f"encoder/{encoder.source}": encoder.digest, **start},
        file_digests={},
    )
    write_manifest(paths, manifest)


def _start_digest(config: ExperimentConfig) -> dict[str, str]:
    """Name the bundle that the run went on from, by version and digest, as part of its lineage."""
    if config.encoder.start_from is None:
        return {}
    start = load_bundle(config.encoder.start_from)
    return {f"bundle/{start.manifest.model_version}": start.digest}


def _compare_with_torch(session: Session, bundle_logits: Floats, torch_logits: NDArray[np.float32]) -> None:
    comparison = compare_logits(bundle_logits, torch_logits.astype(np.float64))
    session.run.log_metrics(
        {"bundle_agreement": comparison.agreement, "bundle_max_score_gap": comparison.max_score_gap}
    )
    print(
        f"bundle and torch model: same outcome on {comparison.agreement:.2%} of dev, "
        f"uncalibrated scores within {comparison.max_score_gap:.3f}"
    )
