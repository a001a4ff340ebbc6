"""Fine-tuning on a tiny encoder: it learns, repeats itself, and goes on where it was interrupted."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from training.config import OptimiserConfig
from training.encoders import PretrainedEncoder
from training.loop import (
    EncodedStatements,
    embed_texts,
    encode_texts,
    has_fast_bfloat16,
    mixed_precision,
    predict_logits,
    train_classifier,
)
from training.model import OutcomeClassifier, average_weights, interpolate_weights

TEXTS = (
    "the council opened a bridge",
    "the source said that a bridge may fall",
    "що приховує таємний режим",
    "хто там?",
    "рада відкрила новий міст учора в центрі",
    "чиновник заявив про міст",
)
OUTCOME_COLUMNS = (0, 1, 2, 3, 0, 1)
RECIPE = OptimiserConfig(epochs=3, batch_size=4, learning_rate=1e-3, head_learning_rate=1e-2, precision="float32")


@pytest.fixture
def ids(tiny_encoder: PretrainedEncoder) -> list[tuple[int, ...]]:
    return encode_texts(tiny_encoder.tokenizer, TEXTS, prefix="query: ", max_length=64)


@pytest.fixture
def statements(ids: list[tuple[int, ...]]) -> EncodedStatements:
    return EncodedStatements(tuple(ids) * 3, OUTCOME_COLUMNS * 3, (1.0,) * 18)


def fit(
    model: OutcomeClassifier,
    statements: EncodedStatements,
    folder: Path,
    config: OptimiserConfig = RECIPE,
    *,
    seed: int = 1,
    on_epoch: Callable[[int, float, OutcomeClassifier], None] = lambda epoch, loss, model: None,
) -> dict[str, Tensor]:
    train_classifier(model, statements, config, seed=seed, checkpoint_dir=folder, on_epoch=on_epoch)
    return {name: value.clone() for name, value in model.state_dict().items()}


def is_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(first[name].equal(second[name]) for name in first)


def test_the_loss_falls_and_the_outcomes_are_learned(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, ids: list[tuple[int, ...]], tmp_path: Path
) -> None:
    losses: list[tuple[int, float]] = []
    config = RECIPE.model_copy(update={"epochs": 12})
    fit(tiny_model, statements, tmp_path, config, on_epoch=lambda epoch, loss, model: losses.append((epoch, loss)))
    assert [epoch for epoch, _ in losses] == list(range(1, 13))
    assert losses[-1][1] < 0.6 * losses[0][1]
    assert predict_logits(tiny_model, ids).argmax(1).tolist() == list(OUTCOME_COLUMNS)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, tmp_path: Path
) -> None:
    models = [copy.deepcopy(tiny_model) for _ in range(3)]
    dropout = RECIPE.model_copy(update={"epochs": 2})
    for model in models:
        model.dropout.p = 0.3
    first, again, other = (
        fit(model, statements, tmp_path / str(n), dropout, seed=seed)
        for n, (model, seed) in enumerate(zip(models, (1, 1, 2), strict=True))
    )
    assert is_equal(first, again)
    assert not is_equal(first, other)


class InterruptionError(Exception):
    pass


@contextmanager
def interrupted() -> Iterator[Callable[[int, float, OutcomeClassifier], None]]:
    def stop(epoch: int, loss: float, model: OutcomeClassifier) -> None:
        if epoch == 2:
            raise InterruptionError

    with pytest.raises(InterruptionError):
        yield stop


def test_an_interrupted_run_ends_with_the_weights_of_an_uninterrupted_one(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, tmp_path: Path
) -> None:
    tiny_model.dropout.p = 0.3
    straight = fit(copy.deepcopy(tiny_model), statements, tmp_path / "straight")
    with interrupted() as stop:
        fit(copy.deepcopy(tiny_model), statements, tmp_path / "resumed", on_epoch=stop)
    epochs: list[int] = []
    fresh = copy.deepcopy(tiny_model)
    torch.nn.init.zeros_(fresh.head.weight)
    resumed = fit(fresh, statements, tmp_path / "resumed", on_epoch=lambda epoch, loss, model: epochs.append(epoch))
    assert epochs == [2, 3]
    assert is_equal(straight, resumed)


def test_a_finished_run_is_only_loaded_when_called_again(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, tmp_path: Path
) -> None:
    other = copy.deepcopy(tiny_model)
    finished = fit(tiny_model, statements, tmp_path)
    epochs: list[int] = []
    again = fit(other, statements, tmp_path, on_epoch=lambda epoch, loss, model: epochs.append(epoch))
    assert epochs == []
    assert is_equal(finished, again)


@pytest.mark.parametrize("train_embeddings", [False, True])
def test_word_embeddings_move_only_where_the_recipe_says(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, tmp_path: Path, train_embeddings: bool
) -> None:
    before = tiny_model.encoder.get_input_embeddings().weight.detach().clone()
    fit(tiny_model, statements, tmp_path, RECIPE.model_copy(update={"train_embeddings": train_embeddings}))
    after = tiny_model.encoder.get_input_embeddings().weight.detach()
    assert before.equal(after) is not train_embeddings


def test_a_statement_of_little_weight_counts_little(
    tiny_model: OutcomeClassifier, ids: list[tuple[int, ...]], tmp_path: Path
) -> None:
    # The same text under two outcomes: the heavier one wins.
    statements = EncodedStatements((ids[0], ids[0]) * 4, (0, 1) * 4, (1.0, 0.1) * 4)
    fit(tiny_model, statements, tmp_path, RECIPE.model_copy(update={"epochs": 8}))
    assert predict_logits(tiny_model, ids[:1]).argmax() == 0


def test_logits_do_not_depend_on_the_order_or_on_the_others(
    tiny_model: OutcomeClassifier, ids: list[tuple[int, ...]]
) -> None:
    together = predict_logits(tiny_model, ids)
    np.testing.assert_allclose(predict_logits(tiny_model, ids[::-1])[::-1], together, atol=1e-5)
    alone = np.concatenate([predict_logits(tiny_model, [row]) for row in ids])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    assert embed_texts(tiny_model, ids).shape == (len(ids), 32)


def test_texts_are_cut_at_the_length_asked_for(tiny_encoder: PretrainedEncoder) -> None:
    short, long = encode_texts(tiny_encoder.tokenizer, ["the", "the " * 50], prefix="query: ", max_length=16)
    assert len(short) < len(long) == 16
    assert (long[0], long[-1]) == (0, 2)


def test_bfloat16_training_leaves_a_model_of_full_precision(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, ids: list[tuple[int, ...]], tmp_path: Path
) -> None:
    config = RECIPE.model_copy(update={"precision": "bfloat16"})
    weights = fit(tiny_model, statements, tmp_path, config)
    assert {value.dtype for value in weights.values()} == {torch.float32}
    plain = OutcomeClassifier(tiny_model.encoder, 0.0)
    plain.load_state_dict(weights)
    np.testing.assert_array_equal(predict_logits(tiny_model, ids), predict_logits(plain, ids))


def test_a_second_run_of_the_same_model_learns_in_the_same_precision(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, tmp_path: Path
) -> None:
    config = RECIPE.model_copy(update={"precision": "bfloat16"})
    start = copy.deepcopy(tiny_model.state_dict())
    first = fit(tiny_model, statements, tmp_path / "first", config)
    tiny_model.load_state_dict(start)
    assert is_equal(first, fit(tiny_model, statements, tmp_path / "second", config))


def test_the_precision_is_what_the_recipe_asks_or_the_device_does_fast() -> None:
    assert mixed_precision(RECIPE) == "no"
    assert mixed_precision(RECIPE.model_copy(update={"precision": "bfloat16"})) == "bf16"
    assert mixed_precision(OptimiserConfig()) == ("bf16" if has_fast_bfloat16() else "no")


def test_merged_low_rank_updates_give_the_logits_that_they_gave_apart(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, ids: list[tuple[int, ...]], tmp_path: Path
) -> None:
    names = set(tiny_model.state_dict())
    before = predict_logits(tiny_model, ids)
    tiny_model.add_lora(4)
    np.testing.assert_allclose(predict_logits(tiny_model, ids), before, atol=1e-6)
    fit(tiny_model, statements, tmp_path)
    apart = predict_logits(tiny_model, ids)
    assert np.abs(apart - before).max() > 0.01
    tiny_model.merge_lora()
    np.testing.assert_allclose(predict_logits(tiny_model, ids), apart, atol=1e-5)
    assert set(tiny_model.state_dict()) == names


def test_low_rank_training_leaves_the_encoder_frozen(
    tiny_model: OutcomeClassifier, statements: EncodedStatements, tmp_path: Path
) -> None:
    tiny_model.add_lora(4)
    before = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    after = fit(tiny_model, statements, tmp_path)
    moved = {name for name in before if not before[name].equal(after[name])}
    assert moved
    assert all("lora_" in name or name.startswith("head.") for name in moved)


def test_merging_without_low_rank_updates_changes_nothing(tiny_model: OutcomeClassifier) -> None:
    before = tiny_model.encoder
    tiny_model.merge_lora()
    assert tiny_model.encoder is before


def test_averaged_weights_are_the_mean_of_each() -> None:
    states = [
        {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(0.0)},
        {"a": torch.tensor([3.0, 6.0]), "b": torch.tensor(1.0)},
    ]
    mean = average_weights(states)
    assert mean["a"].tolist() == [2.0, 4.0]
    assert mean["b"].item() == 0.5


def test_the_average_of_one_state_is_that_state(tiny_model: OutcomeClassifier) -> None:
    state = tiny_model.state_dict()
    assert is_equal(average_weights([state]), dict(state))


def test_a_share_of_the_starting_weights_lies_on_the_way_to_the_learned_ones() -> None:
    start, learned = {"w": torch.zeros(3)}, {"w": torch.ones(3)}
    assert interpolate_weights(learned, start, 0.25)["w"].tolist() == [0.75] * 3
    assert interpolate_weights(learned, start, 0.0)["w"].tolist() == [1.0] * 3
