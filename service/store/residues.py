"""What SQLite leaves of deleted rows in its files, and how that goes. In PostgreSQL its own autovacuum sees to it.

``secure_delete`` overwrites a row where it is deleted. But SQLite moves rows from page to page as others come and go,
and does not overwrite the places that they moved from: only writing the whole file anew gets rid of those. That takes
long where the file is large, so it is noted that rows were deleted, and done later. The note survives a restart.
"""

from typing import Final

from sqlalchemy import Connection

# A file of this size is written anew in no time. Of larger ones, about a gibibyte is written anew in a day: as long as
# that takes, some seconds, nobody else can write.
_QUICK_BYTES: Final = 16 * 1024**2
_SECONDS_PER_BYTE: Final = 24 * 3600 / 1024**3
_WAIT_MILLISECONDS: Final = 1000


def note_deleted(connection: Connection) -> None:
    """Note that rows were deleted, by a number in the header of the file that is for its owner to use."""
    connection.exec_driver_sql(f"PRAGMA user_version = {read_note(connection) + 1}")


def read_note(connection: Connection) -> int:
    """Return how often rows were deleted since the file was last written anew."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def withdraw_note(connection: Connection, note: int) -> None:
    """Note that nothing is left of deleted rows, unless more were deleted since the note was read."""
    if read_note(connection) == note:
        connection.exec_driver_sql("PRAGMA user_version = 0")


def is_due(n_bytes: int, seconds_since: float) -> bool:
    """Say whether a file of a size may be written anew, so long after it last was."""
    return n_bytes <= _QUICK_BYTES or seconds_since >= n_bytes * _SECONDS_PER_BYTE


def empty_log(connection: Connection, busy_seconds: float) -> None:
    """Empty the log of what was written, unless somebody reads for long. Needs a connection without a transaction."""
    # While it waits for those who are reading nobody can write.
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_WAIT_MILLISECONDS}")
    try:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").close()
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(busy_seconds * 1000)}")


def write_anew(connection: Connection) -> None:
    """Write the whole file anew; nobody can write meanwhile. Needs a connection without a transaction."""
    # The copy has the size of the file, which may be more than fits the memory.
    connection.exec_driver_sql("PRAGMA temp_store = FILE")
    try:
        connection.exec_driver_sql("VACUUM")
    finally:
        connection.exec_driver_sql("PRAGMA temp_store = MEMORY")
