import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from secrets import token_hex
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.store.database import Database, StorageError, StorageUnavailableError, open_database
from service.store.records import ScoreFilter
from service.store.score_store import ScoreStore
from tests.service.conftest import run_alone
from tests.service.own_postgresql import find_server
from tests.service.store.conftest import NewScores
from tests.service.strained_database import full, mount_small_disk, read_only, remount
from tests.service.tiny_scorer import TinyScorer

only_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"])
INFO = TinyScorer().info
TEXT = "The court met on Monday."
BUSY_SECONDS = 0.2


@pytest.fixture
def hurried(database_url: str) -> Iterator[Database]:
    """A database that waits only a moment for whoever holds it."""
    database = open_database(database_url, busy_seconds=BUSY_SECONDS)
    yield database
    database.close()


@pytest.fixture
def keep(new_scores: NewScores) -> Callable[..., None]:
    def keep(database: Database, *texts: str) -> None:
        ScoreStore(database).keep_statements(new_scores(*texts), INFO, uuid4())

    return keep


def texts_in(database: Database) -> list[str]:
    return [score.text for score in ScoreStore(database).list_scores(ScoreFilter(), limit=1000)]


def file_of(database: Database) -> Path:
    return Path(str(database.engine.url.database))


def test_a_file_that_vanishes_is_missed_until_it_is_back(hurried: Database, keep: Callable[..., None]) -> None:
    keep(hurried, TEXT)
    path = file_of(hurried)
    aside = path.rename(path.with_suffix(".aside"))
    for use in (lambda: keep(hurried, TEXT), lambda: texts_in(hurried), hurried.shed_deleted):
        with pytest.raises(StorageUnavailableError, match="removed or replaced"):
            use()
    assert not path.exists()
    aside.rename(path)
    keep(hurried, "The court met again.")
    assert texts_in(hurried) == ["The court met again.", TEXT]


def test_a_file_that_is_replaced_is_not_written_to(
    hurried: Database, sqlite_template: Path, keep: Callable[..., None]
) -> None:
    path = file_of(hurried)
    other = path.with_suffix(".other")
    shutil.copy(sqlite_template, other)
    before = other.read_bytes()
    other.replace(path)
    with pytest.raises(StorageUnavailableError, match="restart the service"):
        keep(hurried, TEXT)
    assert path.read_bytes() == before


@pytest.mark.on_both_databases
def test_whoever_finds_the_database_locked_waits_only_a_while(
    hurried: Database, database_url: str, keep: Callable[..., None]
) -> None:
    keep(hurried, TEXT)
    with closing(open_database(database_url)) as other:
        with other.writing():
            with pytest.raises(StorageUnavailableError, match="it is locked by another program"):
                keep(hurried, TEXT)
            assert texts_in(hurried) == [TEXT]
        keep(hurried, TEXT)
    assert texts_in(hurried) == [TEXT, TEXT]


def test_a_database_that_another_program_holds_for_itself_cannot_be_opened(database_url: str) -> None:
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="locked by another program"):
            open_database(database_url, busy_seconds=BUSY_SECONDS)
    open_database(database_url, busy_seconds=BUSY_SECONDS).close()


@contextmanager
def read_often(database: Database, n_times: int) -> Iterator[None]:
    with ExitStack() as held:
        for _ in range(n_times):
            held.enter_context(database.reading())
        yield


@pytest.mark.on_both_databases
def test_no_connection_is_waited_for_too_long(hurried: Database) -> None:
    with ExitStack() as held, pytest.raises(StorageUnavailableError, match="all connections are taken"):
        held.enter_context(read_often(hurried, 100))
    assert hurried.read_revision() == 0


@pytest.mark.on_both_databases
def test_a_database_that_takes_nothing_is_still_read(hurried: Database, keep: Callable[..., None]) -> None:
    keep(hurried, TEXT)
    with read_only(hurried):
        with pytest.raises(StorageUnavailableError, match="it cannot be written to"):
            keep(hurried, TEXT)
        assert texts_in(hurried) == [TEXT]
    keep(hurried, TEXT)
    assert len(texts_in(hurried)) == 2


def test_a_read_only_disk_takes_nothing(tmp_path: Path, keep: Callable[..., None]) -> None:
    with mount_small_disk(tmp_path / "disk", kibibytes=4096) as disk:
        url = f"sqlite:///{disk / 'file.db'}"
        open_database(url).close()
        remount(disk, "ro")
        with pytest.raises(StorageError, match=r"cannot be written to|cannot be opened"):
            open_database(url, busy_seconds=BUSY_SECONDS)
        remount(disk, "rw")
        with closing(open_database(url)) as database:
            keep(database, TEXT)
            assert texts_in(database) == [TEXT]


def fill(database: Database, keep: Callable[..., None]) -> int:
    """Keep scores until one is refused because of the disk, and return how many were kept."""
    n_kept = 0
    with pytest.raises(StorageUnavailableError, match="the disk is full"):  # noqa: PT012
        while n_kept < 100_000:
            # No server makes much less of this.
            keep(database, *(f"The court met in {token_hex(10_000)}." for _ in range(10)))
            n_kept += 10
    return n_kept


def test_a_file_that_may_not_grow_keeps_what_it_has(hurried: Database, keep: Callable[..., None]) -> None:
    keep(hurried, TEXT)
    with full(hurried):
        n_kept = fill(hurried, keep)
        assert len(texts_in(hurried)) == n_kept + 1
    keep(hurried, TEXT)
    assert len(texts_in(hurried)) == n_kept + 2


def test_a_full_disk_keeps_what_it_has_and_goes_on_when_there_is_room(
    tmp_path: Path, keep: Callable[..., None]
) -> None:
    with mount_small_disk(tmp_path / "disk", kibibytes=2048) as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(512 * 1024))
        with closing(open_database(f"sqlite:///{disk / 'file.db'}")) as database:
            n_kept = fill(database, keep)
            assert len(texts_in(database)) == n_kept
            ballast.unlink()
            keep(database, TEXT)
            assert len(texts_in(database)) == n_kept + 1


def test_a_full_disk_of_a_server_keeps_what_it_has(
    postgresql_server: Database, keep: Callable[..., None], new_scores: NewScores
) -> None:
    name = f"test_{uuid4().hex}"
    with tempfile.TemporaryDirectory() as folder, mount_small_disk(Path(folder) / "disk", kibibytes=24 * 1024) as disk:
        Path(folder).chmod(0o755)
        shutil.chown(disk, find_server(postgresql_server).system_user or os.getuid())
        run_alone(
            postgresql_server,
            f"CREATE TABLESPACE {name} LOCATION '{disk}'",
            f"CREATE DATABASE {name} TEMPLATE template_credence TABLESPACE {name}",
        )
        url = postgresql_server.engine.url.set(database=name).render_as_string(hide_password=False)
        with closing(open_database(url)) as database:
            n_kept = fill(database, keep)
            with database.reading() as connection:
                assert connection.execute(text("SELECT count(*) FROM scores")).scalar() == n_kept
        run_alone(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)", f"DROP TABLESPACE {name}")


def test_a_damaged_file_is_said_to_be_damaged(hurried: Database, keep: Callable[..., None]) -> None:
    keep(hurried, *[TEXT] * 200)
    hurried.shed_deleted()
    hurried.engine.dispose()
    with file_of(hurried).open("r+b") as file:
        file.seek(2 * 4096)
        file.write(b"\xff" * 4096 * 200)
    with pytest.raises(StorageUnavailableError, match="its file is damaged"):
        texts_in(hurried)


@pytest.mark.on_both_databases
def test_what_was_asked_wrongly_is_not_blamed_on_the_database(database: Database) -> None:
    with pytest.raises(DBAPIError, match="nowhere"), database.reading() as connection:
        connection.execute(text("SELECT 1 FROM nowhere"))


@only_postgresql
def test_a_server_that_was_away_is_used_again(database: Database, keep: Callable[..., None]) -> None:
    server = find_server(database)
    for number, mode in enumerate(("fast", "immediate"), start=1):
        keep(database, TEXT)
        server.stop(mode)
        try:
            for use in (lambda: keep(database, TEXT), lambda: texts_in(database)):
                with pytest.raises(StorageUnavailableError, match=r"cannot be reached|stopping or starting|SQLSTATE"):
                    use()
        finally:
            server.start()
        assert texts_in(database) == [TEXT] * number


@only_postgresql
def test_a_connection_that_the_server_drops_is_replaced(
    database: Database, postgresql_server: Database, keep: Callable[..., None]
) -> None:
    drop = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test%'"
    keep(database, TEXT)
    run_alone(postgresql_server, drop)
    assert texts_in(database) == [TEXT]
    with pytest.raises(StorageUnavailableError), database.writing() as connection:  # noqa: PT012
        run_alone(postgresql_server, drop)
        connection.execute(text("DELETE FROM scores"))
    assert texts_in(database) == [TEXT]
