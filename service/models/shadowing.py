"""Scores the newest kept statements with a model that may take over, beside the one that is served, and compares."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from credence.labels import LABELS, OUTCOMES
from credence.scoring import Scorer, StatementScore
from service.store.records import NO_LABEL, ScoreFilter, StoredScore
from service.store.score_store import ScoreStore

# So many statements are scored at a time, so that whoever closes or asks for scores never waits for all of them.
PORTION: Final = 16
NAMES: Final = (*(str(label) for label in LABELS), NO_LABEL)


class ScoreApart(Protocol):
    """Scores statements with any scorer, behind whatever is more urgent; it is counted nowhere as an answer."""

    def __call__(
        self, scorer: Scorer, texts: Sequence[str], languages: Sequence[str | None]
    ) -> Sequence[StatementScore]:
        """Return the score of each statement."""
        ...


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """How a candidate differs from the model that is served, on statements of both.

    ``agreement`` is the share with the same label, where no label counts as one. ``changed_shares`` says by label which
    share of what the served model labels so the candidate labels otherwise, and is null where there is none.
    ``mean_score_shift`` is the mean absolute difference over statements and outcomes. ``share_shifts`` says by label by
    how much its share of all statements rises. All but the counts are null or empty where there are no statements.
    """

    n_statements: int
    compared_with: str
    agreement: float | None
    changed_shares: dict[str, float | None]
    mean_score_shift: float | None
    share_shifts: dict[str, float]


class Shadowing:
    """Compares models on the newest kept statements."""

    def __init__(self, store: ScoreStore, *, n_statements: int, score_apart: ScoreApart) -> None:
        self._store = store
        self._n_statements = n_statements
        self._score_apart = score_apart

    def compare(self, served: Scorer, candidate: Scorer, *, goes_on: Callable[[], bool]) -> ShadowReport | None:
        """Return what the difference is, or null where it was not to go on.

        Raises ``StorageUnavailableError``, and whatever the candidate raises. A text that was kept several times counts
        once, and what was too short or in another language for a score counts not at all.
        """
        stored = self._read() if self._n_statements else []
        pairs: list[tuple[StatementScore, StatementScore]] = []
        for start in range(0, len(stored), PORTION):
            if not goes_on():
                return None
            portion = stored[start : start + PORTION]
            texts, languages = [s.text for s in portion], [s.score.language for s in portion]
            theirs = self._score_apart(candidate, texts, languages)
            pairs += zip(self._score_served(served, portion), theirs, strict=True)
        return compare_scores(served.info.bundle_digest, [(a, b) for a, b in pairs if a.scores and b.scores])

    def _read(self) -> list[StoredScore]:
        # Only what was scored has a confidence.
        found = self._store.list_scores(ScoreFilter(min_confidence=0.0), limit=self._n_statements)
        return list({(s.text, s.score.language): s for s in found}.values())

    def _score_served(self, served: Scorer, portion: Sequence[StoredScore]) -> list[StatementScore]:
        """Return the kept scores, but for those that another model has made: these statements are scored again."""
        digest = served.info.bundle_digest
        foreign = [s for s in portion if s.score.bundle_digest != digest]
        again = iter(
            self._score_apart(served, [s.text for s in foreign], [s.score.language for s in foreign]) if foreign else ()
        )
        return [s.score if s.score.bundle_digest == digest else next(again) for s in portion]


def compare_scores(served_digest: str, pairs: Sequence[tuple[StatementScore, StatementScore]]) -> ShadowReport:
    """Compare the scores that the served model and a candidate gave to the same statements."""
    n = len(pairs)
    labels = [(a.label or NO_LABEL, b.label or NO_LABEL) for a, b in pairs]
    before, after = Counter(a for a, _ in labels), Counter(b for _, b in labels)
    changed = Counter(a for a, b in labels if a != b)
    shifts = [abs(a.scores[o] - b.scores[o]) for a, b in pairs if a.scores and b.scores for o in OUTCOMES]
    return ShadowReport(
        n_statements=n,
        compared_with=served_digest,
        agreement=1 - changed.total() / n if n else None,
        changed_shares={name: changed[name] / before[name] if before[name] else None for name in NAMES},
        mean_score_shift=sum(shifts) / len(shifts) if shifts else None,
        share_shifts={name: (after[name] - before[name]) / n for name in NAMES} if n else {},
    )
