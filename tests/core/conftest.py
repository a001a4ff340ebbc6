"""The shipped bundle, loaded once, and copies of it to break."""

from pathlib import Path

import pytest

from credence import load_scorer
from credence.bundle import BundlePaths, default_bundle_path
from credence.scoring import Scorer


@pytest.fixture(scope="session")
def scorer() -> Scorer:
    return load_scorer()


@pytest.fixture
def bundle_copy(tmp_path: Path) -> BundlePaths:
    """A folder whose files are links to those of the shipped bundle; a test unlinks what it alters."""
    root = tmp_path / "bundle"
    root.mkdir()
    for part in default_bundle_path().iterdir():
        (root / part.name).symlink_to(part)
    return BundlePaths(root)
