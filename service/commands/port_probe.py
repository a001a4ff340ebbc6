"""Looks whether a port can be listened on, and if not, who answers there."""

import errno
import json
import os
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Final, Literal

from service.serving import ListenError, open_listener

_PATIENCE_SECONDS: Final = 3.0
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_PROBLEM: Final = "urn:credence:problem:"


@dataclass(frozen=True, slots=True)
class PortProbe:
    """What was found, and what to do where it is not well."""

    state: Literal["ok", "warning", "failed"]
    found: str
    advice: str | None = None


def probe_port(host: str, port: int) -> PortProbe:
    """Say whether the service can listen, or listens already."""
    try:
        open_listener(host, port).close()
    except ListenError as error:
        # Nobody is asked at an address that is not this machine's.
        if os.strerror(errno.EADDRINUSE) not in str(error):
            return PortProbe("failed", str(error))
    else:
        return PortProbe("ok", f"{host} port {port} is free")
    place = f"{host} port {port}"
    try:
        status, content = _ask(_EVERYWHERE.get(host, host), port)
    except (OSError, HTTPException, ValueError):
        return PortProbe("failed", f"another program holds {place}", "Stop it, or take another port with --port.")
    if status == 200 and content.get("status") == "ready":
        return PortProbe("ok", f"a Credence service answers on {place}, ready")
    if str(content.get("type")).startswith(_PROBLEM):
        return PortProbe("warning", f"a Credence service answers on {place}, not ready", "Wait until it has started.")
    return PortProbe("failed", f"another program answers on {place}", "Stop it, or take another port with --port.")


def _ask(host: str, port: int) -> tuple[int, dict[str, object]]:
    with closing(HTTPConnection(host, port, timeout=_PATIENCE_SECONDS)) as connection:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        content = json.loads(answer.read(64 * 1024))
    return answer.status, content if isinstance(content, dict) else {}
