"""A bounded pool of threads in front of a scorer, so that scoring never blocks the event loop."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from fastapi import Request

from credence.scoring import DocumentScore, Scorer, StatementScore
from service.middleware import log_unexpected

STATE_KEY: Final = "scoring_pool"


class ScoringPool:
    """Scores in its own threads. ``is_ready`` turns true when the warm-up has gone through the model."""

    def __init__(self, scorer: Scorer, *, threads: int) -> None:
        self._scorer = scorer
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="scoring")
        self._warm_up: Future[list[StatementScore]] | None = None

    @property
    def scorer(self) -> Scorer:
        """Return the scorer that the threads call."""
        return self._scorer

    @property
    def is_ready(self) -> bool:
        """Say whether the model has answered once."""
        warm_up = self._warm_up
        return warm_up is not None and warm_up.done() and not warm_up.cancelled() and warm_up.exception() is None

    def warm_up(self, texts: Sequence[str]) -> None:
        """Start scoring a few texts, without waiting for them."""
        self._warm_up = self._executor.submit(self._scorer.score_statements, texts)
        self._warm_up.add_done_callback(_log_failure)

    async def score_statements(self, texts: Sequence[str], languages: Sequence[str | None]) -> list[StatementScore]:
        """Score a list of statements as soon as a thread is free."""
        future = self._executor.submit(self._scorer.score_statements, texts, languages=languages)
        return await asyncio.wrap_future(future)

    async def score_document(self, text: str, language: str | None) -> DocumentScore:
        """Score a document as soon as a thread is free."""
        return await asyncio.wrap_future(self._executor.submit(self._scorer.score_document, text, language=language))

    def close(self) -> None:
        """Finish what is being scored and drop what waits."""
        self._executor.shutdown(wait=True, cancel_futures=True)


async def get_scoring_pool(request: Request) -> ScoringPool:
    """Return the pool that the app's lifespan has opened."""
    pool: ScoringPool = getattr(request.state, STATE_KEY)
    return pool


def _log_failure(warm_up: Future[list[StatementScore]]) -> None:
    if not warm_up.cancelled() and (error := warm_up.exception()) is not None:
        log_unexpected(error)
