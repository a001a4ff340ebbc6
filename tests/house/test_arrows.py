import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("credence", "training", "service")
PROGRAM = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"

LIGHT_CORE = "the core stays light"
LIGHT_SERVICE = "the service never loads a training library"
ASKED_CLIENT = "the client comes only to those who ask for it"
LAYERS = "service and training never meet; both stand on credence"
NEVER_SERVES = "training never serves"
ONE_MLFLOW = "mlflow is touched in one place"


def check_contracts(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("bundles", "__pycache__"))
    return tmp_path


def test_all_contracts_are_kept() -> None:
    result = check_contracts(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "0 broken" in result.stdout


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("credence/scoring.py", "import torch", LIGHT_CORE),
        ("credence/labels.py", "import pydantic", LIGHT_CORE),
        ("credence/language.py", "def download() -> None:\n    import urllib.request", LIGHT_CORE),
        ("credence/scoring.py", "def ask() -> None:\n    import httpx", LIGHT_CORE),
        ("credence/documents.py", "from credence.client import CredenceClient", ASKED_CLIENT),
        ("credence/errors.py", "import service", LAYERS),
        ("service/schemas.py", "import training", LAYERS),
        ("training/metrics.py", "from service import settings", LAYERS),
        ("service/routes/score.py", "def tabulate() -> None:\n    import pandas", LIGHT_SERVICE),
        ("service/models/supply.py", "def look() -> None:\n    import mlflow", LIGHT_SERVICE),
        ("training/config.py", "from fastapi import FastAPI", NEVER_SERVES),
        ("training/metrics.py", "import mlflow", ONE_MLFLOW),
    ],
)
def test_a_forbidden_import_breaks_its_contract(house: Path, file: str, line: str, contract: str) -> None:
    path = house / file
    path.write_text(f"{path.read_text(encoding='utf-8')}\n\n{line}\n", encoding="utf-8")
    result = check_contracts(house)
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{contract} BROKEN" in result.stdout
