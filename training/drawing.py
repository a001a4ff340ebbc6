"""Draws statements to label from a pool of candidates: in given proportions, or where labels would teach most."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from credence.labels import OUTCOMES, Outcome
from training.metrics import Floats

# Far from news of politics and war, or another edition of a set that gold was drawn from.
FAR_SETS: Final = frozenset({"gum_attribution", "szeged_uncertainty", "event_factuality", "liar2_valid_test"})
_SELECTION_ROWS: Final = 960
LEARNING_ROWS: Final[dict[str, int]] = {"en": 4400, "uk": 5200, "ru": 4800}
SHARES: Final = {"random": 0.4, "storyline": 0.35, "uncertain": 0.25}


@dataclass(frozen=True, slots=True)
class Candidate:
    """``text`` is characters ``start_char`` to ``end_char`` of the row on 1-based ``line`` of the set's file."""

    set: str
    line: int
    start_char: int
    end_char: int
    language: str
    cluster: str
    text: str


def draw_selection(
    candidates: Sequence[Candidate], proportions: Counter[tuple[str, str]], rng: np.random.Generator
) -> list[Candidate]:
    """Draw in the proportions of sets and languages given, one statement a cluster."""
    total = sum(proportions.values())
    drawn: list[Candidate] = []
    by_stratum = _by_stratum(candidates)
    for stratum, n in sorted(proportions.items()):
        clusters: set[str] = set()
        for index in rng.permutation(len(by_stratum[stratum])):
            candidate = by_stratum[stratum][index]
            if len(clusters) < round(_SELECTION_ROWS * n / total) and candidate.cluster not in clusters:
                clusters.add(candidate.cluster)
                drawn.append(candidate)
    return [drawn[i] for i in rng.permutation(len(drawn))]


def draw_learning(
    candidates: Sequence[Candidate],
    probabilities: Floats,
    rng: np.random.Generator,
    *,
    rows: Mapping[str, int] = LEARNING_ROWS,
    shares: Mapping[str, float] = SHARES,
) -> list[Candidate]:
    """Draw the shares of each language, or what there is; ``probabilities`` (n, n_outcomes) has a row a candidate."""
    storyline = probabilities[:, OUTCOMES.index(Outcome.LIKELY_DISINFORMATION_NARRATIVE)]
    best = np.sort(probabilities, axis=1)
    sizes = Counter((c.set, c.language) for c in candidates)
    far = np.array([c.set in FAR_SETS for c in candidates])
    weights = {
        # Small sets count for more than their size: variety teaches more than volume.
        "random": np.array([sizes[c.set, c.language] ** -0.5 for c in candidates]) * np.where(far, 0.4, 1.0),
        "storyline": np.where(far, 0.0, storyline**2),
        "uncertain": np.where(far, 0.0, np.exp(-6 * (best[:, -1] - best[:, -2]))),
    }
    drawn: list[int] = []
    for language, wanted in rows.items():
        free = np.array([c.language == language for c in candidates])
        for share, fraction in shares.items():
            chances = weights[share] * free
            size = min(round(wanted * fraction), int(np.count_nonzero(chances)))
            if size == 0:
                continue
            chosen = rng.choice(len(candidates), size=size, replace=False, p=chances / chances.sum())
            free[chosen] = False
            drawn.extend(chosen.tolist())
    return [candidates[i] for i in rng.permutation(drawn)]


def _by_stratum(candidates: Sequence[Candidate]) -> defaultdict[tuple[str, str], list[Candidate]]:
    strata: defaultdict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        strata[candidate.set, candidate.language].append(candidate)
    return strata
