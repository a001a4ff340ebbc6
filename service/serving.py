"""Runs the application under uvicorn."""

import asyncio
import math
import signal
import socket
from contextlib import closing, suppress
from types import FrameType
from typing import Final

import typer
import uvicorn

from credence.errors import CredenceError
from service.app import CredenceApi
from service.door.guarded_protocol import GuardedProtocol
from service.examples import STATEMENTS
from service.log_lines import configure_logs
from service.settings import Settings
from service.store.database import Database

_WAITING_CONNECTIONS: Final = 2048
# What was sent on a connection that was just taken is still read, when no further ones are.
_LAST_REQUESTS_SECONDS: Final = 0.2
# After what waits was refused there is this much for the refusals; a client that reads nothing would take for ever.
_LAST_ANSWERS_SECONDS: Final = 2


class ListenError(CredenceError):
    """The address cannot be listened on; the message says which and why."""


class ApiServer(uvicorn.Server):
    """The server, which answers what it has taken before it stops: a signal to terminate is no fault.

    It ends the streams of events, and so need not wait for them.
    """

    def __init__(self, config: uvicorn.Config, app: CredenceApi, *, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. The framework would end the process with the signal again, and so with a failure."""
        self._app.drain.begin()
        if sig == signal.SIGTERM:
            self.should_exit = True
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        self._app.event_feed.end_streams()
        for server in self.servers:
            server.close()
        await asyncio.sleep(_LAST_REQUESTS_SECONDS)
        patience = asyncio.get_running_loop().call_later(self._drain_seconds, self._app.drain.run_out)
        await super().shutdown(sockets)
        patience.cancel()


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address, or raise ``ListenError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # A socket that is given such a name would be left open.
        host.encode("idna")
        return socket.create_server((host, port), family=family, backlog=_WAITING_CONNECTIONS)
    except OSError as error:
        # What follows in brackets is the address again.
        reason = (error.strerror or str(error)).partition(" (while")[0]
    except UnicodeError:
        reason = "this is not the name of a host"
    raise ListenError(f"cannot listen on {host} port {port}: {reason}; set another with --host or --port")


def serve_app(settings: Settings, app: CredenceApi, database: Database, listener: socket.socket) -> None:
    """Say where the API is and how to ask it something, and serve on a listening socket until stopped."""
    address = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
    version = app.holder.current.scorer.info.model_version
    typer.echo(f"Credence serves model {version} at {address}. Ask it something:\n")
    typer.echo(f"  curl {address}/v1/score -H 'Content-Type: application/json' \\")
    if settings.keys_are_required:
        typer.echo("    -H 'Authorization: Bearer KEY' \\")
    typer.echo(f'    -d \'{{"statements": [{{"text": "{STATEMENTS["en"]}"}}]}}\'\n')
    configure_logs(settings)
    config = uvicorn.Config(
        app,
        # uvicorn's own access log would repeat query strings; the app logs each request without them.
        access_log=False,
        log_config=None,
        server_header=False,
        http=GuardedProtocol,
        # Whom to believe about where a request comes from is a setting, and nobody else is.
        proxy_headers=False,
        timeout_graceful_shutdown=math.ceil(settings.drain_seconds) + _LAST_ANSWERS_SECONDS,
    )
    with listener, closing(database), suppress(KeyboardInterrupt):
        ApiServer(config, app, drain_seconds=settings.drain_seconds).run(sockets=[listener])
