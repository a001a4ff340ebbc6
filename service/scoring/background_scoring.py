"""Scoring that requests go before: for batches, and whatever else nobody sits and waits for."""

from collections.abc import Sequence
from dataclasses import dataclass

from credence.documents import join_document, split_document
from credence.scoring import DocumentScore, ModelInfo, Scorer, StatementScore
from service.scoring.pool import ScoringPool


class BackgroundScorer:
    """A ``Scorer`` that goes through a pool, with what threads the requests leave. Its caller waits in its own thread.

    It scores with the model that the pool has at the time. Raises ``PoolStoppedError`` when the pool stops.
    """

    def __init__(self, pool: ScoringPool) -> None:
        self._pool = pool

    @property
    def info(self) -> ModelInfo:
        """Return which model would make the scores now; each score says which one made it."""
        return self._pool.scorer.info

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        """Score each text as one statement; see ``credence.scoring.Scorer``."""
        given = [None] * len(texts) if languages is None else languages
        return self._pool.submit(None, texts, given).future.result()

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        """Split a text into statements and score each; see ``credence.scoring.Scorer``."""
        pieces = split_document(text, language=language)
        job = self._pool.submit(None, [p.text for p in pieces], [p.language for p in pieces])
        return join_document(pieces, job.future.result(), job.scorer.info)


@dataclass(frozen=True, slots=True)
class ApartScoring:
    """Scores with any scorer, behind requests, in a pool; see ``service.models.shadowing.ScoreApart``."""

    pool: ScoringPool

    def __call__(
        self, scorer: Scorer, texts: Sequence[str], languages: Sequence[str | None]
    ) -> Sequence[StatementScore]:
        """Return the score of each text. Raises ``PoolStoppedError`` when the pool stops."""
        return self.pool.submit_apart(scorer, texts, languages).future.result()
