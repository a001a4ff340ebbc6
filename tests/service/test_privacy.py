"""Looks for a text in everything that the service leaves behind: files, logs, answers."""

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from service.store.tables import batch_chunks
from tests.service.batch_calls import enter, results, uploads, wait
from tests.service.held_scorer import wait_until
from tests.service.secret_texts import Secret, settle
from tests.service.strained_database import full
from tests.service.tiny_scorer import TinyScorer

on_both_databases = pytest.mark.on_both_databases
INFO = TinyScorer().info
ROUTES = ("/v1/score", "/v1/documents")
# Answers that never end.
ENDLESS = {"/v1/events"}


@pytest.fixture
def secret() -> Secret:
    return Secret()


@pytest.fixture
def folders(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that the service, and where there is one the server of its database, may write to."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    for name in ("TMPDIR", "TEMP", "TMP", "SQLITE_TMPDIR"):
        monkeypatch.setenv(name, str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    if database.kind == "sqlite":
        return [tmp_path]
    with database.reading() as connection:
        return [tmp_path, Path(str(connection.execute(text("SHOW data_directory")).scalar_one()))]


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    for name in (None, "service", "sqlalchemy.engine", "sqlalchemy.pool", "uvicorn", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)


def log_of(caplog: pytest.LogCaptureFixture) -> str:
    """Return all that was logged, with the arguments and exceptions of the records."""
    return "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records) + caplog.text


@on_both_databases
@pytest.mark.parametrize("route", ROUTES)
def test_the_search_finds_what_is_kept(
    client: TestClient, database: Database, folders: list[Path], secret: Secret, route: str
) -> None:
    answer = client.post(route, json=secret.body_for(route))
    settle(database)
    assert secret.find_files(folders[-1:])
    assert secret.is_in(answer.content)


@on_both_databases
@pytest.mark.parametrize("route", ROUTES)
def test_nothing_of_a_text_that_is_not_to_be_kept_is_left_anywhere(
    client: TestClient,
    database: Database,
    folders: list[Path],
    secret: Secret,
    route: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = client.post(route, json=secret.body_for(route, store=False), headers={"Idempotency-Key": uuid4().hex})
    assert (answer.status_code, answer.json()["stored"]) == (200, False)
    settle(database)
    assert secret.find_files(folders) == []
    assert not secret.is_in(log_of(caplog))


def rows_of(secret: Secret) -> bytes:
    """Return a batch that is full of it, with rows that cannot be scored between those that can."""
    rows: list[dict[str, Any]] = [{"id": n, "text": given, **secret.tags} for n, given in enumerate(secret.statements)]
    rows += [
        {"id": 2, "text": secret.document * 1000},
        {"id": 3, "text": f"{secret.document}\0"},
        {"id": 4, "text": secret.document, "language": secret.word},
        {"id": 5, secret.word: secret.document},
    ]
    return "\n".join([*(json.dumps(row, ensure_ascii=False) for row in rows), f'{{"text": "{secret.word}']).encode()


def packed_in(database: Database) -> list[Any]:
    """Return what the queue holds of batches: it is compressed, so that no search finds anything in it."""
    with database.reading() as connection:
        query = select(batch_chunks.c.rows, batch_chunks.c.results)
        return [cell for row in connection.execute(query) for cell in row if cell is not None]


@on_both_databases
def test_nothing_of_a_batch_that_is_not_to_be_kept_is_left_anywhere_once_it_is_scored(
    client: TestClient,
    database: Database,
    settings: Settings,
    folders: list[Path],
    secret: Secret,
    caplog: pytest.LogCaptureFixture,
) -> None:
    done = wait(client, enter(client, rows_of(secret) * 50, "?store=false", **{"Idempotency-Key": uuid4().hex}))
    found = results(client, done)
    settle(database)
    # What is left are results, which have no texts.
    assert {Path(name).name.split("-")[0] for name in uploads(settings) if "/" in name} == {"results"}
    assert (packed_in(database), secret.find_files(folders)) == ([], [])
    assert (done["stored"], done["n_rows"], secret.is_in(json.dumps([done, found]))) == (False, 301, False)
    assert not secret.is_in(log_of(caplog))


@on_both_databases
def test_nothing_of_a_batch_that_is_not_to_be_kept_is_in_the_database_while_it_waits(
    database: Database, folders: list[Path], secret: Secret, served_model: ServedModel, settings: Settings
) -> None:
    waiting = settings.model_copy(update={"batch_workers": 0})
    with TestClient(create_app(waiting, served_model, database)) as client:
        entered = enter(client, rows_of(secret) * 50, "?store=false")
        wait_until(lambda: client.get(entered["url"]).json()["is_split"])
        settle(database)
        assert (packed_in(database), secret.find_files(folders)) == ([], [])
        client.delete(entered["url"])
    assert not list(settings.state_path.rglob(f"*{entered['id']}*"))


@pytest.mark.parametrize("route", ROUTES)
def test_no_other_answer_tells_of_a_text_that_was_not_to_be_kept(
    client: TestClient, secret: Secret, route: str
) -> None:
    client.post(route, json=secret.body_for(route, store=False))
    described = client.get("/openapi.json").json()["paths"]
    paths = {path for path, methods in described.items() if "get" in methods and "{" not in path} - ENDLESS
    for path in {*paths, "/metrics", "/openapi.json"}:
        answer = client.get(path)
        assert (path, answer.status_code < 500, secret.is_in(answer.content)) == (path, True, False)


WRONG: tuple[Callable[[Secret], Any], ...] = (
    lambda secret: {"statements": [{"text": secret.document, secret.word: 1}]},
    lambda secret: {"statements": [{"text": secret.document, "language": secret.word}]},
    lambda secret: {"statements": [{"text": [secret.document]}]},
    lambda secret: {"statements": [{"text": secret.document * 1000}]},
    lambda secret: {"statements": [{"text": f"{secret.document}\0"}]},
    lambda secret: {"statements": [{"text": secret.document, "source": secret.word * 100}]},
    lambda secret: {"statements": {secret.word: secret.document}},
    lambda secret: {"statements": [{"text": secret.document}], "store": secret.word},
    lambda secret: {"text": secret.document},
    lambda secret: secret.document,
)


@pytest.mark.parametrize("build", WRONG)
def test_no_error_repeats_what_was_sent(
    client: TestClient, tmp_path: Path, secret: Secret, build: Callable[[Secret], Any], caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post("/v1/score", params={secret.word: secret.word}, json=build(secret))
    assert answer.status_code == 422
    for found in (answer, client.get(f"/v1/{secret.word}"), client.delete("/v1/score", params={"q": secret.word})):
        assert not secret.is_in(found.content + str(found.headers).encode())
    assert not secret.is_in(log_of(caplog).replace(str(answer.request.url), ""))
    assert secret.find_files([tmp_path]) == []


@on_both_databases
@pytest.mark.parametrize("route", ROUTES)
def test_a_fault_of_the_database_tells_nothing_of_the_texts_in_its_message(
    client: TestClient, database: Database, secret: Secret, route: str, caplog: pytest.LogCaptureFixture
) -> None:
    # PostgreSQL says which value was there already.
    with database.writing() as connection:
        connection.execute(text("CREATE UNIQUE INDEX in_the_way ON scores (source)"))
    answer = client.post(route, json=secret.body_for(route))
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:credence:problem:internal-error")
    assert not secret.is_in(answer.content)
    assert not secret.is_in(log_of(caplog))
    assert "IntegrityError" in caplog.text


def test_a_full_disk_tells_nothing_of_the_texts(
    client: TestClient, database: Database, secret: Secret, caplog: pytest.LogCaptureFixture
) -> None:
    with full(database):
        answers = [client.post("/v1/score", json=secret.body_for("/v1/score")) for _ in range(60)]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert not secret.is_in(refused.content)
    assert not secret.is_in(log_of(caplog))
