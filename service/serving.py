"""Runs the application under uvicorn."""

import logging
import socket
from contextlib import closing, suppress
from typing import Final

import typer
import uvicorn

from credence.errors import CredenceError
from service.app import create_app
from service.examples import STATEMENTS
from service.model_source import ServedModel
from service.settings import Settings
from service.store.database import Database

_WAITING_CONNECTIONS: Final = 2048


class ListenError(CredenceError):
    """The address cannot be listened on; the message says which and why."""


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


def serve_model(settings: Settings, served_model: ServedModel, database: Database, listener: socket.socket) -> None:
    """Say where the API is and how to ask it something, and serve on a listening socket until stopped."""
    address = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"
    typer.echo(f"Credence serves model {served_model.scorer.info.model_version} at {address}. Ask it something:\n")
    typer.echo(f"  curl {address}/v1/score -H 'Content-Type: application/json' \\")
    typer.echo(f'    -d \'{{"statements": [{{"text": "{STATEMENTS["en"]}"}}]}}\'\n')
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    config = uvicorn.Config(
        create_app(settings, served_model, database),
        # uvicorn's own access log would repeat query strings; the app logs each request without them.
        access_log=False,
        log_config=None,
        server_header=False,
    )
    with listener, closing(database), suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
