"""Feedback as a source of training: what is learned, what it weighs, and the whole way from the API to a bundle."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

import training.metrics
from credence.bundle import file_digest, load_bundle
from credence.labels import OUTCOMES, Outcome
from service.app import create_app
from service.cli import build_cli
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import open_database
from tests.service.tiny_scorer import TinyScorer
from tests.training.test_train import RECIPE
from training.config import ExperimentConfig
from training.corpora import Corpus, Example
from training.encoders import PretrainedEncoder
from training.feedback import add_feedback, read_feedback
from training.fine_tuning import Session, encode_learned
from training.sources import CorpusError
from training.splits import check_no_leak
from training.stand_off import text_digest, write_rows
from training.tracking import NullRun
from training.train import main

NEW = "The harbour office says that nine ferries were late on Sunday."
HELD_BACK = {
    "dev": "The regional railway cancelled forty trains between the two cities last Friday.",
    "test": "Лікарі обласної лікарні провели сто операцій за один тиждень.",
}
KNOWN = "The council opened a second tram line to the port on Monday."
Write = Callable[..., Path]


def row(text: str = NEW, **changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"id": f"feedback/{uuid4()}", "text": text, "text_sha256": text_digest(text), "lang": "en"}
    plain |= {"label": "allegation", "n_reviewers": 1, "n_agreeing": 1, "scored_at": "2026-03-01T12:00:00Z"}
    return {**plain, "document_id": None, "stored_document_id": None, **changes}


@pytest.fixture
def corpus() -> Corpus:
    texts = {"train": KNOWN, **HELD_BACK}
    rows = [Example(s, t, "en", OUTCOMES[0], 6, 3, s, f"c-{s}", "statements/en") for s, t in texts.items()]
    return Corpus(tuple(rows), {"statements/en.jsonl": "0" * 64})


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*rows: dict[str, Any]) -> Path:
        path = tmp_path / "rows.jsonl"
        write_rows(path, rows)
        return path

    return write


def learned_feedback(corpus: Corpus) -> list[Example]:
    return corpus.split("train", origin_prefix="feedback/")


def test_a_row_is_learned_as_it_was_exported(corpus: Corpus, write: Write) -> None:
    given = row()
    path = write(given)
    more, counts = add_feedback(corpus, path)
    (example,) = learned_feedback(more)
    assert (example.id, example.text, example.language, example.label) == (given["id"], NEW, "en", Outcome.ALLEGATION)
    assert (example.split, example.origin, example.date) == ("train", "feedback/export", given["scored_at"])
    assert more.digests == {**corpus.digests, "feedback/export.jsonl": file_digest(path)}
    assert (counts.n_rows, counts.n_learned) == (1, 1)


def test_feedback_is_never_held_back_and_moves_nothing_else(corpus: Corpus, write: Write) -> None:
    texts = [f"Ferry number {n} left {name} late." for n, name in enumerate(["Odesa", "Gdynia", "Riga", "Turku"] * 5)]
    more, _ = add_feedback(corpus, write(*(row(text) for text in texts)))
    assert len(learned_feedback(more)) == len(texts)
    assert [e for e in more.examples if not e.origin.startswith("feedback/")] == list(corpus.examples)
    assert more.main_origin == corpus.main_origin


@pytest.mark.parametrize(
    ("left_out", "counted"),
    [
        ([row(label=None)], "n_unlabelled"),
        ([row(lang=None)], "n_other_languages"),
        ([row(lang="de")], "n_other_languages"),
        ([row(KNOWN)], "n_repeated"),
        ([row(f"  {KNOWN} ")], "n_repeated"),
        ([row(HELD_BACK["dev"])], "n_near_held_back"),
        ([row(HELD_BACK["dev"].replace("Friday", "Fridays"))], "n_near_held_back"),
        ([row(HELD_BACK["test"], lang="uk")], "n_near_held_back"),
        # Zero-width characters and look-alike letters hide it from nobody who reads.
        ([row(HELD_BACK["dev"].replace("a", "\u0430\u200b"))], "n_near_held_back"),
        ([row(), row(label="not_a_claim")], "n_contradictory"),
    ],
)
def test_what_must_not_be_learned_is_left_out_and_counted(
    corpus: Corpus, write: Write, left_out: list[dict[str, Any]], counted: str
) -> None:
    other = row("A new bakery sells black bread beside the station.")
    more, counts = add_feedback(corpus, write(*left_out, other))
    assert [e.id for e in learned_feedback(more)] == [other["id"]]
    assert (counts.n_rows, counts.n_learned, getattr(counts, counted)) == (len(left_out) + 1, 1, len(left_out))
    assert sum(int(n) for n in str(counts).split() if n.isdecimal()) == 2 * counts.n_rows


def test_the_same_text_with_the_same_label_is_learned_once(corpus: Corpus, write: Write) -> None:
    more, counts = add_feedback(corpus, write(row(), row(), row(f"{NEW} ")))
    assert (len(learned_feedback(more)), counts.n_repeated) == (1, 2)


@pytest.mark.parametrize("field", ["document_id", "stored_document_id"])
def test_what_stands_in_the_document_of_a_held_back_statement_is_left_out_too(
    corpus: Corpus, write: Write, field: str
) -> None:
    near = [row(HELD_BACK["dev"], **{field: "d-1"}), row(**{field: "d-1"})]
    other = row("A new bakery sells black bread beside the station.", **{field: "d-2"})
    more, counts = add_feedback(corpus, write(*near, other))
    assert [e.id for e in learned_feedback(more)] == [other["id"]]
    assert counts.n_near_held_back == 2


def test_many_rows_around_one_held_back_statement_pass_no_guard(corpus: Corpus, write: Write) -> None:
    near = [row(HELD_BACK["dev"].replace("forty", number)) for number in ("fifty", "sixty", "eighty", "forty two")]
    more, _ = add_feedback(corpus, write(*near, row()))
    check_no_leak([(e.id, e.text, e.split, e.cluster) for e in more.examples])
    assert NEW in {e.text for e in learned_feedback(more)}


def test_statements_of_the_suites_are_left_out(corpus: Corpus, write: Write, tmp_path: Path) -> None:
    (tmp_path / "datasets" / "suites").mkdir(parents=True)
    write_rows(tmp_path / "datasets" / "suites" / "debunks.jsonl", [{"text": NEW}])
    _, counts = add_feedback(corpus, write(row()), datasets_dir=tmp_path / "datasets")
    assert (counts.n_learned, counts.n_near_held_back) == (0, 1)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"text_sha256": "0" * 64}, "not the one"),
        ({"label": "propaganda"}, "propaganda"),
        ({"text": None}, "NoneType"),
        ({"n_agreeing": "many"}, "TypeError"),
        ({"lang": ...}, "missing lang"),
        ({"document_id": ...}, "missing document_id"),
    ],
)
def test_a_row_that_is_not_of_an_export_is_refused_naming_its_line(
    corpus: Corpus, write: Write, changes: dict[str, Any], named: str
) -> None:
    bad = {name: value for name, value in {**row(), **changes}.items() if value is not ...}
    with pytest.raises(CorpusError, match=rf"rows\.jsonl line 2: .*{named}") as caught:
        add_feedback(corpus, write(row("A new bakery sells black bread."), bad))
    assert NEW not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="credence feedback export"):
        add_feedback(corpus, tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    ("voices", "weight"),
    [({"n_reviewers": 1, "n_agreeing": 1}, 0.4), ({"n_reviewers": 3, "n_agreeing": 2}, 0.1)],
)
def test_feedback_weighs_what_the_recipe_says_and_less_where_somebody_objects(
    corpus: Corpus, write: Write, tiny_encoder: PretrainedEncoder, voices: dict[str, Any], weight: float
) -> None:
    data = {"feedback_weight": 0.4, "toss_up_weight": 0.25}
    config = ExperimentConfig.model_validate({"name": "tiny", "data": data})
    more, _ = add_feedback(corpus, write(row(**voices)))
    weights = encode_learned(Session(config, more, Path(), NullRun()), tiny_encoder, seed=1).weights
    assert weights == pytest.approx((1.0, weight))


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Score two statements through the API, have reviewers dispute them, and export what they said by the command."""
    monkeypatch.setenv("CREDENCE_STATE_PATH", str(tmp_path / "state"))
    settings = Settings(allowed_hosts=("testserver",))
    served = ServedModel(TinyScorer(), "", {})
    database = open_database(settings.resolved_database_url)
    with TestClient(create_app(settings, served, database)) as client:
        statements = [{"text": NEW}, {"text": "Вони таємно керують портом, каже охоронець 😀."}]
        results = client.post("/v1/score", json={"statements": statements}).json()["results"]
        for result, reviewer, label in zip(results * 2, "aabb", ["allegation"] * 4, strict=True):
            sent = {"score_id": result["score_id"], "proposed_label": label, "reviewer": reviewer}
            assert client.post("/v1/feedback", json=sent).status_code == 201
    database.close()
    path = tmp_path / "exported.jsonl"
    result = CliRunner().invoke(build_cli(lambda bundle: served), ["feedback", "export", str(path)])
    assert result.exit_code == 0, result.stderr
    return path


def test_what_was_disputed_through_the_api_is_what_training_reads(corpus: Corpus, exported: Path) -> None:
    assert [line["n_reviewers"] for _, line in read_feedback(exported)] == [2, 2]
    more, counts = add_feedback(corpus, exported)
    found = [(e.text, e.language, e.label, e.sure) for e in learned_feedback(more)]
    assert found == [
        (NEW, "en", Outcome.ALLEGATION, 3),
        ("Вони таємно керують портом, каже охоронець 😀.", "uk", Outcome.ALLEGATION, 3),
    ]
    assert counts.n_learned == counts.n_rows


def test_the_tiny_recipe_learns_feedback_and_its_bundle_says_so(
    exported: Path,
    tmp_path: Path,
    tiny_folder: Path,
    blank_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(training.metrics, "RESAMPLES", 20)
    runs = tmp_path / "runs"
    runs.mkdir()
    shutil.copy(blank_store, runs / "mlflow.db")
    (runs / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    settings = [f"encoder.name={tiny_folder}", f"data.feedback_path={exported}", "optimiser.epochs=1"]
    settings.append("data.max_train_statements=32")
    chosen = [part for setting in settings for part in ("--set", setting)]
    assert main(["--config", str(runs / "tiny.toml"), "--runs", str(runs), *chosen]) == 0
    assert "2 rows of feedback, 2 learned" in capsys.readouterr().out
    bundle = load_bundle(runs / "tiny" / "bundle")
    assert bundle.manifest.data_digests["feedback/export.jsonl"] == file_digest(exported)
    (line,) = [line for line in bundle.card.splitlines() if line.startswith("| feedback/export")]
    assert [cell.strip() for cell in line.split("|")][2:4] == ["2", "texts sent by users of this service"]
    assert NEW not in bundle.card
    report = json.loads((runs / "tiny" / "report" / "dev.json").read_text(encoding="utf-8"))
    assert report["data_digests"]["feedback/export.jsonl"] == file_digest(exported)


def test_a_missing_file_stops_before_anything_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE, encoding="utf-8")
    recipe = ["--config", str(tmp_path / "tiny.toml"), "--runs", str(tmp_path / "runs")]
    assert main([*recipe, "--set", f"data.feedback_path={tmp_path / 'none.jsonl'}"]) == 2
    assert "data.feedback_path: there is no file" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
