"""Puts a database into a bad state, for as long as a block lasts."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from service.store.database import Database

_CHARACTERISTICS = "SET SESSION CHARACTERISTICS AS TRANSACTION READ"
_READ_ONLY = {
    "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
    "postgresql": (f"{_CHARACTERISTICS} ONLY", f"{_CHARACTERISTICS} WRITE"),
}


@contextmanager
def read_only(database: Database) -> Iterator[None]:
    """Let the database take nothing."""
    with _on_each_use(database, *_READ_ONLY[database.kind]):
        yield


@contextmanager
def full(database: Database) -> Iterator[None]:
    """Let the file of an SQLite database grow no more."""
    with _on_each_use(database, "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1073741823"):
        yield


@contextmanager
def _on_each_use(database: Database, before: str, after: str) -> Iterator[None]:
    """Run a statement before each use of a connection, and from the end on another one that makes up for it."""
    statements = [before]

    def prepare(connection: Any, record: object, proxy: object) -> None:
        connection.execute(statements[-1]).close()
        connection.commit()

    event.listen(database.engine, "checkout", prepare)
    try:
        yield
    finally:
        statements.append(after)


@contextmanager
def mount_small_disk(folder: Path, *, kibibytes: int) -> Iterator[Path]:
    """Mount a disk in memory on a folder, or skip the test where the machine does not let it."""
    folder.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root of a Linux machine may mount a disk")
    command = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change how a disk is mounted."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], capture_output=True, check=True)
