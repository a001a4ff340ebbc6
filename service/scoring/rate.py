"""How fast statements are being scored, measured while there is something to score."""

import math
from collections.abc import Callable
from time import monotonic
from typing import Final

_MEMORY_SECONDS: Final = 5.0


class ScoringRate:
    """Tokens a second over the last few seconds of work, however many batches run at the same time.

    The time without work counts for nothing.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._n_running = 0
        self._since = 0.0
        self._tokens = 0.0
        self._seconds = 0.0

    def start_batch(self) -> None:
        """Note that a batch has begun."""
        self._pass_time()
        self._n_running += 1

    def end_batch(self, n_tokens: int) -> None:
        """Note that a batch of so many tokens has ended."""
        self._pass_time()
        self._n_running -= 1
        self._tokens += n_tokens

    def seconds_for(self, n_tokens: int) -> float | None:
        """Return about how long so many tokens will take; null as long as nothing has been measured."""
        if not self._tokens or not self._seconds:
            return None
        return n_tokens * self._seconds / self._tokens

    def _pass_time(self) -> None:
        now = self._now()
        if self._n_running:
            passed = now - self._since
            kept = math.exp(-passed / _MEMORY_SECONDS)
            self._tokens *= kept
            self._seconds = self._seconds * kept + passed
        self._since = now
