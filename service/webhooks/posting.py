"""Posts to a webhook, to exactly the address that was checked, and says what came of it.

Nothing of an answer is kept, no redirect is followed, and no proxy that the environment may name is used.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from threading import Event, Lock, Timer
from typing import Final

from service.webhooks.addresses import Target, WebhookUrlError, find_address_fault, resolve_host

TIMEOUT_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_ADDRESSES: Final = 4
_GONE: Final = 410
_MAX_RETRY_AFTER_DIGITS: Final = 6


class PostingClosedError(Exception):
    """The poster was closed while it was posting; whether the receiver has got anything is not known."""


@dataclass(frozen=True, slots=True)
class PostOutcome:
    """What came of a post. ``fault`` is null where it arrived; ``retry_after_seconds`` is what the receiver asks for.

    ``is_gone`` where the receiver wants no more posts, ever.
    """

    fault: str | None
    is_gone: bool = False
    retry_after_seconds: int = 0


class WebhookPoster:
    """Posts in whatever thread. A post takes ``timeout_seconds`` at most, beside the time to resolve the host."""

    def __init__(
        self,
        *,
        allow_private: bool,
        resolve: Callable[[str, int], list[str]] = resolve_host,
        timeout_seconds: float = TIMEOUT_SECONDS,
        trusted_certificates: str | None = None,
    ) -> None:
        """Prepare. ``trusted_certificates`` in PEM replace those that the machine trusts."""
        self._allow_private = allow_private
        self._resolve = resolve
        self._timeout_seconds = timeout_seconds
        self._trusted_certificates = trusted_certificates
        self._open: set[socket.socket] = set()
        self._lock = Lock()
        self._is_closed = False

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> PostOutcome:
        """Post a body. Raises ``PostingClosedError``."""
        if self._is_closed:
            raise PostingClosedError
        try:
            target = Target.from_url(url)
            addresses = self._resolve(target.host, target.port)
        except (OSError, UnicodeError, WebhookUrlError):
            return PostOutcome("the host has no address")
        if fault := find_address_fault(addresses, target.scheme, self._allow_private):
            return PostOutcome(fault)
        try:
            return self._post_to(target, addresses[:MAX_ADDRESSES], headers, body)
        except (OSError, http.client.HTTPException) as error:
            if self._is_closed:
                raise PostingClosedError from None
            return PostOutcome(self._describe(error))

    def close(self) -> None:
        """Break off every post."""
        with self._lock:
            self._is_closed = True
            for connection in self._open:
                _break_off(connection)

    def _post_to(
        self, target: Target, addresses: Sequence[str], headers: Mapping[str, str], body: bytes
    ) -> PostOutcome:
        deadline = time.monotonic() + self._timeout_seconds
        connection = _connect(addresses, target.port, deadline)
        if target.scheme == "https":
            connection = self._tls.wrap_socket(
                connection, server_hostname=target.host.rstrip("."), do_handshake_on_connect=False
            )
        exchange = http.client.HTTPConnection(target.host, target.port)
        with self._watched(connection, deadline) as is_late, closing(exchange):
            if isinstance(connection, ssl.SSLSocket):
                connection.do_handshake()
            exchange.sock = connection
            exchange.request("POST", target.path, body, {**headers, "Host": target.authority, "Connection": "close"})
            answer = exchange.getresponse()
            if is_late.is_set():
                # The end of the connection looks like the end of the headers.
                raise TimeoutError
            # What came of it is known by now, whatever happens to the rest.
            with suppress(OSError, http.client.HTTPException):
                answer.read(MAX_ANSWER_BYTES)
            return _judge(answer)

    @contextmanager
    def _watched(self, connection: socket.socket, deadline: float) -> Iterator[Event]:
        # The timeout of a socket starts again with every byte; this one does not.
        is_late = Event()

        def break_off_late() -> None:
            is_late.set()
            _break_off(connection)

        timer = Timer(max(0.0, deadline - time.monotonic()), break_off_late)
        with self._lock:
            self._open.add(connection)
            if self._is_closed:
                _break_off(connection)
        timer.start()
        try:
            yield is_late
        except (OSError, http.client.HTTPException) as error:
            raise (TimeoutError() if is_late.is_set() else error) from None
        finally:
            timer.cancel()
            timer.join()
            with self._lock:
                self._open.discard(connection)
            connection.close()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self._trusted_certificates)

    def _describe(self, error: OSError | http.client.HTTPException) -> str:
        for kind, words in _FAULTS:
            if isinstance(error, kind):
                return words.format(seconds=self._timeout_seconds)
        return "no connection to the host"


_FAULTS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (TimeoutError, "no answer within {seconds:g} seconds"),
    (ssl.SSLCertVerificationError, "the host has no certificate that is valid and trusted"),
    (ssl.SSLError, "no TLS connection to the host"),
    (ConnectionRefusedError, "the host refuses the connection"),
    (ConnectionError, "the host closed the connection without an answer"),
    (http.client.HTTPException, "the host does not answer in HTTP"),
)


def _connect(addresses: Sequence[str], port: int, deadline: float) -> socket.socket:
    fault: OSError = TimeoutError()
    for n_tried, address in enumerate(addresses):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        try:
            # One that does not answer leaves time for the others.
            connection = socket.create_connection((address, port), timeout=remaining / (len(addresses) - n_tried))
            connection.settimeout(remaining)
            return connection
        except OSError as error:
            fault = error
    raise fault


def _break_off(connection: socket.socket) -> None:
    # Not by the method of a TLS socket, which would not wake the thread that reads from it.
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _judge(answer: http.client.HTTPResponse) -> PostOutcome:
    if 200 <= answer.status < 300:
        return PostOutcome(None)
    if 300 <= answer.status < 400:
        return PostOutcome(f"the answer was a redirect ({answer.status}), which is not followed")
    asked = answer.headers.get("Retry-After", "")
    is_number = asked.isascii() and asked.isdecimal() and len(asked) <= _MAX_RETRY_AFTER_DIGITS
    return PostOutcome(
        f"the answer had status {answer.status}",
        is_gone=answer.status == _GONE,
        retry_after_seconds=int(asked) if is_number else 0,
    )
