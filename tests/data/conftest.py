"""The data pack lies outside the repository: what needs it is skipped where ``CREDENCE_DATA`` does not name it."""

from pathlib import Path

import pytest

from training.corpora import DATA_PACK_VARIABLE, data_pack_path


# For the session: the variable is taken away before each single test.
@pytest.fixture(scope="session")
def data_pack() -> Path:
    path = data_pack_path()
    if path is None:
        pytest.skip(f"{DATA_PACK_VARIABLE} is not set")
    return path
