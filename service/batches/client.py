"""Talks to the batches of a service over HTTP, and tries again where the connection or the service is away."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from urllib.parse import urlsplit

from credence.errors import CredenceError
from service.commands.arguments import CommandError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_KEY_STATUS: Final = 401
_BUSY_STATUSES: Final = frozenset({429, 502, 503, 504})
_FIRST_PAUSE_SECONDS: Final = 1.0
_MAX_PAUSE_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 10.0
# A large file is checked and made safe on disk before there is an answer.
_READ_SECONDS: Final = 300.0
_BLOCK_BYTES: Final = 256 * 1024


class ServiceError(CredenceError):
    """A service refused what was asked, or cannot be reached; the message says why."""


class BatchClient:
    """The batches of one service. Every method raises ``ServiceError``."""

    def __init__(
        self,
        server: str,
        *,
        api_key: str | None = None,
        patience_seconds: float = 600.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare connections without making one. Raises ``CommandError`` for an address that cannot be used."""
        from urllib3 import PoolManager, Timeout

        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise CommandError("--server takes the address of a service, such as http://127.0.0.1:8000")
        self._server = server.rstrip("/")
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._patience_seconds = patience_seconds
        self._pause = pause
        self._pool = PoolManager(timeout=Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS), retries=False)

    def url_of(self, path: str) -> str:
        """Return the whole address of a path."""
        return f"{self._server}{path}"

    def upload(self, path: Path, *, media_type: str, key: str, store: bool | None) -> dict[str, Any]:
        """Send a file as a stream, and return its batch. However often it is sent, there is one batch for the key."""
        headers = {"Content-Type": media_type, "Content-Length": str(path.stat().st_size), "Idempotency-Key": key}
        query = "" if store is None else f"?store={str(store).lower()}"

        def send() -> "BaseHTTPResponse":
            with path.open("rb") as file:
                return self._request("POST", f"/v1/batches{query}", body=file, headers=headers)

        return _to_object(self._try(send))

    def read(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return how a batch stands."""
        return _to_object(self._try(lambda: self._request("GET", batch["url"])))

    def cancel(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Ask once that a batch be cancelled, and return how it stands then."""
        return _to_object(self._try(lambda: self._request("POST", batch["cancel_url"]), patience_seconds=0.0))

    def download(self, batch: dict[str, Any], file_format: str, file: BinaryIO) -> None:
        """Write the results of a batch into a file, all of them."""

        def fetch() -> "BaseHTTPResponse":
            file.seek(0)
            file.truncate()
            path = f"{batch['results_url']}?format={file_format}"
            response = self._request("GET", path, preload_content=False)
            if response.status == 200:
                for block in response.stream(_BLOCK_BYTES):
                    file.write(block)
            else:
                response.read()
            response.release_conn()
            return response

        self._try(fetch)

    def _request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **rest: Any
    ) -> "BaseHTTPResponse":
        all_headers = self._headers | (headers or {})
        return self._pool.request(method, self.url_of(path), headers=all_headers, redirect=False, **rest)

    def _try(
        self, ask: "Callable[[], BaseHTTPResponse]", *, patience_seconds: float | None = None
    ) -> "BaseHTTPResponse":
        """Ask until there is an answer that is not of a service that is away or busy, or patience runs out."""
        from urllib3.exceptions import HTTPError

        left = self._patience_seconds if patience_seconds is None else patience_seconds
        pause_seconds = _FIRST_PAUSE_SECONDS
        while True:
            try:
                response = ask()
            except HTTPError as error:
                fault, wanted = f"no connection to {self._server} ({type(error).__name__})", 0.0
            else:
                if response.status < 300:
                    return response
                if response.status not in _BUSY_STATUSES:
                    raise ServiceError(f"the service refused: {_describe(response)}")
                fault, wanted = f"the service is busy: {_describe(response)}", _read_pause(response)
            seconds = max(wanted, pause_seconds)
            if left < seconds:
                raise ServiceError(fault)
            self._pause(seconds)
            left -= seconds
            pause_seconds = min(2 * pause_seconds, _MAX_PAUSE_SECONDS)


def _read_pause(response: "BaseHTTPResponse") -> float:
    written = response.headers.get("Retry-After", "")
    return float(written) if written.isdecimal() and len(written) < 6 else 0.0


def _describe(response: "BaseHTTPResponse") -> str:
    try:
        detail = str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"it answers with status {response.status}; is this the address of a Credence service?"
    return f"{detail} Name the key in CREDENCE_API_KEY." if response.status == _KEY_STATUS else detail


def _to_object(response: "BaseHTTPResponse") -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict) or not {"url", "state"} <= found.keys():
        raise ServiceError("the answer is not one of a Credence service; check the address")
    return found
