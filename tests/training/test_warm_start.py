"""A run can go on from a finished bundle: the same weights come back, and nothing that does not fit is taken."""

from pathlib import Path

import numpy as np
import pytest
import torch

from credence.bundle import BundlePaths, Manifest, load_bundle, write_manifest
from credence.errors import BundleError
from credence.labels import CODEBOOK_VERSION, OUTCOMES
from credence.language import SUPPORTED_LANGUAGES
from credence.model_scorer import OutcomeModel
from training.config import CalibrationConfig
from training.encoders import PretrainedEncoder, load_encoder
from training.export import write_network
from training.fit_calibration import fit_calibration
from training.loop import encode_texts, predict_logits
from training.model import OutcomeClassifier
from training.warm_start import load_bundle_weights

TEXTS = ("the council opened a bridge", "хто там?", "чиновник заявив про міст, якого немає")


@pytest.fixture
def bundle(tiny_model: OutcomeClassifier, tiny_encoder: PretrainedEncoder, tmp_path: Path) -> Path:
    # As training leaves them: no two alike.
    for name, parameter in tiny_model.named_parameters():
        if "word_embeddings" not in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    torch.nn.init.normal_(tiny_model.head.weight)
    paths = BundlePaths(tmp_path / "bundle")
    write_network(tiny_model, tiny_encoder.tokenizer, paths)
    logits, gold = np.eye(4)[[0, 1, 2, 3] * 3], np.array([0, 1, 2, 3] * 3)
    languages, clusters = ["en", "uk", "ru"] * 4, [str(n) for n in range(12)]
    calibration = fit_calibration(logits, gold, languages, clusters, CalibrationConfig(), fitted_on="nothing")
    paths.calibration.write_text(calibration.to_json(), encoding="utf-8")
    paths.card.write_text("A card.\n", encoding="utf-8")
    write_manifest(
        paths,
        Manifest(1, "0.0.1", tuple(OUTCOMES), SUPPORTED_LANGUAGES, CODEBOOK_VERSION, 48, "query: ", "none", {}, {}),
    )
    return paths.root


def make_other(folder: Path, seed: int = 5) -> OutcomeClassifier:
    torch.manual_seed(seed)
    return OutcomeClassifier(load_encoder(str(folder), trim=False).model, 0.0).eval()


def test_a_model_with_the_weights_of_a_bundle_says_what_the_bundle_says(
    bundle: Path, tiny_folder: Path, tiny_encoder: PretrainedEncoder
) -> None:
    other = make_other(tiny_folder)
    found = load_bundle_weights(other, bundle)
    assert found == load_bundle(bundle)
    ids = encode_texts(tiny_encoder.tokenizer, TEXTS, prefix="query: ", max_length=48)
    said = OutcomeModel(found.paths, text_prefix="query: ", max_length_tokens=48).score_logits(TEXTS).values
    np.testing.assert_allclose(predict_logits(other, ids), said, atol=0.05)


def test_what_is_read_and_written_again_is_the_same_bundle_part(
    bundle: Path, tiny_folder: Path, tiny_encoder: PretrainedEncoder, tmp_path: Path
) -> None:
    other = make_other(tiny_folder)
    load_bundle_weights(other, bundle)
    again = BundlePaths(tmp_path / "again")
    write_network(other, tiny_encoder.tokenizer, again)
    first = OutcomeModel(BundlePaths(bundle), text_prefix="", max_length_tokens=48).score_logits(TEXTS).values
    second = OutcomeModel(again, text_prefix="", max_length_tokens=48).score_logits(TEXTS).values
    np.testing.assert_allclose(first, second, atol=1e-3)


def test_a_bundle_of_another_vocabulary_is_refused(bundle: Path, tiny_folder: Path) -> None:
    other = make_other(tiny_folder)
    with torch.no_grad():
        other.encoder.get_input_embeddings().weight[7] += 1
    with pytest.raises(BundleError, match="another vocabulary"):
        load_bundle_weights(other, bundle)


def test_a_folder_without_a_bundle_is_refused(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        load_bundle_weights(make_other(tiny_folder), tmp_path)
