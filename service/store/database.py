"""The connection to the database: opening, migrating, reading, and writing in turns. One code path for both kinds."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from credence.errors import CredenceError
from service.store.tables import store_state

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
_DRIVERS: Final = {SQLITE: "sqlite+pysqlite", POSTGRESQL: "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_BUSY_SECONDS: Final = 10
# Any number will do, as long as every process takes the same.
_MIGRATION_LOCK: Final = 4_215_370_622


class StorageError(CredenceError):
    """The database cannot be used as it is; the message says what was found and what to do, and holds no secret."""


class StorageUnavailableError(CredenceError):
    """The database did not take or give something just now. What was asked for was not done, and can be asked again."""


class Database:
    """An open database. Every use goes through ``reading`` or ``writing``, in whatever thread."""

    def __init__(self, url: str) -> None:
        """Prepare connections without making one. Raises ``StorageError`` for a URL that cannot be used."""
        parsed = _parse_url(url)
        self.kind = parsed.get_backend_name()
        self._path = Path(parsed.database) if self.kind == SQLITE and parsed.database else None
        self._file: tuple[int, int] | None = None
        self._engine = _build_engine(parsed)

    @property
    def engine(self) -> Engine:
        """Return SQLAlchemy's engine, for what only a test or a benchmark asks."""
        return self._engine

    def migrate(self) -> None:
        """Bring the schema up to date; a new database gets its tables. Raises ``StorageError``.

        Several processes may do so at once: one does it and the others wait.
        """
        try:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._engine.connect().execution_options(begin="IMMEDIATE") as connection, connection.begin():
                if self.kind == POSTGRESQL:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                config = _alembic_config()
                head = ScriptDirectory.from_config(config).get_current_head()
                if MigrationContext.configure(connection).get_current_revision() != head:
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
        except CommandError:
            raise StorageError(
                "the database has a schema that this version of Credence does not know: a newer version made it; "
                "install that version, or name another database with CREDENCE_DATABASE_URL"
            ) from None
        except (OSError, DBAPIError) as error:
            raise StorageError(f"cannot open the database: {_fault(error)}; see CREDENCE_DATABASE_URL") from None
        if self._path is not None:
            self._file = _identity(self._path)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the database. Raises ``StorageUnavailableError``."""
        with self._using("DEFERRED") as connection:
            yield connection

    @contextmanager
    def writing(self, *, takes_turn: bool = True) -> Iterator[Connection]:
        """Open a transaction that is kept when the block ends, and undone where it raises.

        With ``takes_turn`` whoever else writes waits for the end of it, so that numbers are given in the order in which
        they become visible, and the revision rises. Raises ``StorageUnavailableError``.
        """
        with self._using("IMMEDIATE") as connection:
            if takes_turn:
                connection.execute(update(store_state).values(revision=store_state.c.revision + 1))
            yield connection

    def read_revision(self) -> int:
        """Return a number that rises with everything that is written. Raises ``StorageUnavailableError``."""
        with self.reading() as connection:
            return int(connection.execute(select(store_state.c.revision)).scalar_one())

    def shed_deleted(self) -> None:
        """Let go of what deleted rows have left in SQLite's log. Nobody need wait for it: it is tried, no more."""
        if self.kind == SQLITE:
            with self._using("") as connection:
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _using(self, begin: str) -> Iterator[Connection]:
        self._check_file()
        try:
            with self._engine.connect().execution_options(begin=begin) as connection, connection.begin():
                yield connection
        except (DBAPIError, PoolTimeoutError) as error:
            if isinstance(error, DBAPIError) and not is_passing(error):
                raise
            raise StorageUnavailableError(f"the database did not answer: {_fault(error)}") from None

    def _check_file(self) -> None:
        # SQLite goes on writing into a file that somebody has removed, and all of it would be lost.
        if self._path is not None and self._file is not None and _identity(self._path) != self._file:
            self._engine.dispose()
            raise StorageUnavailableError(
                "the database did not answer: its file was removed or replaced; put it back, or restart the service"
            )


def open_database(url: str) -> Database:
    """Open a database and bring its schema up to date. Raises ``StorageError``."""
    database = Database(url)
    database.migrate()
    return database


def is_passing(error: DBAPIError) -> bool:
    """Say whether a database fault lies in the state of the database and not in what was asked of it."""
    names = {type(cause).__name__ for cause in (error, error.orig)}
    return error.connection_invalidated or bool(names & {"OperationalError", "InterfaceError", "InternalError"})


def _fault(error: Exception) -> str:
    """Say what went wrong in words that cannot hold a value: those of the driver are not taken over."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "").split("_")
        return _SQLITE_FAULTS.get(name[1] if len(name) > 1 else "", type(cause).__name__)
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    if isinstance(cause, PoolTimeoutError):
        return "all connections are taken"
    code = getattr(cause, "sqlstate", None)
    return f"{type(cause).__name__} (SQLSTATE {code})" if code else "no connection to the server"


_SQLITE_FAULTS: Final = {
    "BUSY": "it is locked by another program",
    "LOCKED": "it is locked by another program",
    "FULL": "the disk is full",
    "READONLY": "it cannot be written to",
    "CANTOPEN": "its file cannot be opened",
    "IOERR": "its file cannot be read or written",
    "CORRUPT": "its file is damaged",
    "NOTADB": "the file is not an SQLite database",
    "PERM": "its file cannot be opened",
}


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername.partition("+")[0]]
    except (ArgumentError, KeyError, ValueError):
        raise StorageError(
            "CREDENCE_DATABASE_URL must look like sqlite:////folder/file.db or postgresql://user:password@host/database"
        ) from None
    if driver.startswith(SQLITE) and parsed.database in (None, "", ":memory:"):
        raise StorageError("CREDENCE_DATABASE_URL must name a file: a database in memory is lost with the process")
    return parsed.set(drivername=driver)


def _build_engine(url: URL) -> Engine:
    is_sqlite = url.get_backend_name() == SQLITE
    options: dict[str, Any] = (
        {"connect_args": {"timeout": _BUSY_SECONDS, "check_same_thread": False}}
        if is_sqlite
        else {"connect_args": {"connect_timeout": _BUSY_SECONDS}, "pool_pre_ping": True}
    )
    try:
        # A message with the parameters in it would be a message with texts in it.
        engine = create_engine(url, hide_parameters=True, pool_size=8, max_overflow=16, pool_timeout=30, **options)
    except (ImportError, NoSuchModuleError):
        raise StorageError(f"no driver for {url.drivername} is installed; install credence[service]") from None
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    # Transactions are begun by hand below; the module's own way would begin them too late.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        # With FULL a commit survives a power cut too, not only the end of the process.
        "synchronous = FULL",
        "foreign_keys = ON",
        # What is deleted is overwritten, so that no text stays in the file.
        "secure_delete = ON",
        "temp_store = MEMORY",
        "cache_size = -65536",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    if mode := connection.get_execution_options().get("begin", "DEFERRED"):
        connection.exec_driver_sql(f"BEGIN {mode}")


def _alembic_config() -> Config:
    config = Config()
    config.set_main_option("script_location", os.fspath(Path(str(resources.files("service.store"))) / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
