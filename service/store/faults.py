"""What a fault of a driver means, in words that cannot hold a value: those of the driver are not taken over."""

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

_PASSING: Final = frozenset({"OperationalError", "InterfaceError", "InternalError"})
_LOCKED: Final = "it is locked by another program"
_FULL: Final = "the disk is full"
_READ_ONLY: Final = "it cannot be written to"
_STOPPING: Final = "the server is stopping or starting"
_SQLITE_FAULTS: Final = {
    "BUSY": _LOCKED,
    "LOCKED": _LOCKED,
    "PROTOCOL": _LOCKED,
    "FULL": _FULL,
    "READONLY": _READ_ONLY,
    "CANTOPEN": "its file cannot be opened",
    "PERM": "its file cannot be opened",
    "IOERR": "its file cannot be read or written",
    "CORRUPT": "its file is damaged",
    "NOTADB": "the file is not an SQLite database",
    "NOMEM": "there is no memory left",
}
_SQLSTATE_FAULTS: Final = {
    "55P03": _LOCKED,
    "53100": _FULL,
    "25006": _READ_ONLY,
    "53300": "the server takes no more connections",
    "57P01": _STOPPING,
    "57P02": _STOPPING,
    "57P03": _STOPPING,
}


def is_passing(error: DBAPIError) -> bool:
    """Say whether a database fault lies in the state of the database and not in what was asked of it."""
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_name(error.orig) in _SQLITE_FAULTS
    return error.connection_invalidated or type(error).__name__ in _PASSING


def describe_fault(error: Exception) -> str:
    """Say what went wrong, in a few words that follow a colon."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.Error):
        return _SQLITE_FAULTS.get(_sqlite_name(cause), type(cause).__name__)
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    if isinstance(cause, PoolTimeoutError):
        return "all connections are taken"
    if code := getattr(cause, "sqlstate", None):
        return _SQLSTATE_FAULTS.get(code, f"{type(cause).__name__} (SQLSTATE {code})")
    if type(cause).__name__ == "ProgrammingError":
        return "the URL has a part that the driver does not know"
    return "the server cannot be reached, or it refuses the user, the password or the name of the database"


def _sqlite_name(error: sqlite3.Error) -> str:
    # An extended name such as SQLITE_IOERR_WRITE begins with the plain one.
    name = getattr(error, "sqlite_errorname", "").split("_")
    return name[1] if len(name) > 1 else ""
