"""``credence batch --server`` against a real server, and against one that is made to fail."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import UUID, uuid4

import pytest
import typer
import uvicorn
from typer.testing import CliRunner, Result

from service.app import create_app
from service.batches.client import BatchClient, ServiceError
from service.batches.remote import score_file_there
from service.batches.spool import BatchSpool
from service.cli import build_cli
from service.commands.arguments import CommandError
from service.models.source import ServedModel
from service.serving import open_listener
from service.settings import Settings
from service.store.batch_records import BatchState, NewBatch
from service.store.batch_store import BatchStore
from service.store.database import Database

ROWS = "".join(json.dumps({"id": n, "text": f"The court met on day {n}."}) + "\n" for n in range(300))


@pytest.fixture
def server(served_model: ServedModel, database: Database) -> Iterator[str]:
    """A real server on loopback."""
    listener = open_listener("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(create_app(Settings(), served_model, database), log_config=None, access_log=False)
    )
    thread = Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listener.close()


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(ROWS)
    return path


def run(served_model: ServedModel, *arguments: str) -> Result:
    return CliRunner().invoke(build_cli(lambda bundle_path: served_model), ["batch", *arguments])


def without_ids(path: Path) -> list[dict[str, object]]:
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "score_id"} for row in found]


def test_a_service_gives_what_this_machine_would(server: str, served_model: ServedModel, rows: Path) -> None:
    here, there, unkept = (rows.with_name(f"{name}.jsonl") for name in ("here", "there", "unkept"))
    rows.write_text(f'{ROWS}{{"id": "bad"}}\n')
    assert run(served_model, str(rows), "--output", str(here)).exit_code == 1
    result = run(served_model, str(rows), "--output", str(there), "--server", f"{server}/")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "301 rows read, 1 of them with errors" in result.stderr
    assert without_ids(there) == without_ids(here)
    assert "score_id" in there.read_text()
    assert run(served_model, str(rows), "--output", str(unkept), "--server", server, "--no-store").exit_code == 1
    assert unkept.read_text() == here.read_text()


def test_any_format_and_encoding_goes_there_and_back(server: str, served_model: ServedModel, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("id;text\nї;Суд зібрався в понеділок.".encode("windows-1251"))
    output = tmp_path / "out.jsonl"
    options = ("--encoding", "windows-1251", "--output", str(output), "--server", server)
    assert run(served_model, str(path), *options).exit_code == 0
    assert [(row["id"], row["language"]) for row in without_ids(output)] == [("ї", "uk")]


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://host", "http://", "http://host/?q=1"])
def test_an_address_that_is_none_is_refused(served_model: ServedModel, rows: Path, address: str) -> None:
    result = run(served_model, str(rows), "--server", address)
    assert (result.exit_code, "--server takes the address" in result.stderr) == (2, True)


def test_a_file_that_is_none_of_rows_is_not_sent(served_model: ServedModel, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,body\n")
    result = run(served_model, str(tmp_path / "rows.csv"), "--server", "http://127.0.0.1:1")
    assert (result.exit_code, "missing: text" in result.stderr) == (2, True)


def test_a_refusal_says_what_the_service_says(served_model: ServedModel, rows: Path, database: Database) -> None:
    with ScriptedServer((415, {}, {"detail": "Send something else."})) as (address, _):
        result = run(served_model, str(rows), "--server", address)
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2,
        "credence: the service refused: Send something else.",
    )
    assert not rows.with_name("rows.scored.jsonl").exists()


def test_control_c_has_the_service_cancel_the_batch(server: str, database: Database, rows: Path) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    output = rows.with_name("out.jsonl")
    # Of a file of this size not all can be scored by then.
    rows.write_text(ROWS * 300)
    with pytest.raises(typer.Exit) as stopped:
        score_file_there(BatchClient(server), rows, output, may_overwrite=False, pause=interrupt)
    assert stopped.value.exit_code == 130
    assert [batch.state for batch in BatchStore(database).list_batches(limit=5)] == [BatchState.CANCELLED]
    assert not output.exists()


Answer = tuple[int, dict[str, str], object]


class Script:
    """Answers requests by a list, and notes what was asked. A status of 0 breaks the connection."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, str | None]] = []


class ScriptedServer:
    def __init__(self, *answers: Answer) -> None:
        self.script = script = Script(*answers)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def do_GET(self) -> None:
                script.asked.append((self.command, self.path, self.headers.get("Idempotency-Key")))
                status, headers, content = script.answers.pop(0)
                if status == 0:
                    self.close_connection = True
                    return
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> tuple[str, Script]:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}", self.script

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def batch_answer(**fields: object) -> dict[str, object]:
    url = f"/v1/batches/{uuid4()}"
    known = {"state": "queued", "finished_at": None, "n_rows": 1, "n_done_rows": 0, "n_error_rows": 0, "share_done": 0}
    return {"url": url, "results_url": f"{url}/results", "cancel_url": f"{url}/cancel", **known, **fields}


def test_a_service_that_is_away_is_asked_again_under_the_same_key(rows: Path) -> None:
    done = batch_answer(state="done", finished_at="2026-03-01T12:00:00Z")
    cut_off = (200, {"Content-Length": "100"}, b"half of")
    answers: list[Answer] = [
        (0, {}, None),
        (503, {"Retry-After": "7"}, {"detail": "The database does not answer."}),
        (502, {}, b"<html>bad gateway</html>"),
        (202, {}, batch_answer()),
        (0, {}, None),
        (200, {}, done),
        cut_off,
        (200, {}, b'{"id": 1}\n'),
    ]
    pauses: list[float] = []
    output = rows.with_name("out.jsonl")
    with ScriptedServer(*answers) as (address, script):
        client = BatchClient(address, pause=pauses.append)
        score_file_there(client, rows, output, may_overwrite=False, store=True, pause=lambda seconds: None)
    assert output.read_bytes() == b'{"id": 1}\n'
    assert pauses == [1.0, 7.0, 4.0, 1.0, 1.0]
    uploads = [asked for asked in script.asked if asked[0] == "POST"]
    assert len(uploads) == 4
    assert {path for _, path, _ in uploads} == {"/v1/batches?store=true"}
    (key,) = {key for _, _, key in uploads}
    assert UUID(key or "")
    assert script.answers == []


def test_patience_has_an_end(rows: Path) -> None:
    pauses: list[float] = []
    client = BatchClient("http://127.0.0.1:1", patience_seconds=10, pause=pauses.append)
    with pytest.raises(ServiceError, match=r"no connection to http://127\.0\.0\.1:1"):
        client.upload(rows, media_type="application/x-ndjson", key="k", store=None)
    assert pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ({"state": "failed", "failure": "The file is damaged"}, "could not be read to its end: The file is damaged"),
        ({"state": "cancelled"}, "was cancelled meanwhile; what was scored before is at"),
    ],
)
def test_a_batch_without_all_its_rows_gives_no_output(rows: Path, ending: dict[str, object], message: str) -> None:
    output = rows.with_name("out.jsonl")
    ended = batch_answer(finished_at="2026-03-01T12:00:00Z", **ending)
    with (
        ScriptedServer((202, {}, ended)) as (address, _),
        pytest.raises(CommandError, match=message),
    ):
        score_file_there(BatchClient(address), rows, output, may_overwrite=False)
    assert not output.exists()


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}"])
def test_an_address_of_something_else_is_told(rows: Path, content: bytes) -> None:
    with ScriptedServer((200, {}, content)) as (address, _), pytest.raises(ServiceError, match="check the address"):
        BatchClient(address).upload(rows, media_type="application/x-ndjson", key="k", store=None)


WORKER = """
from tests.service.tiny_scorer import TinyScorer
from service.cli import build_cli
from service.models.source import ServedModel

build_cli(lambda bundle_path: ServedModel(TinyScorer(), "", {}))(["worker", "--threads", "2"])
"""


@pytest.mark.on_both_databases
def test_workers_in_processes_of_their_own_share_a_batch(
    database: Database, database_url: str, settings: Settings
) -> None:
    spool, store = BatchSpool(settings.state_path / "uploads"), BatchStore(database)
    new = NewBatch(uuid4(), None, "jsonl", "utf-8", len(ROWS) * 10, False, None, None, spool.id)
    with spool.begin_upload(new.id) as file:
        file.write(ROWS.encode() * 10)
    spool.complete_upload(new.id)
    environment = os.environ | {"CREDENCE_DATABASE_URL": database_url}
    command = [sys.executable, "-c", WORKER]
    workers = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert b"Credence scores batches with model tiny-1" in worker.stdout.readline()
    batch, _ = store.enter(new)
    while (current := store.read(batch.id)) is not None and not current.has_ended:
        workers[0].poll()
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        worker.communicate(timeout=30)
    assert [worker.returncode for worker in workers] == [0, 0]
    assert current is not None
    assert (current.state, current.n_done_rows, current.n_error_rows) == (BatchState.DONE, 3000, 0)
