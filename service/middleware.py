"""What stands before the routes, as plain ASGI: a guard of the body, and a log that never says what was sent."""

import logging
import time
from dataclasses import dataclass, field
from email.message import Message as MailMessage
from typing import Final
from uuid import UUID, uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import CLIENT_GONE_STATUS, Fault, ProblemResponse, ProblemType
from service.log_lines import name_frames
from service.metrics import Metrics, to_method_label
from service.tracing import Tracing

REQUEST_ID_KEY: Final = "request_id"
FACTS_KEY: Final = "request_facts"
NO_ROUTE: Final = "(no route)"
# Asked every few seconds for as long as the service runs.
_PROBES: Final = frozenset({"/livez", "/readyz", "/metrics"})
_LOGGER: Final = logging.getLogger("service")
_IDENTITY: Final = frozenset({"", "identity"})
_UTF8: Final = frozenset({"", "utf-8", "utf8"})
_MAX_LENGTH_DIGITS: Final = 18


class BodyGuard:
    """Lets only bodies through that are small enough, declared as JSON and UTF-8; a too large one is never held.

    ``streamed`` are methods and paths whose routes read the body piece by piece and guard it themselves, ``files``
    those that take a file of any kind.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_body_bytes: int,
        streamed: frozenset[tuple[str, str]] = frozenset(),
        files: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._streamed = streamed
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on, as ASGI asks."""
        if scope["type"] != "http" or (scope["method"], scope["path"]) in self._streamed:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        fault = self._find_declared_fault(headers)
        if fault is None:
            body = await self._read(receive)
            is_file = (scope["method"], scope["path"]) in self._files
            fault = self._too_large() if body is None else None if is_file else _find_body_fault(headers, body)
        if fault is not None:
            await ProblemResponse([fault])(scope, receive, send)
        elif body is not None:
            await self._app(scope, _replay(body, receive), send)

    def _find_declared_fault(self, headers: Headers) -> Fault | None:
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and (len(declared) > _MAX_LENGTH_DIGITS or int(declared) > self._max_body_bytes):
            return self._too_large()
        return None

    async def _read(self, receive: Receive) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > self._max_body_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Fault:
        return Fault(ProblemType.BODY_TOO_LARGE, f"A body may have at most {self._max_body_bytes} bytes.")


@dataclass(slots=True)
class RequestFacts:
    """What the log and the header ``Server-Timing`` say about a request; a route that scores fills it in.

    ``stages`` are seconds by name.
    """

    n_statements: int | None = None
    model_version: str | None = None
    stages: dict[str, float] = field(default_factory=dict)

    def add_stage(self, name: str, seconds: float) -> None:
        """Add to the time of a stage."""
        self.stages[name] = self.stages.get(name, 0.0) + seconds


class RequestLog:
    """Logs and counts each request by route, status and time, and turns an unexpected exception into a bare problem.

    Neither the path as sent nor an exception's message is logged: both can hold a piece of a text.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, tracing: Tracing | None = None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        statuses: list[int] = []
        request_id, facts = uuid4(), RequestFacts()
        scope.setdefault("state", {}).update({REQUEST_ID_KEY: request_id, FACTS_KEY: facts})

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = str(request_id)
                if facts.stages:
                    headers["Server-Timing"] = ", ".join(f"{s};dur={t * 1000:.1f}" for s, t in facts.stages.items())
            await send(message)

        self._metrics.in_progress.inc()
        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            log_unexpected(error, request_id)
            if not statuses:
                fault = Fault(ProblemType.INTERNAL_ERROR, "The fault is logged without your text; please report it.")
                await ProblemResponse([fault])(scope, receive, watch)
        finally:
            self._metrics.in_progress.dec()
            status = statuses[0] if statuses else CLIENT_GONE_STATUS
            self._note(scope, status, time.perf_counter() - started, facts, request_id)

    def _note(self, scope: Scope, status: int, seconds: float, facts: RequestFacts, request_id: UUID) -> None:
        method, route = to_method_label(scope["method"]), getattr(scope.get("route"), "path", NO_ROUTE)
        self._metrics.observe_request(method, route, status, seconds)
        fields = {
            "request_id": str(request_id),
            "method": method,
            "route": route,
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
            "n_statements": facts.n_statements,
            "model_version": facts.model_version,
        }
        level = logging.DEBUG if route in _PROBES else logging.INFO
        known = {name: value for name, value in fields.items() if value is not None}
        _LOGGER.log(level, "request", extra=known)
        if self._tracing is not None and route not in _PROBES:
            self._tracing.record(Headers(scope=scope), known, facts.stages, ended_ns=time.time_ns())


async def get_request_id(request: Request) -> UUID:
    """Return the id that the log gave to a request."""
    request_id: UUID = getattr(request.state, REQUEST_ID_KEY)
    return request_id


def log_unexpected(error: BaseException, request_id: UUID | None = None) -> None:
    """Log the kind of an exception and where it came from, without its message, which can quote a text."""
    fields = {} if request_id is None else {"request_id": str(request_id)}
    _LOGGER.error("unexpected %s at %s", type(error).__name__, name_frames(error), extra=fields)


def _find_body_fault(headers: Headers, body: bytes) -> Fault | None:
    if not body:
        return None
    declared = MailMessage()
    declared["content-type"] = headers.get("content-type", "text/plain")
    kind, charset = declared.get_content_type(), str(declared.get_param("charset", "")).lower()
    if kind != "application/json":
        return Fault(ProblemType.UNSUPPORTED_MEDIA_TYPE, "Send the header Content-Type: application/json.")
    if charset not in _UTF8 or headers.get("content-encoding", "").lower() not in _IDENTITY:
        return Fault(ProblemType.UNSUPPORTED_MEDIA_TYPE, "Send JSON in UTF-8 and uncompressed, and declare it so.")
    if b"\0" in body[:4]:
        return Fault(ProblemType.INVALID_ENCODING, "The body looks like UTF-16 or UTF-32; send it in UTF-8.")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return Fault(ProblemType.INVALID_ENCODING, f"Byte {error.start} of the body is not UTF-8; convert it to UTF-8.")
    return None


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed
