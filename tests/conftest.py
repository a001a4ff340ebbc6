"""Keeps every test off the network: usage reports are switched off before the libraries that send them are imported."""

import os

import pytest

SILENCED = {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "HF_HUB_OFFLINE": "1"}


def pytest_configure() -> None:
    os.environ.update(SILENCED)


@pytest.fixture(autouse=True)
def _without_data_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENCE_DATA", raising=False)
