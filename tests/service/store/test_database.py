import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.store.database import Database, StorageError, StorageUnavailableError, open_database
from tests.service.conftest import run_alone
from tests.service.tiny_scorer import TinyScorer

INFO = TinyScorer().info
PASSWORD = "open-sesame"
TEXT = "The court met on Monday."
BUSY_SECONDS = 0.2
only_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"])
MIGRATE = "import sys; from service.store.database import open_database; open_database(sys.argv[1]).close()"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:////folder/file.db", "sqlite"),
        ("sqlite:///file.db", "sqlite"),
        ("sqlite+aiosqlite:///file.db", "sqlite"),
        ("postgres://host/name", "postgresql"),
        (f"postgresql://user:{PASSWORD}@host:5433/name", "postgresql"),
        (f"postgresql+psycopg2://user:{PASSWORD}@host/name?sslmode=require", "postgresql"),
        ("postgresql:///name?host=/run/postgresql", "postgresql"),
    ],
)
def test_a_url_of_either_kind_is_taken(url: str, kind: str) -> None:
    with closing(Database(url)) as database:
        assert database.kind == kind
        assert PASSWORD not in repr(database.engine.url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        PASSWORD,
        f"mysql://user:{PASSWORD}@host/name",
        f"postgresql://user:{PASSWORD}@host:port/name",
        f"postgresql://user:{PASSWORD}@[::1/name",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?uri=true",
        f"sqlite:////folder/{PASSWORD}.db?mode=memory&uri=true",
        "sqlite:///file:file.db?mode=ro&uri=true",
        "sqlite:////folder/\0.db",
    ],
)
def test_any_other_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(StorageError, match="CREDENCE_DATABASE_URL must") as caught:
        Database(url)
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("options", ["", f"?{PASSWORD}=1"])
def test_a_server_that_is_not_there_is_named_without_the_password(options: str) -> None:
    with closing(Database(f"postgresql://user:{PASSWORD}@127.0.0.1:1/name{options}")) as database:
        with pytest.raises(StorageError, match="see CREDENCE_DATABASE_URL") as caught:
            database.migrate()
        assert PASSWORD not in str(caught.value)
        with pytest.raises(DBAPIError if options else StorageUnavailableError), database.reading():
            pass


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda path: path.write_bytes(b"no database " * 1000), "not an SQLite database"),
        (lambda path: path.mkdir(), "cannot be opened"),
        (lambda path: path.parent.rmdir() or path.parent.write_text(""), "File exists"),
    ],
)
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, damage: Callable[[Path], object], fault: str) -> None:
    path = tmp_path / "folder" / "file.db"
    path.parent.mkdir()
    damage(path)
    with pytest.raises(StorageError, match=fault):
        open_database(f"sqlite:///{path}")


def test_folders_are_made_for_a_new_database(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.db"
    open_database(f"sqlite:///{path}").close()
    assert path.is_file()


@pytest.mark.on_both_databases
def test_a_schema_of_a_newer_version_is_refused_and_left_alone(database: Database, database_url: str) -> None:
    with database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageError, match="a newer version made it"):
        open_database(database_url)
    with database.reading() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


@pytest.fixture
def empty_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if database_kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'file.db'}"
        return
    admin: Database = request.getfixturevalue("postgresql_server")
    name = f"test_{uuid4().hex}"
    run_alone(admin, f"CREATE DATABASE {name}")
    yield admin.engine.url.set(database=name).render_as_string(hide_password=False)
    run_alone(admin, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.on_both_databases
def test_threads_that_migrate_at_once_all_get_a_database(empty_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(open_database, [empty_url] * 8))
    assert {database.read_revision() for database in opened} == {0}
    for database in opened:
        database.close()


@pytest.mark.on_both_databases
def test_processes_that_migrate_at_once_all_get_a_database(empty_url: str) -> None:
    started = [subprocess.Popen([sys.executable, "-c", MIGRATE, empty_url]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in started] == [0, 0, 0]
    with closing(open_database(empty_url)) as database:
        assert database.read_revision() == 0


@pytest.mark.on_both_databases
def test_what_a_block_has_written_is_undone_where_it_raises(database: Database) -> None:
    with pytest.raises(LookupError), database.writing():
        raise LookupError
    assert database.read_revision() == 0


@pytest.mark.on_both_databases
def test_the_revision_rises_with_turns_only(database: Database) -> None:
    with database.writing():
        pass
    with database.writing(takes_turn=False):
        pass
    assert database.read_revision() == 1


def test_a_commit_that_sqlite_has_acknowledged_is_on_the_disk(database: Database) -> None:
    with database.reading() as connection:
        asked = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")}
    assert asked == {"journal_mode": "wal", "synchronous": 2}
