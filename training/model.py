"""The torch module: an encoder, mean pooling over its tokens, and a linear head over the outcomes."""

from typing import Final

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from credence.labels import OUTCOMES

_MIN_TOKENS: Final = 1e-9


class OutcomeClassifier(nn.Module):
    """Logits of the outcomes, four unless told; mean pooling as in E5 (Wang et al. 2024, arXiv:2402.05672)."""

    def __init__(self, encoder: PreTrainedModel, dropout: float, n_outcomes: int = len(OUTCOMES)) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        self.head = nn.Linear(encoder.config.hidden_size, n_outcomes)

    def add_lora(self, rank: int) -> None:
        """Freeze the encoder and learn low-rank updates of its linear layers (Hu et al. 2021, arXiv:2106.09685)."""
        settings = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
        self.encoder = get_peft_model(self.encoder, settings)

    def merge_lora(self) -> None:
        """Fold low-rank updates, if there are any, into the weights that they update."""
        if isinstance(self.encoder, PeftModel):
            self.encoder = self.encoder.merge_and_unload()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Turn token ids (n, length) and their mask into logits (n, n_outcomes)."""
        return self.logits_of_embeddings(self.embed(ids), mask)

    def logits_of_embeddings(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Turn word embeddings (n, length, hidden) and a mask (n, length) into logits (n, n_outcomes)."""
        logits: Tensor = self.head(self.dropout(self.pool(embeddings, mask)))
        return logits

    def pool(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of the encoder's last states over the tokens that the mask keeps, (n, hidden)."""
        states: Tensor = self.encoder(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1)
        return (states * weights).sum(1) / weights.sum(1).clamp_min(_MIN_TOKENS)

    def embed(self, ids: Tensor) -> Tensor:
        """Look up the word embeddings of ids (n, length)."""
        embeddings: Tensor = self.encoder.get_input_embeddings()(ids)
        return embeddings


def average_weights(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of several runs' weights (model soups, Wortsman et al. 2022, arXiv:2203.05482)."""
    return {name: torch.stack([state[name].float() for state in states]).mean(0) for name in states[0]}


def interpolate_weights(learned: dict[str, Tensor], start: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return the learned weights with a share of the starting ones (Wortsman et al. 2022, arXiv:2109.01903)."""
    return {name: torch.lerp(values, start[name].float(), share) for name, values in learned.items()}
