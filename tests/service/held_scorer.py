"""A scorer that holds what it is given until it is let go, and remembers what came at once."""

import threading
import time
from collections.abc import Callable, Sequence

from credence.scoring import DocumentScore, ModelInfo, Scorer, StatementScore

PATIENCE_SECONDS = 30
POISON = "This statement breaks the scorer."


class HeldScorer:
    """Scores as another scorer does, one batch for each ``let_go``, or all of them once it is ``open``."""

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner
        self.batches: list[list[str]] = []
        self._turnstile = threading.Semaphore(0)
        self._is_open = threading.Event()

    @property
    def info(self) -> ModelInfo:
        return self.inner.info

    def let_go(self, n_batches: int = 1) -> None:
        self._turnstile.release(n_batches)

    def open(self) -> None:
        self._is_open.set()
        self._turnstile.release(1000)

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        self.batches.append(list(texts))
        assert self._is_open.is_set() or self._turnstile.acquire(timeout=PATIENCE_SECONDS), "nobody let the batch go"
        if POISON in texts:
            raise RuntimeError("poison")
        return self.inner.score_statements(texts, languages=languages)

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        return self.inner.score_document(text, language=language)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what is bound to come; how long that takes decides nothing."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.002)
