"""How far labellers agree beyond chance."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import cohen_kappa_score

from credence.labels import OUTCOMES, Outcome
from training.metrics import Floats, Ints, bootstrap


def agreement(pairs: Sequence[tuple[Outcome, Outcome, str, str]]) -> list[tuple[str, int, float, str]]:
    """Take (label, label, language, cluster); return (language, statements, share agreed, kappa), first for all.

    Kappa (Cohen 1960) stands with its bootstrap interval over clusters.
    """
    rows: list[tuple[str, int, float, str]] = []
    for name in ("all", *sorted({language for _, _, language, _ in pairs})):
        kept = [pair for pair in pairs if name in ("all", pair[2])]
        one_hot = np.eye(len(OUTCOMES))[[OUTCOMES.index(pair[0]) for pair in kept]]
        other = np.array([OUTCOMES.index(pair[1]) for pair in kept])
        kappa = bootstrap({"kappa": _kappa}, one_hot, other, [pair[3] for pair in kept])["kappa"]
        rows.append((name, len(kept), float(np.mean(one_hot.argmax(1) == other)), str(kappa)))
    return rows


def print_agreement(title: str, pairs: Sequence[tuple[Outcome, Outcome, str, str]]) -> None:
    """Print the table of ``agreement`` under a title; nothing where there are no pairs."""
    if not pairs:
        return
    print(title)
    for language, n, share, kappa in agreement(pairs):
        print(f"  {language:3} {n:5} statements, agreed {share:.3f}, kappa {kappa}")


def _kappa(one_hot: Floats, other: Ints) -> float:
    return float(cohen_kappa_score(one_hot.argmax(1), other, labels=list(range(len(OUTCOMES)))))
