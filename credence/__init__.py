"""Credence: how a news statement is put, with calibrated confidence, in English, Ukrainian and Russian."""

from pathlib import Path

from credence.scoring import Scorer

__all__ = ["Scorer", "load_scorer"]


def load_scorer(path: Path | None = None, *, inference_threads: int | None = None) -> Scorer:
    """Load the bundle in a folder, or the shipped one, and return a scorer that is ready to answer.

    Raises ``BundleError`` where the bundle is missing, altered or made for another version.
    """
    # The runtime is heavy: importing the labels or the errors must not load it.
    from credence.bundle import default_bundle_path, load_bundle
    from credence.statement_scorer import StatementScorer

    return StatementScorer(load_bundle(path or default_bundle_path()), inference_threads=inference_threads)
