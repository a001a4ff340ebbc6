"""The connection to the database: opening, migrating, reading, and writing in turns. One code path for both kinds."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final, cast

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from credence.errors import CredenceError
from service.store.engines import POSTGRESQL, SQLITE, build_engine, build_reading_engine
from service.store.faults import describe_fault, is_passing
from service.store.residues import empty_log, is_due, note_deleted, read_note, withdraw_note, write_anew
from service.store.tables import store_state

_DRIVERS: Final = {SQLITE: "sqlite+pysqlite", POSTGRESQL: "postgresql+psycopg", "postgres": "postgresql+psycopg"}
_BUSY_SECONDS: Final = 10.0
# Else each query of a transaction would see what was written since the one before.
_ONE_STATE: Final = {POSTGRESQL: {"isolation_level": "REPEATABLE READ"}}
# Any number will do, as long as every process takes the same.
_MIGRATION_LOCK: Final = 4_215_370_622
_NAME_DATABASE: Final = "name another with CREDENCE_DATABASE_URL or CREDENCE_STATE_PATH"


class StorageError(CredenceError):
    """The database cannot be used as it is; the message says what was found and what to do, and holds no secret."""


class StorageUnavailableError(CredenceError):
    """The database did not take or give something just now. What was asked for was not done, and can be asked again."""


class Database:
    """An open database. Every use goes through ``reading`` or ``writing``, in whatever thread."""

    def __init__(self, url: str, *, busy_seconds: float = _BUSY_SECONDS, is_read_only: bool = False) -> None:
        """Prepare connections without making one; whoever finds the database locked waits so long and no longer.

        Raises ``StorageError`` for a URL that cannot be used.
        """
        parsed = _parse_url(url)
        self.kind = parsed.get_backend_name()
        self._path = Path(parsed.database) if self.kind == SQLITE and parsed.database else None
        self._file: tuple[int, int] | None = None
        self._busy_seconds = busy_seconds
        self._written_anew_at = time.monotonic()
        # How often it did not answer so far.
        self.n_faults = 0
        try:
            self._engine = (build_reading_engine if is_read_only else build_engine)(parsed, busy_seconds=busy_seconds)
        except (ImportError, NoSuchModuleError):
            raise StorageError(f"no driver for {parsed.drivername} is installed; install credence[service]") from None

    @property
    def path(self) -> Path | None:
        """Return the file of an SQLite database, or null."""
        return self._path

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
                # Texts lie in it, which are nobody else's business.
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._engine.connect().execution_options(begin="IMMEDIATE") as connection, connection.begin():
                if self.kind == POSTGRESQL:
                    # However long another process migrates, it is waited for.
                    connection.execute(text("SET LOCAL lock_timeout = 0"))
                    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
                config = _alembic_config()
                head = read_revisions().get_current_head()
                if MigrationContext.configure(connection).get_current_revision() != head:
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
        except CommandError:
            raise StorageError(
                "the database has a schema that this version of Credence does not know: a newer version made it, or "
                "another program; install that version, or name another database with CREDENCE_DATABASE_URL"
            ) from None
        except (OSError, DBAPIError) as error:
            raise StorageError(
                f"cannot open the database: {describe_fault(error)}; see CREDENCE_DATABASE_URL"
            ) from None
        if self._path is not None:
            self._file = _identity(self._path)

    def require_schema(self) -> None:
        """Make sure, changing nothing, that the database is there with the schema in use. Raises ``StorageError``."""
        if self._path is not None and not self._path.is_file():
            raise StorageError(f"there is no database at {self._path}; {_NAME_DATABASE}")
        try:
            with self._engine.connect() as connection:
                found = MigrationContext.configure(connection).get_current_revision()
        except DBAPIError as error:
            raise StorageError(f"cannot open the database: {describe_fault(error)}; {_NAME_DATABASE}") from None
        if found is None:
            raise StorageError(f"nothing of Credence is in this database; {_NAME_DATABASE}")
        if found != read_revisions().get_current_head():
            raise StorageError(
                "the database has the schema of another version of Credence; an older one is brought up to date when "
                "credence serve starts"
            )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the database. Raises ``StorageUnavailableError``."""
        with self._using("DEFERRED", **_ONE_STATE.get(self.kind, {})) as connection:
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

    def read_time(self, connection: Connection) -> datetime:
        """Return the time by the clock that everybody on this database shares: the server's, or the one machine's."""
        if self.kind == SQLITE:
            return datetime.now(UTC)
        return cast(datetime, connection.execute(text("SELECT clock_timestamp()")).scalar_one()).astimezone(UTC)

    def shed_deleted(self) -> None:
        """Let go of what deleted rows have left in the log of SQLite, as far as nobody reads it just now.

        What they may have left in its file ``tidy_deleted`` sees to, which runs now and then.
        """
        if self.kind == SQLITE:
            with self._using("IMMEDIATE") as connection:
                note_deleted(connection)
            self._empty_log()

    def tidy_deleted(self) -> None:
        """Let go of what deleted rows have left in the files of SQLite, where that is due.

        A small file is written anew for it each time, a larger one the more seldom, the larger it is.
        """
        if self._path is None:
            return
        with self._using("") as connection:
            note = read_note(connection)
            if note and is_due(self._path.stat().st_size, time.monotonic() - self._written_anew_at):
                write_anew(connection)
                self._written_anew_at = time.monotonic()
            else:
                note = 0
        if note:
            with self._using("IMMEDIATE") as connection:
                withdraw_note(connection, note)
        self._empty_log()

    def _empty_log(self) -> None:
        with self._using("") as connection:
            empty_log(connection, self._busy_seconds)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    @contextmanager
    def _using(self, begin: str, **options: str) -> Iterator[Connection]:
        self._check_file()
        try:
            with self._engine.connect().execution_options(begin=begin, **options) as connection, connection.begin():
                yield connection
        except (DBAPIError, PoolTimeoutError) as error:
            if isinstance(error, DBAPIError) and not is_passing(error):
                raise
            raise self._unavailable(describe_fault(error)) from None

    def _check_file(self) -> None:
        # SQLite goes on writing into a file that somebody has removed, and all of it would be lost.
        if self._path is not None and self._file is not None and _identity(self._path) != self._file:
            self._engine.dispose()
            raise self._unavailable("its file was removed or replaced; put it back, or restart the service")

    def _unavailable(self, fault: str) -> StorageUnavailableError:
        self.n_faults += 1
        return StorageUnavailableError(f"the database did not answer: {fault}")


def open_database(url: str, *, busy_seconds: float = _BUSY_SECONDS) -> Database:
    """Open a database and bring its schema up to date; see ``Database``. Raises ``StorageError``."""
    database = Database(url, busy_seconds=busy_seconds)
    try:
        database.migrate()
    except StorageError:
        database.close()
        raise
    return database


def read_revisions() -> ScriptDirectory:
    """Return what is known of the versions of the schema."""
    return ScriptDirectory.from_config(_alembic_config())


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
        driver = _DRIVERS[parsed.drivername.partition("+")[0]]
    except (ArgumentError, KeyError, ValueError):
        raise StorageError(
            "CREDENCE_DATABASE_URL must look like sqlite:////folder/file.db or postgresql://user:password@host/database"
        ) from None
    if driver.startswith(SQLITE):
        _check_sqlite(parsed)
    return parsed.set(drivername=driver)


def _check_sqlite(url: URL) -> None:
    if url.database in (None, "", ":memory:"):
        raise StorageError("CREDENCE_DATABASE_URL must name a file: a database in memory is lost with the process")
    if url.query or url.database.startswith("file:") or "\0" in url.database:
        raise StorageError("CREDENCE_DATABASE_URL must name a plain file where it begins with sqlite: no file: or ?")


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
