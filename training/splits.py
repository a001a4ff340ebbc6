"""Deterministic splits that never cut a cluster, and the guard that fails where two splits share a statement."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

NEAR_DUPLICATE_SIMILARITY: Final = 0.92
_DEV_SHARE: Final = 0.12
_TEST_SHARE: Final = 0.12


class LeakError(ValueError):
    """Two splits share a cluster or a near-duplicate; the message names the rows."""


def assign_split(cluster: str) -> str:
    """Return the split of a cluster of the project's own statements, from a hash of its name alone."""
    position = int.from_bytes(hashlib.sha256(cluster.encode()).digest()[:8]) / 2**64
    if position < _DEV_SHARE:
        return "dev"
    return "test" if position < _DEV_SHARE + _TEST_SHARE else "train"


def folds_by_cluster(clusters: Sequence[str], n_folds: int) -> list[int]:
    """Return the fold, 0 to ``n_folds`` - 1, of each row; rows of one cluster share a fold."""
    return [int.from_bytes(hashlib.sha256(f"fold {c}".encode()).digest()[:8]) % n_folds for c in clusters]


def nearest_statements(texts: Sequence[str], others: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return for each text the cosine of character 4-grams (n,) to the nearest of the others, and its row (n,)."""
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), dtype=np.float32)
    nearest = NearestNeighbors(n_neighbors=1, metric="cosine", algorithm="brute").fit(vectors.fit_transform(others))
    distances, rows = nearest.kneighbors(vectors.transform(texts))
    return 1 - distances[:, 0].astype(np.float64), rows[:, 0]


def check_no_leak(rows: Iterable[tuple[str, str, str, str]]) -> None:
    """Take (id, text, split, cluster) rows; raises ``LeakError`` where a cluster or near-duplicate crosses splits."""
    rows = list(rows)
    by_cluster: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row_id, _, split, cluster in rows:
        by_cluster[cluster].setdefault(split, row_id)
    for cluster, members in by_cluster.items():
        if len(members) > 1:
            named = ", ".join(f"{row_id} in {split}" for split, row_id in sorted(members.items()))
            raise LeakError(f"cluster {cluster} stands in several splits: {named}")
    _check_near_duplicates(rows)


def _check_near_duplicates(rows: list[tuple[str, str, str, str]]) -> None:
    train = [row for row in rows if row[2] == "train"]
    held_back = [row for row in rows if row[2] != "train"]
    if not train or not held_back:
        return
    cosines, rows_of_train = nearest_statements([row[1] for row in held_back], [row[1] for row in train])
    for (row_id, _, split, _), cosine, nearest in zip(held_back, cosines, rows_of_train, strict=True):
        if cosine >= NEAR_DUPLICATE_SIMILARITY:
            raise LeakError(
                f"{row_id} in {split} and {train[nearest][0]} in train are near-duplicates "
                f"(cosine {cosine:.2f} of character 4-grams); put them into one cluster or drop one"
            )
