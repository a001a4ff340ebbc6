"""The network of the shipped bundle: a text's logits depend on nothing but the text, and what was read is known."""

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from credence.bundle import BundlePaths, default_bundle_path, load_bundle
from credence.errors import BundleError
from credence.model_scorer import MAX_BATCH, OutcomeModel

WORDS: Final = (
    "рада",
    "bridge",
    "открыла",
    "the",
    "заявив,",
    "что",
    "міст",
    "Kyiv",
    "24",
    "офіційно",
    "said",
    "он",
    "reportedly",
    "місто",
)
SAME: Final = 0.05


@pytest.fixture(scope="module")
def model() -> OutcomeModel:
    manifest = load_bundle(default_bundle_path()).manifest
    return OutcomeModel(
        BundlePaths(default_bundle_path()),
        text_prefix=manifest.text_prefix,
        max_length_tokens=manifest.max_length_tokens,
        inference_threads=1,
    )


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Texts of every length from one word to more than is read, more than fit one batch."""
    generator = random.Random(3)
    lengths = [1, 2, 400, 5000, *(generator.randint(3, 40) for _ in range(2 * MAX_BATCH))]
    return [" ".join(generator.choices(WORDS, k=n)) for n in lengths]


@pytest.fixture(scope="module")
def logits(model: OutcomeModel, texts: list[str]) -> NDArray[np.float32]:
    return model.score_logits(texts).values


def test_logits_come_back_in_the_order_of_the_texts(
    model: OutcomeModel, texts: list[str], logits: NDArray[np.float32]
) -> None:
    order = random.Random(4).sample(range(len(texts)), len(texts))
    shuffled = model.score_logits([texts[i] for i in order])
    np.testing.assert_allclose(shuffled.values, logits[order], atol=SAME)


def test_a_text_alone_gets_the_logits_that_it_gets_among_others(
    model: OutcomeModel, texts: list[str], logits: NDArray[np.float32]
) -> None:
    for row in (0, 1, 2, 10, 20):
        np.testing.assert_allclose(model.score_logits([texts[row]]).values[0], logits[row], atol=SAME)


def test_different_texts_get_different_logits(logits: NDArray[np.float32], texts: list[str]) -> None:
    assert len({tuple(np.round(row, 4)) for row in logits}) > len(set(texts)) // 2
    assert np.isfinite(logits).all()


def test_threads_at_once_agree_with_one_after_another(
    model: OutcomeModel, texts: list[str], logits: NDArray[np.float32]
) -> None:
    some = [0, 1, 5, 6, 7, 8, 9, 10]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: model.score_logits([texts[row]] * 3).values, some * 3))
    for row, answer in zip(some * 3, answers, strict=True):
        np.testing.assert_allclose(answer, np.tile(logits[row], (3, 1)), atol=SAME)


def test_short_texts_are_read_to_the_end(model: OutcomeModel) -> None:
    texts = ["The council met.", "Рада зібралася.", "x", "слово " * 60]
    assert model.score_logits(texts).read_chars == tuple(map(len, texts))


@pytest.mark.parametrize("piece", ["word ", "слово ", "и", "🚀", "ab1-"])
def test_long_texts_are_read_in_part_and_the_rest_does_not_matter(model: OutcomeModel, piece: str) -> None:
    text = piece * 6000
    answer = model.score_logits([text])
    (read,) = answer.read_chars
    assert 0 < read < len(text)
    # What follows soon after may share a piece with the last that was read; what follows later cannot.
    other = text[: read + 200] + " The rest is about something else entirely." * 50
    changed = model.score_logits([other])
    np.testing.assert_allclose(changed.values, answer.values, atol=SAME)
    assert changed.read_chars == answer.read_chars


def test_no_texts_get_no_logits(model: OutcomeModel) -> None:
    answer = model.score_logits([])
    assert answer.values.shape == (0, 4)
    assert answer.read_chars == ()


def test_a_tokenizer_that_does_not_fit_the_embedding_is_refused(bundle_copy: BundlePaths) -> None:
    bundle_copy.tokenizer.unlink()
    Tokenizer(WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>")).save(str(bundle_copy.tokenizer))
    with pytest.raises(BundleError, match=r"the embedding has .* rows; the tokenizer has 2 pieces"):
        OutcomeModel(bundle_copy, text_prefix="", max_length_tokens=16)
