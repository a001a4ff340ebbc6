"""Looks at a database without changing anything: what schema it has, how large it is, who may read it.

What is found differs between the kinds of databases, so that here it is asked which kind one is.
"""

import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from alembic.runtime.migration import MigrationContext
from alembic.util.exc import CommandError
from sqlalchemy import Connection, func, select, text

from service.store.database import Database, read_revisions
from service.store.tables import scores

# Whatever belongs to the file of SQLite.
_COMPANIONS: Final = ("-wal", "-shm")
# Where the header of such a file says how it is written, and what it says where that is through a log.
_WRITE_VERSION: Final = 18
_WITH_LOG: Final = b"\x02"


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What was found. ``revision`` is null where nothing of Credence is there, ``is_known`` false where it is not ours.

    ``journal`` is SQLite's mode, null elsewhere. ``clock`` is what the database takes for the time.
    """

    n_bytes: int
    revision: str | None
    is_newest: bool
    is_known: bool
    journal: str | None
    newest_score_at: datetime | None
    clock: datetime


def inspect_database(database: Database) -> DatabaseFacts:
    """Return what there is to know of a database that was opened to be read. Raises ``StorageUnavailableError``."""
    revisions = read_revisions()
    with database.reading() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        is_newest = revision == revisions.get_current_head()
        try:
            is_known = revision is not None and revisions.get_revision(revision) is not None
        except CommandError:
            is_known = False
        newest = connection.execute(select(func.max(scores.c.scored_at))).scalar_one() if is_newest else None
        journal = None if database.path is None else _read_journal(database.path)
        clock, n_bytes = database.read_time(connection), _measure(connection, database.path)
    return DatabaseFacts(n_bytes, revision, is_newest, is_known, journal, newest, clock)


def is_open_to_others(path: Path) -> bool:
    """Say whether other users of this machine can read a file: it and every folder above let them."""
    mode = path.stat().st_mode
    can_enter = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.absolute().parents)
    return bool(mode & stat.S_IROTH) and can_enter


def _read_journal(path: Path) -> str:
    # The file says it itself; a connection that only reads answers with what holds for that connection.
    with path.open("rb") as file:
        header = file.read(_WRITE_VERSION + 1)
    return "wal" if header[_WRITE_VERSION:] == _WITH_LOG else "rollback"


def _measure(connection: Connection, path: Path | None) -> int:
    if path is None:
        return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())
    files = [path, *(path.with_name(path.name + end) for end in _COMPANIONS)]
    return sum(file.stat().st_size for file in files if file.exists())
