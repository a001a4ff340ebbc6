import subprocess
import sys

import pytest

PROGRAM = "import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def loaded_by(module: str) -> set[str]:
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    return set(subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())


def test_the_command_loads_nothing_heavy_before_it_must() -> None:
    heavy = {"fastapi", "uvicorn", "openvino", "tokenizers", "numpy", "pydantic"}
    assert not heavy & loaded_by("service.cli")


@pytest.mark.parametrize("module", ["service.app", "service.serving", "service.model_source", "service.row_scoring"])
def test_the_service_never_loads_a_training_library(module: str) -> None:
    heavy = {"torch", "transformers", "sklearn", "scipy", "pandas", "mlflow", "matplotlib", "training"}
    assert not heavy & loaded_by(module)
