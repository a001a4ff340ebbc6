"""The ``credence`` command with a tiny scorer, which may be slow: python -m tests.trials.tiny_credence serve"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from credence.scoring import StatementScore
from service.cli import build_cli
from service.models.source import ServedModel
from tests.service.tiny_scorer import TinyScorer

SECONDS_VARIABLE: Final = "TRIAL_SECONDS_PER_STATEMENT"


class SlowScorer(TinyScorer):
    """Takes a time for each statement, as a model does."""

    def __init__(self, seconds_per_statement: float) -> None:
        self._seconds_per_statement = seconds_per_statement

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        """Score as the tiny scorer does, later."""
        time.sleep(self._seconds_per_statement * len(texts))
        return super().score_statements(texts, languages=languages)


def load_tiny_model(bundle_path: Path | None) -> ServedModel:
    """Return what the command serves."""
    scorer = SlowScorer(float(os.environ.get(SECONDS_VARIABLE, "0")))
    return ServedModel(scorer, "# A tiny model\n", {"coverage": 0.9, "reliability": []})


if __name__ == "__main__":
    build_cli(load_tiny_model)()
