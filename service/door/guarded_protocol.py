"""The server's side of a connection, which gives up on a client whose request line and headers are endless or slow.

The server itself has no bound for either: it would hold a client's headers, and its place, for as long as they come.
"""

from asyncio import BaseTransport, TimerHandle, Transport
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# The application has a lower bound, and answers with a problem; this one keeps the memory safe.
MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_SECONDS: Final = 20.0
_REFUSAL: Final = b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_LARGE: Final = b"431 Request Header Fields Too Large"
_TOO_SLOW: Final = b"408 Request Timeout"


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection on which no request has begun to be answered for too long."""

    head_seconds = HEAD_SECONDS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head_timer: TimerHandle | None = None
        self._is_in_head = False
        self._n_head_bytes = 0

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin to wait for a request."""
        # Not an instance of that class under every event loop.
        super().connection_made(cast(Transport, transport))
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and count what belongs to a request line and headers that go on over several parts."""
        was_in_head = self._is_in_head
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_in_head and was_in_head:
            self._n_head_bytes += len(data)
            if self._n_head_bytes > MAX_HEAD_BYTES:
                self._refuse(_TOO_LARGE)
        if self.cycle is None or self.cycle.response_complete:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Count anew."""
        self._is_in_head = True
        self._n_head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Leave the rest to the application, which has its own patience with a body."""
        self._is_in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up(self) -> None:
        self._head_timer = None
        if self._is_in_head:
            self._refuse(_TOO_SLOW)
        else:
            self.transport.close()

    def _refuse(self, status: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(_REFUSAL % status)
            self.transport.close()
