"""A real HTTP server on the loopback, which answers as it is told and remembers what it got."""

import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# A certificate that names hooks.test, and its key: both are for tests alone, and nothing else trusts them.
PEM = Path(__file__).with_name("hooks_test.pem")


@dataclass(frozen=True)
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(ThreadingHTTPServer):
    """``answers`` are used up one a request: a status, or something that answers by hand. Then all is well."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0, *, is_tls: bool = False) -> None:
        super().__init__((host, port), Handler)
        if is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(PEM)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.received: list[Received] = []
        self.answers: deque[int | Callable[[Handler], None]] = deque()
        self.answer_headers: dict[str, str] = {}
        self.has_ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?token=t0ken"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet: whoever breaks off is meant to."""


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        answer = self.server.answers.popleft() if self.server.answers else 204
        if callable(answer):
            answer(self)
            return
        self.send_response(answer)
        for name, value in self.server.answer_headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def answer_raw(handler: Handler, text: str) -> None:
    handler.close_connection = True
    handler.wfile.write(text.encode())


@contextmanager
def receiving(**options: Any) -> Iterator[Receiver]:
    with Receiver(**options) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.has_ended.set()
            receiver.shutdown()
            thread.join()
