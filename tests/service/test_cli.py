import json
import socket
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from credence.errors import BundleError
from credence.labels import DISCLAIMER
from credence.scoring import StatementScore
from service.cli import build_cli
from service.models.source import ServedModel

ARTICLE = "Суд зібрався в понеділок. The mayor claims that [it] rained. They secretly rule us all. Why not?"


@pytest.fixture
def run(served_model: ServedModel) -> "Run":
    return Run(served_model)


class Run:
    """Runs the command line around a model, as a terminal-less shell would."""

    def __init__(self, served_model: ServedModel) -> None:
        self.cli = build_cli(lambda bundle_path: served_model)

    def __call__(self, *arguments: str, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(self.cli, arguments, input=stdin)


def test_a_text_becomes_a_table_with_rollup_and_disclaimer(run: Run) -> None:
    result = run("score", ARTICLE)
    assert result.exit_code == 0
    for part in ("● factual report", "▲ allegation", "■ likely", "○ no label", "too short", "70%", "uk", "[it]"):
        assert part in result.stdout
    assert "4 statements: 1 factual report (25%)" in result.stdout
    assert " ".join(result.stdout.split()).count(DISCLAIMER) == 1
    assert "\x1b" not in result.stdout


def test_json_lines_carry_text_and_the_fields_of_a_score(run: Run) -> None:
    lines = [json.loads(line) for line in run("score", ARTICLE, "--json").stdout.splitlines()]
    assert len(lines) == 4
    assert list(lines[0]) == ["text", *(field.name for field in fields(StatementScore))]
    assert all(ARTICLE[line["start_char"] : line["end_char"]] == line["text"] for line in lines)


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_text_file_and_stdin_are_scored_alike(run: Run, tmp_path: Path, bom: bytes) -> None:
    article = tmp_path / "article.txt"
    article.write_bytes(bom + ARTICLE.encode())
    as_text = run("score", ARTICLE, "--json").stdout
    assert run("score", str(article), "--json").stdout == as_text
    assert run("score", "-", "--json", stdin=bom + ARTICLE.encode()).stdout == as_text


def test_a_given_language_is_used(run: Run) -> None:
    line = json.loads(run("score", "Das Gericht tagte über Österreich.", "--language", "en", "--json").stdout)
    assert line["language"] == "en"


def test_a_text_without_statements_is_said_to_have_none(run: Run) -> None:
    assert "No statement was found" in run("score", "...").stdout
    assert "No statement was found" in run("score", "...", "--json").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("score",), "give a text, a file or -"),
        (("score", ""), "no visible characters"),
        (("score", "null \0 byte"), "U+0000"),
        (("score", "a" * 100_001), "100001 characters"),
        (("score", "artcle.txt"), "there is no file artcle.txt"),
        (("score", "."), "folder"),
        (("score", "Fine as it is", "--language", "de"), "en, uk, ru"),
        (("score", "--input", "rows.jsonl"), "go together"),
        (("score", "--output", "rows.jsonl"), "go together"),
        (("score", "text", "--input", "a.jsonl", "--output", "b.jsonl"), "takes no text"),
        (("score", "--input", "none.jsonl", "--output", "b.jsonl"), "there is no file none.jsonl"),
        (("score", "text", "--overwrite"), "--overwrite goes with --output"),
        (("serve", "--port", "0"), "CREDENCE_PORT"),
        # An address kept for documentation, which no machine has, and a name that no host can have.
        (("serve", "--host", "203.0.113.1", "--allow-open"), "cannot listen on 203.0.113.1 port 8000"),
        (("serve", "--host", "а..б", "--allow-open"), "not the name of a host"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_said_in_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("credence: ")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_taken_port_is_said_in_one_line_and_nothing_is_announced(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        result = run("serve", "--port", str(port))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"credence: cannot listen on 127.0.0.1 port {port}: Address already in use;")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("text", ["-5 degrees were measured on Monday.", "-5", "- It rained, she said."])
def test_a_text_that_begins_with_a_hyphen_is_told_from_an_option(run: Run, text: str) -> None:
    result = run("score", text)
    told = " ".join(result.stderr.replace("│", " ").split())
    assert result.exit_code == 2
    assert 'score -- "-5 ...", or through stdin' in told
    assert run("score", "--", text).exit_code == 0


def test_a_misspelt_option_is_not_taken_for_a_text(run: Run) -> None:
    result = run("score", "Fine as it is", "--jsn")
    assert result.exit_code == 2
    assert "--json" in result.stderr
    assert "stdin" not in result.stderr


@pytest.mark.parametrize("encoding", ["utf-16", "windows-1251"])
def test_another_encoding_is_refused_with_the_way_to_convert_it(run: Run, tmp_path: Path, encoding: str) -> None:
    article = tmp_path / "article.txt"
    article.write_bytes("Суд собрался в понедельник.".encode(encoding))
    result = run("score", str(article))
    assert result.exit_code == 2
    assert f"iconv -f {encoding.upper()} -t UTF-8" in result.stderr


def test_a_missing_bundle_is_said_without_a_traceback() -> None:
    def refuse(bundle_path: Path | None) -> ServedModel:
        raise BundleError(f"no bundle at {bundle_path}")

    for arguments in (["score", "Fine as it is", "--bundle", "nowhere"], ["serve", "--bundle", "nowhere"]):
        result = CliRunner().invoke(build_cli(refuse), arguments)
        assert (result.exit_code, result.stderr) == (2, "credence: no bundle at nowhere\n")


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").stdout.startswith("credence ")


def test_help_tells_the_columns_and_the_exit_codes(run: Run) -> None:
    told = " ".join(run("score", "--help").stdout.split())
    parts = (
        "score_factual_report",
        "prediction_set",
        "error_kind",
        "apostrophe",
        "Exit code",
        "--overwrite",
        "score --",
    )
    for part in parts:
        assert part in told


@pytest.mark.parametrize("command", [(), ("score",), ("serve",)])
def test_help_shows_no_value_where_an_option_takes_none(run: Run, command: tuple[str, ...]) -> None:
    told = run(*command, "--help").stdout
    assert "--help" in told
    assert "bool" not in told
