import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete
from typer.testing import CliRunner, Result

import service.feedback.export
from service.cli import build_cli
from service.models.source import ServedModel
from service.store.database import Database
from service.store.tables import scores

REPORT = "The court met on Monday."
STORYLINE = "Вони таємно керують усім світом 😀."
# Who proposes what, in this order; nobody's name is null.
Words = list[tuple[str | None, str]]
Dispute = Callable[..., str]


@pytest.fixture
def run(served_model: ServedModel, monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> "Run":
    monkeypatch.setenv("CREDENCE_DATABASE_URL", database_url)
    return Run(served_model, tmp_path / "rows.jsonl")


class Run:
    """Runs ``credence feedback export`` into one file."""

    def __init__(self, served_model: ServedModel, path: Path) -> None:
        self.cli = build_cli(lambda bundle_path: served_model)
        self.path = path

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(self.cli, ["feedback", "export", str(self.path), *arguments])

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        result = self("--overwrite", *arguments)
        assert (result.exit_code, result.stdout) == (0, "")
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def dispute(client: TestClient) -> Dispute:
    """Scores a statement and has reviewers say what it should have been; returns the id of the score."""

    def score_and_dispute(words: Words, text: str = REPORT, **tags: str) -> str:
        answer = client.post("/v1/score", json={"statements": [{"text": text, **tags}]}).json()
        score_id: str = answer["results"][0]["score_id"]
        for reviewer, label in words:
            sent = {"score_id": score_id, "proposed_label": label, "reviewer": reviewer}
            assert client.post("/v1/feedback", json=sent).status_code in (200, 201)
        return score_id

    return score_and_dispute


@pytest.mark.on_both_databases
def test_a_row_says_what_was_proposed_and_where_it_came_from(run: Run, dispute: Dispute, client: TestClient) -> None:
    words: Words = [("Іра", "allegation"), ("Max", "allegation"), ("Zoe", "factual_report")]
    score_id = dispute(words, STORYLINE, source="wire", author="desk", document_id="d-1")
    (row,) = run.rows()
    times = [kept["created_at"] for kept in client.get("/v1/feedback").json()["rows"]]
    assert row.pop("scored_at") <= times[-1]
    assert (row.pop("first_feedback_at"), row.pop("last_feedback_at")) == (times[-1], times[0])
    assert row == {
        "id": f"feedback/{score_id}",
        "text": STORYLINE,
        "text_sha256": hashlib.sha256(STORYLINE.encode()).hexdigest(),
        "lang": "uk",
        "label": "allegation",
        "no_label_reason": None,
        "n_reviewers": 3,
        "n_agreeing": 2,
        "n_feedback": 3,
        "proposals": {"factual_report": 1, "allegation": 2},
        "outcome": "likely_disinformation_narrative",
        "confidence": 0.7,
        "model_version": "tiny-1",
        "bundle_digest": "d" * 64,
        "source": "wire",
        "author": "desk",
        "document_id": "d-1",
        "stored_document_id": None,
    }
    assert not [name for name, _ in words if name and name in run.path.read_text(encoding="utf-8")]


VERDICTS: list[tuple[str, Words, tuple[str | None, str | None, int, int]]] = [
    ("one reviewer", [("a", "allegation")], ("allegation", None, 1, 1)),
    ("a latest word", [("a", "allegation"), ("a", "not_a_claim")], ("not_a_claim", None, 1, 1)),
    ("a tie", [("a", "allegation"), ("b", "not_a_claim")], (None, "tie", 2, 1)),
    ("a tie of two pairs", [(n, label) for n, label in zip("abcd", ["allegation", "not_a_claim"] * 2, strict=True)],
     (None, "tie", 4, 2)),
    ("nobody with a name", [(None, "allegation")] * 3, (None, "anonymous", 1, 1)),
    ("one with a name and many without", [("a", "allegation"), *[(None, "not_a_claim")] * 3], (None, "tie", 2, 1)),
    ("many without who agree", [("a", "allegation"), *[(None, "allegation")] * 3], ("allegation", None, 2, 2)),
]  # fmt: skip


@pytest.mark.on_both_databases
@pytest.mark.parametrize(("words", "verdict"), [row[1:] for row in VERDICTS], ids=[row[0] for row in VERDICTS])
def test_most_reviewers_give_the_label_and_otherwise_there_is_none(
    run: Run, dispute: Dispute, words: Words, verdict: tuple[str | None, str | None, int, int]
) -> None:
    dispute(words)
    (row,) = run.rows()
    assert (row["label"], row["no_label_reason"], row["n_reviewers"], row["n_agreeing"]) == verdict
    assert row["n_feedback"] == len(words)


@pytest.mark.on_both_databases
def test_options_choose_scores_and_all_their_feedback_counts(run: Run, dispute: Dispute, client: TestClient) -> None:
    dispute([("a", "factual_report")])
    old = dispute([("a", "allegation")])
    both = dispute([("a", "factual_report"), ("b", "factual_report"), ("c", "allegation")])
    dispute([])
    latest = client.get("/v1/feedback").json()["rows"][0]["created_at"]
    assert len(run.rows()) == 3
    assert [row["id"] for row in run.rows("--disputes-only")] == [f"feedback/{old}", f"feedback/{both}"]
    (row,) = run.rows("--since", latest)
    assert (row["id"], row["label"], row["n_feedback"]) == (f"feedback/{both}", "factual_report", 3)
    assert [row["id"] for row in run.rows("--min-reviewers", "2")] == [f"feedback/{both}"]
    assert run.rows("--since", "9000-01-01") == []


def test_the_last_line_counts(run: Run, dispute: Dispute) -> None:
    for words in ([("a", "allegation")], [("a", "allegation"), ("b", "not_a_claim")], [(None, "allegation")] * 2):
        dispute(words)
    assert run().stderr == (
        "3 scores with feedback, 1 of them with a label; without one: 1 ties, 1 from nobody with a name; "
        f"0 left out for too few reviewers, into {run.path}\n"
    )
    assert "2 left out for too few reviewers" in run("--overwrite", "--min-reviewers", "2").stderr


@pytest.mark.on_both_databases
def test_every_page_is_exported_once(run: Run, dispute: Dispute, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.feedback.export, "PAGE_SCORES", 2)
    ids = [dispute([("a", "allegation")]) for _ in range(5)]
    assert [row["id"] for row in run.rows()] == [f"feedback/{score_id}" for score_id in ids]


def test_statements_of_a_document_carry_their_own_text(run: Run, client: TestClient) -> None:
    answer = client.post("/v1/documents", json={"text": f"{STORYLINE} {REPORT}"}).json()
    for statement in answer["statements"]:
        sent = {"score_id": statement["score_id"], "proposed_label": "allegation", "reviewer": "a"}
        client.post("/v1/feedback", json=sent)
    rows = run.rows()
    assert [row["text"] for row in rows][-1] == REPORT
    assert {row["stored_document_id"] for row in rows} == {answer["stored_document_id"]}


def test_deleted_scores_are_not_exported(run: Run, dispute: Dispute, database: Database) -> None:
    dispute([("a", "allegation")])
    with database.writing() as connection:
        connection.execute(delete(scores))
    assert run.rows() == []


def test_a_file_is_replaced_only_when_asked_and_as_a_whole(run: Run, dispute: Dispute) -> None:
    dispute([("a", "allegation")])
    run.path.write_text("old", encoding="utf-8")
    result = run()
    assert result.exit_code == 2
    assert "add --overwrite" in result.stderr
    assert run.path.read_text(encoding="utf-8") == "old"
    assert len(run.rows()) == 1
    assert [path.name for path in run.path.parent.glob("*rows*")] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--since", "yesterday"), "--since takes a time"), (("--since", "2026-13-01"), "--since takes a time")],
)
def test_what_cannot_be_done_is_said_in_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"credence: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_no_database_is_made_where_there_is_none(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENCE_DATABASE_URL")
    monkeypatch.setenv("CREDENCE_STATE_PATH", str(tmp_path / "nowhere"))
    result = run()
    assert result.exit_code == 2
    assert result.stderr.startswith(f"credence: there is no database at {tmp_path / 'nowhere' / 'credence.db'};")
    assert not (tmp_path / "nowhere").exists()
    assert not run.path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "nothing of Credence is in this database"), (b"notes, not a database" * 100, "not an SQLite database")],
)
def test_what_is_no_database_of_ours_is_refused(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    (tmp_path / "other.db").write_bytes(content)
    monkeypatch.setenv("CREDENCE_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    result = run()
    assert result.exit_code == 2
    assert message in result.stderr
    assert not run.path.exists()


def test_help_tells_how_labels_come_about(run: Run) -> None:
    told = " ".join(run("--help").stdout.split())
    for part in ("what most reviewers propose", "tie", "anonymous", "no names of reviewers"):
        assert part in told
    assert "bool" not in told
