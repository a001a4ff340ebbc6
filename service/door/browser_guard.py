"""Keeps pages of strangers out: a browser on this machine must not score, read or delete for them. Plain ASGI.

A page can send requests to any address that its reader can reach, and by its own name where a name server turns that
name to the address (DNS rebinding). So the name that is asked has to be known, and a request that a browser marks as
another site's is refused, unless that origin is allowed.
"""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.door.addresses import is_loopback, parse_address
from service.errors import Fault, ProblemResponse, ProblemType
from service.settings import Settings

MAX_URL_BYTES: Final = 8 * 1024
MAX_HEADER_BYTES: Final = 32 * 1024
_MAX_NAME_CHARS: Final = 253
_OWN_SITES: Final = frozenset({"same-origin", "none"})
_FOLLOWING: Final = frozenset({"GET", "HEAD"})
_URL_TOO_LONG: Final = Fault(ProblemType.URL_TOO_LONG, f"A URL may have at most {MAX_URL_BYTES} bytes.")
_HEADERS_TOO_LARGE: Final = Fault(
    ProblemType.HEADERS_TOO_LARGE, f"The headers of a request may have at most {MAX_HEADER_BYTES} bytes in all."
)
_UNKNOWN_HOST: Final = Fault(
    ProblemType.UNKNOWN_HOST,
    "The Host header names a host that this service does not know as its own; whoever runs it can add the name to "
    "CREDENCE_ALLOWED_HOSTS.",
)
_FOREIGN: Final = Fault(
    ProblemType.FOREIGN_ORIGIN,
    "A page of another origin sent this; whoever runs the service can add the origin to CREDENCE_CORS_ORIGINS.",
)


class BrowserGuard:
    """Refuses requests that are too long to be meant, and those that a stranger's page makes."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._origins = frozenset(settings.cors_origins)
        self._names = frozenset({*settings.allowed_hosts, settings.host.lower().rstrip(".")})
        # Where a key is needed no page can do anything without it, whatever name it asks under.
        self._checks_host = bool(settings.allowed_hosts) or not settings.keys_are_required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on, as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fault = self._find_fault(scope)
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await ProblemResponse([fault])(scope, receive, send)

    def _find_fault(self, scope: Scope) -> Fault | None:
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > MAX_URL_BYTES:
            return _URL_TOO_LONG
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            return _HEADERS_TOO_LARGE
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if self._checks_host and (len(hosts) > 1 or not all(self._knows(host) for host in hosts)):
            return _UNKNOWN_HOST
        return _FOREIGN if self._is_foreign(scope["method"], headers) else None

    def _knows(self, host: str) -> bool:
        name = _without_port(host)
        # A page under an address is of whoever has that address; only a name can be turned to another.
        if parse_address(name) is not None or is_loopback(name) or name in self._names:
            return True
        parents = (name[index:] for index, letter in enumerate(name) if letter == ".")
        return len(name) <= _MAX_NAME_CHARS and any(f"*{parent}" in self._names for parent in parents)

    def _is_foreign(self, method: str, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is not None and origin.lower() in self._origins:
            return False
        site = headers.get("sec-fetch-site")
        if site is None:
            return origin is not None and _netloc(origin) != headers.get("host", "").lower()
        if site in _OWN_SITES:
            return False
        # Whoever follows a link to here sees the answer, and the page with the link does not.
        return not (headers.get("sec-fetch-mode") == "navigate" and method in _FOLLOWING)


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _without_port(host: str) -> str:
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")
