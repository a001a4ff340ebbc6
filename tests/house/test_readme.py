"""README is run: its commands exist, its Python runs, its requests are answered, its links lead somewhere.

A shell block right below the line ``<!-- test: name -->`` is also executed, from the root of the repository.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.core import TyperGroup
from typer.main import get_command

from service.app import create_app
from service.cli import build_cli, load_packaged_model
from service.settings import ENV_PREFIX, Settings
from service.store.database import open_database
from training.corpora import DATA_PACK_VARIABLE

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(?:^<!-- test: (?P<name>.+?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
READY_SECONDS = 60
SHELL = {"sh", "bash", "shell", "console"}


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(readme: str, languages: set[str]) -> list[re.Match[str]]:
    return [block for block in BLOCK.finditer(readme) if block["language"] in languages]


def commands(readme: str) -> list[list[str]]:
    """Return each command of the shell blocks as words; prompts, comments and assignments before it are left out."""
    text = "\n".join(re.sub(r"^\$ ", "", block["text"], flags=re.M) for block in blocks(readme, SHELL))
    # A comment takes the end of its line with it, so every line gets two. A line end ends a command, like ; and |.
    lexer = shlex.shlex(text.replace("\\\n", " ").replace("\n", "\n\n"), posix=True, punctuation_chars="|;&\n")
    lexer.whitespace = " \t"
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if not set(word) - set("|;&\n"):
            found.append([])
        elif found[-1] or not re.match(r"[A-Z_]+=", word):
            found[-1].append(word)
    return [words for words in found if words]


def arguments_of(program: str, readme: str) -> Iterator[list[str]]:
    return (words[1:] for words in commands(readme) if words[0] == program)


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run from the root of the repository, with the programs of this environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False, timeout=300
    )


def cli_options() -> dict[str, set[str]]:
    """Return the options of each subcommand of ``credence``; those of a group are all that its commands have."""
    command = get_command(build_cli(load_packaged_model))
    assert isinstance(command, TyperGroup)
    return {
        name: {"--help"} | {option for one in members(sub) for parameter in one.params for option in parameter.opts}
        for name, sub in command.commands.items()
    }


def members(command: Any) -> list[Any]:
    """Return a command, or those of a group."""
    return list(command.commands.values()) if isinstance(command, TyperGroup) else [command]


def test_commands_are_read_out_of_shell_blocks() -> None:
    block = """```sh
$ A=1 make x  # it's so
# and it's so; too
cat y | credence score - &&
curl u -d '{"a": [
  "b; c"]}' | jq . ; z
```"""
    curl = ["curl", "u", "-d", '{"a": [\n\n  "b; c"]}']
    assert commands(block) == [["make", "x"], ["cat", "y"], ["credence", "score", "-"], curl, ["jq", "."], ["z"]]


def test_a_newcomer_finds_the_two_commands(readme: str) -> None:
    targets = [words[0] for words in arguments_of("make", readme) if words]
    assert {"serve", "test"} <= set(targets)


def test_every_make_target_named_exists(readme: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.M))
    in_blocks = {word for words in arguments_of("make", readme) for word in words if re.fullmatch("[a-z-]+", word)}
    assert in_blocks | set(re.findall(r"`make ([a-z-]+)", readme)) <= targets


def test_every_credence_command_and_option_exists(readme: str) -> None:
    options = cli_options()
    used = list(arguments_of("credence", readme))
    for words in used + [text.split() for text in re.findall(r"`credence ([^`\n]+)`", readme)]:
        given = {word.partition("=")[0] for word in words if re.match("--[a-z]", word)}
        assert given <= options.get(words[0], {"--help", "--version"}), words
        assert words[0] in options or words[0] in given, words


def test_every_module_run_exists(readme: str) -> None:
    modules = set(re.findall(r"python3? -m ([\w.]+)", readme))
    assert not {module for module in modules if find_spec(module) is None}


def test_every_variable_named_is_read(readme: str) -> None:
    known = {DATA_PACK_VARIABLE, *(f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields)}
    assert set(re.findall(rf"\b{ENV_PREFIX}[A-Z_]*[A-Z]\b", readme)) <= known


def test_every_link_into_the_tree_leads_somewhere(readme: str) -> None:
    links = set(re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", readme))
    assert not {link for link in links if not (ROOT / link).exists()}


def test_every_python_block_runs(readme: str) -> None:
    for block in blocks(readme, {"python"}):
        result = run([sys.executable, "-W", "error", "-c", block["text"]])
        assert result.returncode == 0, block["text"] + result.stderr


def test_every_marked_shell_block_runs(readme: str) -> None:
    named = [block for block in blocks(readme, SHELL) if block["name"]]
    assert len(named) == readme.count("<!-- test:"), "README: a test marker does not stand right above a shell block"
    for block in named:
        result = run(["bash", "-euo", "pipefail", "-c", block["text"]])
        assert result.returncode == 0, f"{block['name']}: {result.stderr}"
        assert result.stdout.strip(), f"{block['name']} printed nothing"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Yield a client of the real application with the shipped bundle, once it is ready."""
    settings = Settings(state_path=tmp_path_factory.mktemp("state"), allowed_hosts=("testserver",))
    with (
        closing(open_database(settings.resolved_database_url)) as database,
        TestClient(create_app(settings, load_packaged_model(None), database)) as client,
    ):
        deadline = time.monotonic() + READY_SECONDS
        while not client.get("/readyz").is_success and time.monotonic() < deadline:
            time.sleep(0.05)
        yield client


def test_every_request_of_the_api_is_answered(readme: str, client: TestClient) -> None:
    for words in arguments_of("curl", readme):
        url = next(word for word in words if re.search(r"(localhost|127\.0\.0\.1)(:\d+)?/", word))
        path = "/" + url.split("//")[-1].partition("/")[2]
        body = next((words[i + 1] for i, word in enumerate(words) if word in {"-d", "--data", "--json"}), None)
        headers = {"Content-Type": "application/json"}
        answer = client.get(path) if body is None else client.post(path, content=body.encode(), headers=headers)
        assert answer.status_code == 200, f"{words}: {answer.text}"
