"""From torch to bundle: the same logits, big constants in blocks, and a refusal where the two differ."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from credence.blocks import decode_q4
from credence.bundle import BundlePaths
from credence.model_scorer import EMBEDDING_KEY, OutcomeModel
from training.encoders import PretrainedEncoder
from training.export import MAX_SCORE_GAP, ExportError, compare_logits, write_network
from training.loop import encode_texts, predict_logits
from training.metrics import Floats
from training.model import OutcomeClassifier

TEXTS = ("the council opened a bridge", "хто там?", "чиновник заявив про міст, якого немає " * 3, "x")
PREFIX = "query: "


@pytest.fixture
def paths(tiny_model: OutcomeClassifier, tiny_encoder: PretrainedEncoder, tmp_path: Path) -> BundlePaths:
    # Sharper than a fresh head, so that a difference would show.
    torch.nn.init.normal_(tiny_model.head.weight)
    paths = BundlePaths(tmp_path / "bundle")
    write_network(tiny_model, tiny_encoder.tokenizer, paths)
    return paths


def read_bundle_logits(paths: BundlePaths, texts: tuple[str, ...] = TEXTS) -> Floats:
    model = OutcomeModel(paths, text_prefix=PREFIX, max_length_tokens=48, inference_threads=1)
    return model.score_logits(texts).values.astype(np.float64)


def read_torch_logits(model: OutcomeClassifier, tokenizer: Tokenizer, texts: tuple[str, ...] = TEXTS) -> Floats:
    ids = encode_texts(tokenizer, texts, prefix=PREFIX, max_length=48)
    return predict_logits(model, ids).astype(np.float64)


def test_the_bundle_gives_the_logits_of_the_torch_model(
    paths: BundlePaths, tiny_model: OutcomeClassifier, tiny_encoder: PretrainedEncoder
) -> None:
    expected = read_torch_logits(tiny_model, tiny_encoder.tokenizer)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(read_bundle_logits(paths), expected, atol=0.1)
    assert compare_logits(read_bundle_logits(paths), expected).agreement == 1


def test_a_low_rank_model_is_exported_once_merged(
    tiny_model: OutcomeClassifier, tiny_encoder: PretrainedEncoder, tmp_path: Path
) -> None:
    torch.nn.init.normal_(tiny_model.head.weight)
    tiny_model.add_lora(4)
    for name, parameter in tiny_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    tiny_model.merge_lora()
    expected = read_torch_logits(tiny_model, tiny_encoder.tokenizer)
    write_network(tiny_model, tiny_encoder.tokenizer, BundlePaths(tmp_path))
    np.testing.assert_allclose(read_bundle_logits(BundlePaths(tmp_path)), expected, atol=0.1)


def test_big_constants_are_stored_in_blocks_and_small_ones_as_they_are(
    paths: BundlePaths, tiny_model: OutcomeClassifier
) -> None:
    with np.load(paths.weights) as archive:
        in_blocks = [archive[key].size for key in archive.files if key.endswith(".q8")]
        plain = [archive[key].nbytes for key in archive.files if key.endswith(".raw")]
    # Two layers with two feed-forward matrices each, and the positions: 32 x 512 values.
    assert len(in_blocks) >= 4
    assert max(plain) < 16_384 * 4
    n_values = sum(parameter.numel() for parameter in tiny_model.parameters())
    assert paths.weights.stat().st_size < 2 * n_values


def test_embeddings_that_came_from_blocks_are_exact_in_the_bundle(
    paths: BundlePaths, tiny_model: OutcomeClassifier
) -> None:
    with np.load(paths.weights) as archive:
        stored = decode_q4(archive[EMBEDDING_KEY])
    np.testing.assert_array_equal(stored, tiny_model.encoder.get_input_embeddings().weight.detach().numpy())


def test_a_graph_carries_neither_paths_nor_the_precision_of_its_maker(paths: BundlePaths) -> None:
    graph = paths.graph.read_text(encoding="utf-8")
    assert "/tmp" not in graph
    assert "rt_info" not in graph
    assert set(re.findall(r'element_type="(\w+)"', graph)) <= {"f32", "i64", "i32", "boolean"}


def test_a_tokenizer_is_written_without_the_cutting_of_training(
    tiny_model: OutcomeClassifier, tiny_encoder: PretrainedEncoder, tmp_path: Path
) -> None:
    encode_texts(tiny_encoder.tokenizer, TEXTS, prefix=PREFIX, max_length=8)
    write_network(tiny_model, tiny_encoder.tokenizer, BundlePaths(tmp_path))
    assert len(Tokenizer.from_file(str(BundlePaths(tmp_path).tokenizer)).encode(TEXTS[0]).ids) > 8


def test_the_same_model_gives_the_same_weights_and_tokenizer(
    paths: BundlePaths, tiny_model: OutcomeClassifier, tiny_encoder: PretrainedEncoder, tmp_path: Path
) -> None:
    again = BundlePaths(tmp_path / "again")
    write_network(tiny_model, tiny_encoder.tokenizer, again)
    assert again.tokenizer.read_bytes() == paths.tokenizer.read_bytes()
    with np.load(paths.weights) as first, np.load(again.weights) as second:
        assert first.files == second.files
        assert all(np.array_equal(first[key], second[key]) for key in first.files)


def test_scores_that_differ_too_much_are_refused(
    paths: BundlePaths, tiny_model: OutcomeClassifier, tiny_encoder: PretrainedEncoder
) -> None:
    with torch.no_grad():
        tiny_model.head.bias[2] += 1
    altered = read_torch_logits(tiny_model, tiny_encoder.tokenizer)
    with pytest.raises(ExportError, match=rf"differ .* by 0\.\d+; at most {MAX_SCORE_GAP}"):
        compare_logits(read_bundle_logits(paths), altered)


def test_a_comparison_tells_how_near_the_two_are() -> None:
    first = np.asarray([[0.0, 0.01, -9, -9], [3.0, 0, 0, 0]])
    second = np.asarray([[0.01, 0.0, -9, -9], [3.0, 0, 0, 0]])
    comparison = compare_logits(first, second)
    assert comparison.agreement == 0.5
    assert 0 < comparison.max_score_gap < 0.01
