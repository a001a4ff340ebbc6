"""A real server whose scorer waits for a file: ``python -m tests.service.gated_server GATE``. It prints its port."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from credence.scoring import StatementScore
from service.app import create_app
from service.models.source import ServedModel
from service.serving import open_listener, serve_app
from service.settings import Settings
from service.store.database import open_database
from tests.service.held_scorer import PATIENCE_SECONDS
from tests.service.tiny_scorer import TinyScorer


class WaitingScorer(TinyScorer):
    def __init__(self, gate: Path) -> None:
        self.gate = gate

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.gate.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return super().score_statements(texts, languages=languages)


def main() -> None:
    settings = Settings()
    listener = open_listener("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)
    model = ServedModel(WaitingScorer(Path(sys.argv[1])), "", {})
    database = open_database(settings.resolved_database_url)
    serve_app(settings, create_app(settings, model, database), database, listener)


if __name__ == "__main__":
    main()
