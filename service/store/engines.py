"""How connections to each kind of database are made and prepared: the one place that knows their differences."""

import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
_WAIT_SECONDS: Final = 0.02
# The lower byte of an SQLite error code; the rest says more closely what it was.
_PRIMARY_CODE: Final = 0xFF


def build_engine(url: URL, *, busy_seconds: float) -> Engine:
    """Prepare connections without making one; whoever finds them or the database taken waits so long and no longer.

    Raises ``ImportError`` or ``NoSuchModuleError`` where the driver is not installed.
    """
    is_sqlite = url.get_backend_name() == SQLITE
    options: dict[str, Any] = (
        {"connect_args": {"timeout": busy_seconds, "check_same_thread": False}}
        if is_sqlite
        else {"connect_args": {"connect_timeout": max(1, round(busy_seconds))}, "pool_pre_ping": True}
    )
    # A message with the parameters in it would be a message with texts in it.
    engine = create_engine(
        url, hide_parameters=True, pool_size=8, max_overflow=16, pool_timeout=busy_seconds, **options
    )
    prepare = _prepare_sqlite if is_sqlite else _prepare_postgresql
    event.listen(engine, "connect", partial(prepare, busy_seconds=busy_seconds))
    if is_sqlite:
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def build_reading_engine(url: URL, *, busy_seconds: float) -> Engine:
    """Prepare connections that can change nothing, not even where a database was left behind by a crash.

    Raises as ``build_engine`` does.
    """
    if url.get_backend_name() != SQLITE:
        engine = build_engine(url, busy_seconds=busy_seconds)
        event.listen(engine, "connect", _forbid_writing)
        return engine
    path = Path(url.database or "").absolute()
    # Without its log nobody has the file open, and it can be read without the files that a reader shares with others.
    mode = {"mode": "ro"} if path.with_name(f"{path.name}-wal").exists() else {"mode": "ro", "immutable": "1"}
    read_only = url.set(database=path.as_uri(), query={**mode, "uri": "true"})
    return create_engine(read_only, hide_parameters=True, connect_args={"timeout": busy_seconds})


def _forbid_writing(connection: DBAPIConnection, record: object) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    connection.commit()


def _prepare_sqlite(connection: sqlite3.Connection, record: object, *, busy_seconds: float) -> None:
    # Transactions are begun by hand below; the module's own way would begin them too late.
    connection.isolation_level = None
    _use_log(connection, busy_seconds)
    for pragma in (
        # With FULL a commit survives a power cut too, not only the end of the process.
        "synchronous = FULL",
        "foreign_keys = ON",
        # What is deleted is overwritten, so that no text stays in the file.
        "secure_delete = ON",
        "temp_store = MEMORY",
        # Each connection has a cache of its own; larger ones made nothing quicker.
        "cache_size = -8192",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _use_log(connection: sqlite3.Connection, busy_seconds: float) -> None:
    # Unlike everything else, turning the log on does not wait for others who are just doing the same.
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_WAIT_SECONDS)
        else:
            return


def _prepare_postgresql(connection: DBAPIConnection, record: object, *, busy_seconds: float) -> None:
    # Without it a request waits for ever where another program holds a lock.
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SET lock_timeout = {round(busy_seconds * 1000)}")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    if mode := connection.get_execution_options().get("begin", "DEFERRED"):
        connection.exec_driver_sql(f"BEGIN {mode}")
