"""Fine-tunes an encoder and makes the bundle: learn, export, calibrate on held-back statements, compare, seal."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from credence import load_scorer
from credence.bundle import FORMAT_VERSION, BundlePaths, Manifest, write_manifest
from credence.labels import CODEBOOK_VERSION, OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from credence.model_scorer import OutcomeModel
from credence.normalise import normalise_text
from training.config import ExperimentConfig
from training.corpora import Corpus, Example
from training.encoders import PretrainedEncoder, load_encoder
from training.evaluation import Predictions, gold_columns, measure, predict_with_scorer
from training.export import check_agreement, write_network
from training.fit_calibration import cross_fitted, fit_calibration
from training.loop import EncodedStatements, encode_texts, predict_logits, train_classifier
from training.metrics import Floats, macro_f1
from training.model import OutcomeClassifier, average_weights
from training.report import write_card
from training.tracking import BUNDLE_ARTIFACT, Run


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
        """Return the statements to learn from, cut to the number that the recipe allows."""
        return self.corpus.learned()[: self.config.data.max_train_statements]


def fine_tune_bundle(session: Session) -> Predictions:
    """Fine-tune, bundle, calibrate, and return what the bundle says of the development statements."""
    config = session.config
    encoder = load_encoder(config.encoder.name, trim=config.encoder.trim)
    model = _fine_tune(session, encoder)
    paths = BundlePaths(session.folder / BUNDLE_ARTIFACT)
    write_network(model, encoder.tokenizer, paths)
    _calibrate_and_seal(session, encoder, paths)
    scorer = load_scorer(paths.root)
    predictions = predict_with_scorer(config.name, scorer, session.dev)
    _compare_with_torch(session, model, encoder, paths)
    return predictions


def _fine_tune(session: Session, encoder: PretrainedEncoder) -> OutcomeClassifier:
    """Train once for each seed from the same start, and average the weights where there are several."""
    config = session.config
    examples, dev = session.learned(), session.dev
    statements = EncodedStatements(
        ids=tuple(_encode(config, encoder, examples, config.data.max_length_tokens)),
        outcomes=tuple(OUTCOMES.index(e.label) for e in examples),
        weights=tuple(config.data.toss_up_weight if e.sure == 1 else 1.0 for e in examples),
    )
    dev_ids = _encode(config, encoder, dev, config.bundle.max_length_tokens)
    torch.manual_seed(config.seed)
    model = OutcomeClassifier(encoder.model, config.optimiser.dropout)
    if config.optimiser.lora_rank:
        model.add_lora(config.optimiser.lora_rank)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    finished = []
    for turn in range(config.optimiser.average_seeds):

        def report(epoch: int, loss: float, current: OutcomeClassifier, turn: int = turn) -> None:
            figure = macro_f1(predict_logits(current, dev_ids).astype(np.float64), gold_columns(dev))
            step = turn * config.optimiser.epochs + epoch
            session.run.log_metrics({"train_loss": loss, "dev_macro_f1_torch": figure}, step)
            print(f"seed {turn + 1}, epoch {epoch}: loss {loss:.4f}, macro-F1 on dev {figure:.4f}", flush=True)

        model.load_state_dict(start)
        train_classifier(
            model,
            statements,
            config.optimiser,
            seed=config.seed + turn,
            checkpoint_dir=session.folder / f"checkpoint-{turn}",
            on_epoch=report,
        )
        finished.append({name: value.clone() for name, value in model.state_dict().items()})
    model.load_state_dict(average_weights(finished))
    model.merge_lora()
    return model.eval()


def _encode(
    config: ExperimentConfig, encoder: PretrainedEncoder, examples: list[Example], max_length: int
) -> list[tuple[int, ...]]:
    texts = [normalise_text(e.text).text for e in examples]
    return encode_texts(encoder.tokenizer, texts, prefix=config.encoder.text_prefix, max_length=max_length)


def _bundle_logits(session: Session, paths: BundlePaths) -> Floats:
    config = session.config
    model = OutcomeModel(
        paths, text_prefix=config.encoder.text_prefix, max_length_tokens=config.bundle.max_length_tokens
    )
    return model.score_logits([normalise_text(e.text).text for e in session.dev]).values.astype(np.float64)


def _calibrate_and_seal(session: Session, encoder: PretrainedEncoder, paths: BundlePaths) -> None:
    """Fit the calibration on the bundle's own logits of the held-back statements, then write card and manifest."""
    config, dev = session.config, session.dev
    logits, gold = _bundle_logits(session, paths), gold_columns(dev)
    fitted_on = f"{len(dev)} held-back statements ({session.corpus.main_origin}dev)"
    calibration = fit_calibration(logits, gold, [e.language for e in dev], config.calibration, fitted_on=fitted_on)
    paths.calibration.write_text(calibration.to_json(), encoding="utf-8")
    out_of_fold = Predictions(config.name, cross_fitted(logits, gold), (True,) * len(dev))
    write_card(paths.card, config, session.corpus, measure(out_of_fold, dev), session.run.run_id)
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        model_version=config.bundle.model_version,
        outcomes=tuple(OUTCOMES),
        languages=SUPPORTED_LANGUAGES,
        codebook_version=CODEBOOK_VERSION,
        max_length_tokens=config.bundle.max_length_tokens,
        text_prefix=config.encoder.text_prefix,
        mlflow_run_id=session.run.run_id,
        data_digests={**session.corpus.digests, f"encoder/{encoder.source}": encoder.digest},
        file_digests={},
    )
    write_manifest(paths, manifest)


def _compare_with_torch(
    session: Session, model: OutcomeClassifier, encoder: PretrainedEncoder, paths: BundlePaths
) -> None:
    dev_ids = _encode(session.config, encoder, session.dev, session.config.bundle.max_length_tokens)
    torch_logits, bundle_logits = predict_logits(model, dev_ids), _bundle_logits(session, paths)
    agreement = check_agreement(bundle_logits.argmax(1), torch_logits.argmax(1))
    gap = float(np.abs(torch_logits - bundle_logits).max())
    session.run.log_metrics({"bundle_agreement": agreement, "bundle_max_logit_difference": gap})
    print(f"bundle and torch model: same outcome on {agreement:.2%} of dev, logits within {gap:.3f}")
