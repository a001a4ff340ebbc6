"""Epochs and batches on CPU or GPU, one or many (accelerate); seeded, resumable at each epoch. Knows no mlflow."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import set_seed
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from training.config import OptimiserConfig
from training.model import OutcomeClassifier

_POOL_BATCHES: Final = 64
_PREDICT_BATCH: Final = 32
_PROGRESS_FILE: Final = "progress.json"

# Logits (n, n_outcomes), what each row is, and the label smoothing, to the loss of each row (n,).
RowLoss = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True, slots=True)
class EncodedStatements:
    """Token ids of each statement, its weight in the loss, and its outcome column or a 0 or 1 for each label."""

    ids: tuple[tuple[int, ...], ...]
    outcomes: tuple[int, ...] | tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Batch:
    ids: Tensor
    mask: Tensor
    outcomes: Tensor
    weights: Tensor


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str], *, prefix: str, max_length: int) -> list[tuple[int, ...]]:
    """Return the token ids of each text, cut at ``max_length`` tokens."""
    tokenizer.enable_truncation(max_length)
    return [tuple(e.ids) for e in tokenizer.encode_batch([prefix + text for text in texts])]


def is_main_process() -> bool:
    """Return whether this process, of one or many, is the one that measures and writes."""
    return bool(PartialState().is_main_process)


def wait_for_all_processes() -> None:
    """Wait until every process of the run has come this far."""
    PartialState().wait_for_everyone()


def has_fast_bfloat16() -> bool:
    """Return whether the device multiplies bfloat16 natively: a GPU that does, or a CPU with AMX or AVX512-BF16."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def mixed_precision(config: OptimiserConfig) -> str:
    """Return accelerate's name of the precision to train in."""
    wants = config.precision == "bfloat16" or (config.precision == "auto" and has_fast_bfloat16())
    return "bf16" if wants else "no"


def one_outcome_loss(logits: Tensor, outcomes: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy of each row (n,), whose outcome column is in ``outcomes`` (n,)."""
    return functional.cross_entropy(logits, outcomes, reduction="none", label_smoothing=smoothing)


def any_labels_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the binary cross-entropy of each row (n,), summed over its labels (n, n_labels) of 0 and 1."""
    smooth = labels * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(logits, smooth, reduction="none").sum(1)


def train_classifier(
    model: OutcomeClassifier,
    statements: EncodedStatements,
    config: OptimiserConfig,
    *,
    seed: int,
    checkpoint_dir: Path,
    on_epoch: Callable[[int, float, OutcomeClassifier], None],
    row_loss: RowLoss = one_outcome_loss,
) -> None:
    """Fine-tune in place. ``on_epoch`` gets the epoch (from 1), the mean loss and the model.

    A checkpoint stands after each epoch; called again with the same folder, training goes on after the last one.
    """
    set_seed(seed)
    accelerator = Accelerator(mixed_precision=mixed_precision(config))
    model.encoder.get_input_embeddings().requires_grad_(config.train_embeddings)
    optimiser = torch.optim.AdamW(_parameter_groups(model, config), weight_decay=config.weight_decay, fused=True)
    steps = config.epochs * math.ceil(len(statements.ids) / config.batch_size)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimiser, _linear_schedule(steps, config.warmup_fraction))
    prepared, optimiser, scheduler = accelerator.prepare(model, optimiser, scheduler)
    for epoch in range(_resume(accelerator, checkpoint_dir) + 1, config.epochs + 1):
        prepared.train()
        losses: list[float] = []
        batches = list(_batches(statements, config.batch_size, seed * 1000 + epoch))
        # As many batches for each process: one that had one more would wait for the others for ever.
        own = batches[accelerator.process_index :: accelerator.num_processes][
            : len(batches) // accelerator.num_processes
        ]
        for batch in tqdm(own, desc=f"epoch {epoch}/{config.epochs}", disable=None, leave=False):
            # Accelerate wraps a model only once: without this, a second run of it would learn in full precision.
            with accelerator.autocast():
                logits = prepared(batch.ids.to(accelerator.device), batch.mask.to(accelerator.device))
            losses_of_rows = row_loss(logits.float(), batch.outcomes.to(logits.device), config.label_smoothing)
            loss = _weighted_mean(losses_of_rows, batch.weights.to(logits.device))
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(prepared.parameters(), 1.0)
            optimiser.step()
            scheduler.step()
            optimiser.zero_grad()
            losses.append(loss.item())
        # Before the checkpoint: whoever is interrupted in here meets the same epoch again.
        on_epoch(epoch, float(np.mean(losses)), accelerator.unwrap_model(prepared))
        _save(accelerator, checkpoint_dir, epoch)
    # Without the autocast that accelerate wraps around forward: what is exported is in full precision.
    accelerator.unwrap_model(prepared, keep_fp32_wrapper=False).float().cpu().eval()


def predict_logits(model: OutcomeClassifier, ids: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
    """Return the logits (n, n_outcomes) of each statement, in the order given, in the model's own precision."""
    return _in_batches(model, ids, model)


def embed_texts(model: OutcomeClassifier, ids: Sequence[tuple[int, ...]]) -> NDArray[np.float32]:
    """Return the pooled states (n, hidden) of each statement, in the order given."""
    return _in_batches(model, ids, lambda tokens, mask: model.pool(model.embed(tokens), mask))


@torch.inference_mode()
def _in_batches(
    model: OutcomeClassifier, ids: Sequence[tuple[int, ...]], apply: Callable[[Tensor, Tensor], Tensor]
) -> NDArray[np.float32]:
    model.eval()
    device = next(model.parameters()).device
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    parts = []
    for start in range(0, len(order), _PREDICT_BATCH):
        tokens, mask = _pad([ids[i] for i in order[start : start + _PREDICT_BATCH]])
        parts.append(apply(tokens.to(device), mask.to(device)).float().cpu().numpy())
    stacked = np.concatenate(parts)
    values: NDArray[np.float32] = np.empty_like(stacked)
    values[order] = stacked
    return values


def _parameter_groups(model: OutcomeClassifier, config: OptimiserConfig) -> list[dict[str, object]]:
    """Lower layers learn slower (Howard & Ruder 2018, arXiv:1801.06146); norms and biases are not decayed."""
    depth = model.encoder.config.num_hidden_layers
    groups = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = next((int(p) for p in name.split(".") if p.isdigit()), depth if name.startswith("head") else -1)
        rate = config.head_learning_rate if name.startswith("head") else config.learning_rate
        scale = 1.0 if name.startswith("head") else config.layer_decay ** (depth - 1 - layer)
        group: dict[str, object] = {"params": [parameter], "lr": rate * scale}
        if parameter.ndim < 2:
            group["weight_decay"] = 0.0
        groups.append(group)
    return groups


def _linear_schedule(steps: int, warmup_fraction: float) -> Callable[[int], float]:
    warmup = max(1, round(steps * warmup_fraction))
    return lambda step: min((step + 1) / warmup, max(0.0, (steps - step) / max(1, steps - warmup)))


def _weighted_mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum()


def _batches(statements: EncodedStatements, batch_size: int, seed: int) -> Iterator[_Batch]:
    """Shuffle, then sort by length within pools of batches: near-equal lengths waste no padding."""
    generator = random.Random(seed)
    order = list(range(len(statements.ids)))
    generator.shuffle(order)
    pool = batch_size * _POOL_BATCHES
    batches: list[list[int]] = []
    for start in range(0, len(order), pool):
        rows = sorted(order[start : start + pool], key=lambda i: len(statements.ids[i]))
        batches.extend(rows[i : i + batch_size] for i in range(0, len(rows), batch_size))
    generator.shuffle(batches)
    for rows in batches:
        ids, mask = _pad([statements.ids[i] for i in rows])
        outcomes = torch.tensor([statements.outcomes[i] for i in rows])
        yield _Batch(ids, mask, outcomes, torch.tensor([statements.weights[i] for i in rows]))


def _pad(rows: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
    mask = torch.zeros(ids.shape)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        mask[row, : len(tokens)] = 1
    return ids, mask


def _save(accelerator: Accelerator, folder: Path, epoch: int) -> None:
    """Write the state of an epoch beside that of the one before, point to it, and only then drop the old one."""
    accelerator.save_state(str(folder / _state_name(epoch)))
    if accelerator.is_main_process:
        pointer = folder / f"{_PROGRESS_FILE}.new"
        pointer.write_text(json.dumps({"epoch": epoch}), encoding="utf-8")
        pointer.replace(folder / _PROGRESS_FILE)
        shutil.rmtree(folder / _state_name(epoch - 1), ignore_errors=True)
    accelerator.wait_for_everyone()


def _resume(accelerator: Accelerator, folder: Path) -> int:
    """Load the last whole state, if there is one, and return its epoch or 0."""
    progress = folder / _PROGRESS_FILE
    if not progress.is_file():
        return 0
    epoch = int(json.loads(progress.read_text(encoding="utf-8"))["epoch"])
    accelerator.load_state(str(folder / _state_name(epoch)))
    return epoch


def _state_name(epoch: int) -> str:
    return f"state-{epoch}"
