import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update
from typer.testing import CliRunner, Result

from credence.errors import BundleError
from credence.scoring import StatementScore
from service.cli import build_cli
from service.commands import doctor
from service.commands.doctor import Check, State, examine
from service.commands.port_probe import probe_port
from service.door.api_keys import Scope
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database, open_database
from service.store.key_store import KeyStore
from service.store.score_store import utc_now
from service.store.tables import scores
from tests.service.happenings import keep
from tests.service.held_scorer import wait_until
from tests.service.test_events import serving
from tests.service.tiny_scorer import TinyScorer

SECRET = "SECRET-91c4"
Look = Callable[..., dict[str, Check]]


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def look(served_model: ServedModel, port: int) -> Look:
    """Examine with settings, and return what was found by its name."""

    def look(**given: object) -> dict[str, Check]:
        settings = Settings.model_validate({"port": port, **given})
        return {check.name: check for check in examine(lambda: settings, lambda path: served_model)}

    return look


@pytest.fixture
def with_database(database_url: str, look: Look) -> Look:
    return lambda **given: look(database_url=database_url, **given)


def states(checks: dict[str, Check]) -> dict[str, str]:
    return {name: check.state.value for name, check in checks.items()}


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_before_the_first_start_all_is_well_and_nothing_is_made(look: Look, tmp_path: Path) -> None:
    found = look()
    assert set(states(found).values()) == {"ok"}
    assert set(found) == {"python", "packages", "settings", "model", "state", "disk", "database", "keys", "port"}
    assert "not there yet" in found["state"].found
    assert list(tmp_path.iterdir()) == []


def test_a_database_is_described_and_not_changed(with_database: Look, database: Database, tmp_path: Path) -> None:
    keep(database, "The court met on Monday.")
    database.close()
    folder = tmp_path / "state"
    folder.chmod(0o700)
    before = files_of(folder)
    found = with_database()
    assert set(states(found).values()) == {"ok"}
    assert "schema 0" in found["database"].found
    assert "journal wal" in found["database"].found
    assert files_of(folder) == before


def test_a_database_in_use_is_described_with_what_is_not_in_its_file_yet(
    with_database: Look, database: Database
) -> None:
    keep(database, "The court met on Monday.")
    late = utc_now() + timedelta(hours=2)
    with database.writing() as connection:
        connection.execute(update(scores).values(scored_at=late))
        found = with_database()
    # It was not written yet, and whoever writes did not have to wait.
    assert found["clock"].state is State.OK
    assert with_database()["clock"].state is State.WARNING


def test_nothing_can_be_written_through_a_database_that_is_read(database_url: str) -> None:
    with closing(Database(database_url, is_read_only=True)) as reading:
        for statement in ("DELETE FROM scores", "CREATE TABLE t (a INTEGER)"):
            with (
                pytest.raises(Exception, match=r"(?i)read.?only|written"),
                reading.writing(takes_turn=False) as connection,
            ):
                connection.execute(text(statement))


@pytest.mark.on_both_databases
def test_either_kind_of_database_is_described(with_database: Look, database_kind: str) -> None:
    found = with_database()["database"]
    assert found.state is State.OK
    assert found.found.lower().startswith(database_kind)
    assert "MiB, schema" in found.found


@pytest.mark.on_both_databases
def test_an_unknown_and_an_empty_schema_are_told_apart(with_database: Look, database: Database) -> None:
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'x999'"))
    unknown = with_database()["database"]
    assert (unknown.state, "newer version" in str(unknown.advice)) == (State.FAILED, True)
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    older = with_database()["database"]
    assert (older.state, "brings it up to date" in str(older.advice)) == (State.WARNING, True)
    with database.writing(takes_turn=False) as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    assert "nothing of Credence" in with_database()["database"].found


@pytest.mark.parametrize(
    ("content", "message"), [(b"not a database " * 99, "not an SQLite database"), (b"", "nothing of Credence")]
)
def test_a_file_that_is_no_database_is_said_to_be_none(
    look: Look, tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "other.db"
    path.write_bytes(content)
    found = look(database_url=f"sqlite:///{path}")["database"]
    assert found.state is not State.OK
    assert message in found.found
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_server_that_is_away_is_said_to_be_without_its_password(look: Look, port: int) -> None:
    found = look(database_url=f"postgresql://user:{SECRET}@127.0.0.1:{port}/{SECRET}")
    assert found["database"].state is State.FAILED
    assert SECRET not in str(found)


def test_a_database_that_others_can_read_is_a_warning(
    with_database: Look, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "is_open_to_others", lambda path: path == tmp_path / "state" / "credence.db")
    assert "chmod 600" in str(with_database()["privacy"].advice)


def test_who_can_read_a_file_depends_on_the_folders_above_it(tmp_path: Path) -> None:
    from service.store.inspection import is_open_to_others

    path = tmp_path / "file"
    path.touch()
    path.chmod(0o644)
    tmp_path.chmod(0o700)
    assert not is_open_to_others(path)
    path.chmod(0o600)
    tmp_path.chmod(0o755)
    assert not is_open_to_others(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_a_failure(look: Look, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert look()["state"].state is State.FAILED


def test_a_file_in_the_place_of_the_folder_is_a_failure(look: Look, tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    found = look()["state"]
    assert (found.state, "no folder" in found.found) == (State.FAILED, True)


@pytest.mark.parametrize(("free", "state"), [(10 * 1024**2, "failed"), (500 * 1024**2, "warning"), (2**40, "ok")])
def test_a_disk_that_is_nearly_full_is_said_to_be(
    look: Look, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))
    assert look()["disk"].state.value == state


class SilentScorer(TinyScorer):
    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        first, *rest = super().score_statements(texts, languages=languages)
        return [replace(first, scores=None), *rest]


def test_a_model_must_score_its_examples(served_model: ServedModel, look: Look, port: int) -> None:
    settings, silent = Settings(port=port), replace(served_model, scorer=SilentScorer())
    found = {check.name: check for check in examine(lambda: settings, lambda path: silent)}
    assert (found["model"].state, found["model"].found.endswith("examples in en")) == (State.FAILED, True)
    assert "en, uk, ru" in look()["model"].found


def test_a_fault_of_one_thing_does_not_hide_the_others(port: int) -> None:
    def refuse(path: Path | None) -> ServedModel:
        raise BundleError("weights.npz is missing")

    def break_down(path: Path | None) -> ServedModel:
        raise RuntimeError(SECRET)

    for load, message in ((refuse, "weights.npz is missing"), (break_down, "RuntimeError")):
        found = {check.name: check for check in examine(lambda: Settings(port=port), load)}
        assert found["model"].state is State.FAILED
        assert message in found["model"].found
        assert SECRET not in str(found)
        assert found["port"].state is State.OK


def test_a_folder_of_models_is_looked_at_without_a_copy_being_made(look: Look, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    missing = look(model_source=f"file:{models}@champion")["model source"]
    assert missing.state is State.FAILED
    (models / "champion").write_text("first", encoding="utf-8")
    found = look(model_source=f"file:{models}@champion")
    assert (found["model source"].state, "model" in found) == (State.WARNING, False)
    assert "version first" in found["model source"].found
    assert not (tmp_path / "state").exists()


def test_keys_are_asked_for_where_others_can_connect(with_database: Look, database: Database) -> None:
    assert with_database()["keys"].state is State.OK
    assert with_database(require_keys=True)["keys"].state is State.WARNING
    open_to_all = with_database(host="0.0.0.0", allow_open=True)["keys"]
    assert open_to_all.state is State.WARNING
    closed = with_database(host="0.0.0.0")["keys"]
    assert (closed.state, "credence keys create" in closed.found) == (State.FAILED, True)
    key, token = KeyStore(database).create("Newsroom", [Scope.READ])
    found = with_database(host="0.0.0.0")["keys"]
    assert found.state is State.OK
    assert token.secret not in str(found)
    assert key.digest not in str(found)


def test_a_clock_that_was_set_back_is_noticed(with_database: Look, database: Database) -> None:
    keep(database, "The court met on Monday.")
    assert with_database()["clock"].state is State.OK
    with database.writing() as connection:
        connection.execute(update(scores).values(scored_at=utc_now() + timedelta(days=1)))
    assert with_database()["clock"].state is State.WARNING


def test_a_service_that_answers_on_its_port_is_known(served_model: ServedModel, database: Database) -> None:
    with serving(Settings(), served_model, database) as (_, port):
        wait_until(lambda: probe_port("127.0.0.1", port).state == "ok")
        found = probe_port("127.0.0.1", port).found
    assert found == f"a Credence service answers on 127.0.0.1 port {port}, ready"


@pytest.fixture
def stranger() -> Iterator[int]:
    """A program that answers one line to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_another_program_on_the_port_is_a_failure(look: Look, stranger: int) -> None:
    found = look(port=stranger)["port"]
    assert (found.state, "another program answers" in found.found) == (State.FAILED, True)
    assert "--port" in str(found.advice)


def test_an_address_that_is_not_here_is_a_failure() -> None:
    assert "cannot listen on 203.0.113.1" in probe_port("203.0.113.1", 8000).found


@pytest.fixture
def run(served_model: ServedModel) -> Callable[..., Result]:
    cli = build_cli(lambda path: served_model)
    return lambda *arguments: CliRunner().invoke(cli, ["doctor", *arguments])


def test_the_command_ends_with_how_bad_it_is(
    run: Callable[..., Result], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run("--port", str(port))
    assert (result.exit_code, result.stderr) == (0, "")
    assert "ok       python        Python 3." in result.stdout
    monkeypatch.setenv("CREDENCE_PROT", SECRET)
    warned = run("--port", str(port))
    assert (warned.exit_code, "no settings: CREDENCE_PROT" in warned.stdout) == (1, True)
    monkeypatch.setenv("CREDENCE_HOST", "0.0.0.0")
    failed = run("--port", str(port))
    assert failed.exit_code == 2
    assert "credence keys create" in failed.stdout
    assert SECRET not in warned.stdout + failed.stdout


def test_json_says_the_same(run: Callable[..., Result], port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENCE_DATABASE_URL", f"postgresql://user:{SECRET}@127.0.0.1:{port}/x")
    result = run("--port", str(port), "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["state"]) == (2, "failed")
    assert set(told["checks"][0]) == {"name", "state", "found", "advice"}
    assert SECRET not in result.stdout


def test_a_setting_that_cannot_be_used_ends_it(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENCE_RATE_LIMIT", SECRET)
    result = run()
    assert result.exit_code == 2
    assert "CREDENCE_RATE_LIMIT" in result.stdout
    assert SECRET not in result.stdout


def test_a_database_of_ones_own_making_is_private(tmp_path: Path) -> None:
    open_database(f"sqlite:///{tmp_path}/new/credence.db").close()
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
