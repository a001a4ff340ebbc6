"""The files in the repository that the code writes are as the code would write them now."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli import build_cli
from service.models.source import ServedModel
from service.settings import Settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(served_model: ServedModel) -> Callable[..., Result]:
    cli = build_cli(lambda path: served_model)
    return lambda *arguments: CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize(("command", "file"), [("openapi", "openapi.json"), ("settings", "SETTINGS.md")])
def test_a_written_file_has_not_drifted(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, file: str
) -> None:
    monkeypatch.setenv("CREDENCE_MAX_STATEMENTS", "7")
    monkeypatch.setenv("CREDENCE_HOST", "0.0.0.0")
    written = tmp_path / "written"
    result = run(command, "--output", str(written))
    assert (result.exit_code, result.stdout) == (0, "")
    kept = (ROOT / "service" / file).read_text(encoding="utf-8")
    is_same = written.read_text(encoding="utf-8") == kept
    assert is_same, f"run: credence {command} --output service/{file}"
    assert list(tmp_path.iterdir()) == [written]


def test_without_a_file_the_same_goes_to_standard_output(run: Callable[..., Result], tmp_path: Path) -> None:
    run("openapi", "--output", str(tmp_path / "file"))
    assert run("openapi").stdout == (tmp_path / "file").read_text(encoding="utf-8")
    assert json.loads(run("openapi").stdout)["info"]["title"] == "Credence"


def test_every_setting_stands_in_the_table_with_its_description(run: Callable[..., Result]) -> None:
    table = run("settings").stdout
    for name, field in Settings.model_fields.items():
        row = next(line for line in table.splitlines() if line.startswith(f"| `CREDENCE_{name.upper()}` |"))
        assert row.count(" | ") == 3, name
        assert str(field.description) in row


def test_a_file_that_cannot_be_written_is_said_in_one_line(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("settings", "--output", str(tmp_path / "nowhere" / "file"))
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "No such file or directory" in result.stderr
