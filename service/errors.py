"""From a fault to an RFC 9457 problem: one table of types, and the handlers that use it.

No problem repeats what was sent: details are written here or by the domain errors, never taken from pydantic's input.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

from credence.errors import InvalidTextError, UnknownLanguageError
from service.schemas import REFUSED_VALUE, UNKNOWN_FIELD
from service.store.database import StorageUnavailableError

_LOGGER: Final = logging.getLogger("service")
MAX_REPORTED_FAULTS: Final = 20
STORAGE_RETRY_SECONDS: Final = 5
# Nobody gets it: logs and metrics count by it who went away before the answer, as web servers do.
CLIENT_GONE_STATUS: Final = 499


class ProblemType(Enum):
    """Every kind of problem that the service answers with: slug, HTTP status, title."""

    BODY_TOO_LARGE = ("body-too-large", 413, "The request body is too large")
    UNSUPPORTED_MEDIA_TYPE = ("unsupported-media-type", 415, "The request body is not declared as plain UTF-8 JSON")
    INVALID_ENCODING = ("invalid-encoding", 400, "The request body is not UTF-8")
    INVALID_JSON = ("invalid-json", 400, "The request body is not JSON that can be read")
    MISSING_FIELD = ("missing-field", 422, "A required field is missing")
    UNKNOWN_FIELD = ("unknown-field", 422, "A field is not known")
    INVALID_FIELD = ("invalid-field", 422, "A field has the wrong type or size")
    NO_STATEMENTS = ("no-statements", 422, "The list of statements is empty")
    TOO_MANY_STATEMENTS = ("too-many-statements", 422, "There are too many statements in one request")
    TEXT_EMPTY = ("text-empty", 422, "A text is empty")
    TEXT_TOO_LONG = ("text-too-long", 422, "A text is too long")
    TEXT_CONTROL_CHARACTER = ("text-control-character", 422, "A text holds a control character")
    TEXT_LONE_SURROGATE = ("text-lone-surrogate", 422, "A string holds half of a surrogate pair")
    UNREADABLE_FILE = ("unreadable-file", 422, "The file holds no text that can be read")
    UNKNOWN_LANGUAGE = ("unknown-language", 422, "The language is not one that Credence knows")
    INVALID_HEADER = ("invalid-header", 422, "A header has a value that cannot be used")
    KEY_REUSED = ("idempotency-key-reused", 422, "The idempotency key was used for another request")
    KEY_SPENT = ("idempotency-key-spent", 409, "What was kept under the idempotency key is gone")
    UNSUPPORTED_ROW_FORMAT = ("unsupported-row-format", 415, "The request body is not declared as a format of rows")
    INVALID_ROW_FILE = ("invalid-row-file", 422, "The file of rows cannot be used")
    BODY_INCOMPLETE = ("body-incomplete", 400, "The request body ended too early")
    INSUFFICIENT_STORAGE = ("insufficient-storage", 507, "There is not enough room on the disk")
    BATCH_NOT_ENDED = ("batch-not-ended", 409, "The batch has not ended yet")
    RESULTS_ELSEWHERE = ("results-elsewhere", 409, "The results lie on another machine")
    NOT_ACCEPTABLE = ("not-acceptable", 406, "The answer has none of the formats that are accepted")
    TOO_MANY_BUCKETS = ("too-many-buckets", 422, "There are too many buckets of time")
    NO_SUCH_RECORD = ("no-such-record", 404, "Nothing is kept under this id")
    WEBHOOK_URL = ("webhook-url", 422, "Webhooks cannot go to this URL")
    TOO_MANY_WEBHOOKS = ("too-many-webhooks", 409, "There are as many webhooks as there may be")
    TOO_MANY_STREAMS = ("too-many-streams", 503, "As many clients listen to events as may")
    STORAGE_UNAVAILABLE = ("storage-unavailable", 503, "The database does not answer")
    API_KEY_MISSING = ("api-key-missing", 401, "The request carries no API key")
    API_KEY_INVALID = ("api-key-invalid", 401, "The API key is not one of this service")
    API_KEY_EXPIRED = ("api-key-expired", 401, "The API key has expired")
    API_KEY_REVOKED = ("api-key-revoked", 401, "The API key was revoked")
    SCOPE_MISSING = ("scope-missing", 403, "The API key does not open this")
    FOREIGN_ORIGIN = ("foreign-origin", 403, "The request comes from a page of another site")
    UNKNOWN_HOST = ("unknown-host", 421, "The service is not asked under a name of its own")
    RATE_LIMITED = ("rate-limited", 429, "The caller has asked for too much")
    TOO_MANY_BATCHES = ("too-many-batches", 429, "The caller has too many unfinished batches")
    BODY_TOO_SLOW = ("body-too-slow", 408, "The request body did not arrive in time")
    URL_TOO_LONG = ("url-too-long", 414, "The URL is too long")
    HEADERS_TOO_LARGE = ("headers-too-large", 431, "The request headers are too large")
    TOO_MANY_IN_FLIGHT = ("too-many-in-flight", 429, "As much of one caller waits as may")
    OVERLOADED = ("overloaded", 503, "As much waits to be scored as may")
    DEADLINE_EXCEEDED = ("deadline-exceeded", 503, "There were no scores in time")
    STOPPING = ("stopping", 503, "The service is being stopped")
    NOT_EXCHANGED = ("model-not-exchanged", 409, "No other model took over")
    NOT_FOUND = ("not-found", 404, "There is nothing at this path")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "The path does not take this method")
    NOT_READY = ("not-ready", 503, "The model is not ready yet")
    INTERNAL_ERROR = ("internal-error", 500, "The service failed")

    def __init__(self, slug: str, status: int, title: str) -> None:
        self.slug = slug
        self.status = status
        self.title = title

    @property
    def uri(self) -> str:
        """Return the stable ``type`` of the problem."""
        return f"urn:credence:problem:{self.slug}"


TEXT_PROBLEMS: Final = {
    "empty": ProblemType.TEXT_EMPTY,
    "too_long": ProblemType.TEXT_TOO_LONG,
    "control_character": ProblemType.TEXT_CONTROL_CHARACTER,
    "lone_surrogate": ProblemType.TEXT_LONE_SURROGATE,
}
_PYDANTIC_PROBLEMS: Final = {
    "missing": (ProblemType.MISSING_FIELD, "Add this field."),
    "string_unicode": (ProblemType.TEXT_LONE_SURROGATE, "Write an emoji as itself, or as both halves of its pair."),
    "string_type": (ProblemType.INVALID_FIELD, "This must be a string."),
    "string_too_long": (ProblemType.INVALID_FIELD, "This string is too long; /openapi.json says how long it may be."),
    "uuid_parsing": (ProblemType.INVALID_FIELD, "This must be a UUID, as an answer has named it."),
    "list_type": (ProblemType.INVALID_FIELD, "This must be a list."),
    "model_attributes_type": (ProblemType.INVALID_FIELD, "This must be an object."),
    "too_short": (ProblemType.NO_STATEMENTS, "Send at least one statement."),
}
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HTTP_PROBLEMS: Final = {
    400: (ProblemType.INVALID_JSON, "The JSON is nested too deeply or holds a number with too many digits."),
    404: (ProblemType.NOT_FOUND, "Check the path; /openapi.json lists those that exist."),
    405: (ProblemType.METHOD_NOT_ALLOWED, "The Allow header names the methods that this path takes."),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a request. ``pointer`` is a JSON pointer (RFC 6901) into its body."""

    problem: ProblemType
    detail: str
    pointer: str | None = None


class RefusedRequestError(Exception):
    """A request was well formed, but what it holds cannot be scored; nothing of it was."""

    def __init__(self, faults: Sequence[Fault], *, retry_after_seconds: int | None = None) -> None:
        super().__init__(f"{len(faults)} faults")
        self.faults = faults
        self.headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}


class ClientGoneError(Exception):
    """Whoever asked has closed the connection, so nobody will read an answer."""


class ProblemResponse(JSONResponse):
    """A problem details answer. The first fault gives the type; ``errors`` lists those that have a pointer.

    It lists ``MAX_REPORTED_FAULTS`` at most, and ``more_errors`` counts the rest.
    """

    media_type = "application/problem+json"

    def __init__(self, faults: Sequence[Fault], headers: dict[str, str] | None = None) -> None:
        first = faults[0]
        content: dict[str, Any] = {
            "type": first.problem.uri,
            "title": first.problem.title,
            "status": first.problem.status,
            "detail": first.detail,
        }
        if first.pointer is not None:
            content["pointer"] = first.pointer
            content["errors"] = [
                {"type": fault.problem.uri, "detail": fault.detail, "pointer": fault.pointer}
                for fault in faults[:MAX_REPORTED_FAULTS]
            ]
            if len(faults) > MAX_REPORTED_FAULTS:
                content["more_errors"] = len(faults) - MAX_REPORTED_FAULTS
        super().__init__(content, status_code=first.problem.status, headers=headers)


def text_fault(error: InvalidTextError, pointer: str | None = None) -> Fault:
    """Say which problem an invalid text is."""
    return Fault(TEXT_PROBLEMS[error.kind], error.message, pointer)


def language_fault(error: UnknownLanguageError, pointer: str | None = None) -> Fault:
    """Say which problem an unknown language is."""
    return Fault(ProblemType.UNKNOWN_LANGUAGE, str(error), pointer)


def statements_fault(n_statements: int, max_statements: int) -> Fault:
    """Say that a request holds more statements than it may."""
    detail = f"There are {n_statements} statements and at most {max_statements} may be in one request: send several."
    return Fault(ProblemType.TOO_MANY_STATEMENTS, detail, "/statements")


def missing_record(what: str) -> RefusedRequestError:
    """Return what to raise where nothing is kept under an id."""
    detail = f"No {what} has this id: it was never kept, or it was deleted."
    return RefusedRequestError([Fault(ProblemType.NO_SUCH_RECORD, detail)])


def install_handlers(app: FastAPI, *, max_statements: int) -> None:
    """Make every error that the framework or a route raises a problem."""

    async def answer_refusal(request: Request, error: RefusedRequestError) -> ProblemResponse:
        return ProblemResponse(error.faults, error.headers)

    async def answer_nobody(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=CLIENT_GONE_STATUS)

    async def answer_text(request: Request, error: InvalidTextError) -> ProblemResponse:
        return ProblemResponse([text_fault(error)])

    async def answer_language(request: Request, error: UnknownLanguageError) -> ProblemResponse:
        return ProblemResponse([language_fault(error)])

    async def answer_storage(request: Request, error: StorageUnavailableError) -> ProblemResponse:
        _LOGGER.warning("%s", error)
        reason = str(error)
        advice = "Try again."
        if request.method == "POST":
            advice = "Nothing was kept. Try again, or send store: false to be scored unkept."
        fault = Fault(ProblemType.STORAGE_UNAVAILABLE, f"{reason[:1].upper()}{reason[1:]}. {advice}")
        return ProblemResponse([fault], {"Retry-After": str(STORAGE_RETRY_SECONDS)})

    async def answer_validation(request: Request, error: RequestValidationError) -> ProblemResponse:
        return ProblemResponse([_validation_fault(e, max_statements) for e in error.errors()])

    async def answer_http(request: Request, error: HTTPException) -> ProblemResponse:
        problem, detail = _HTTP_PROBLEMS.get(error.status_code, (ProblemType.INTERNAL_ERROR, "Please report this."))
        headers = dict(error.headers or {})
        if problem is ProblemType.METHOD_NOT_ALLOWED:
            # The framework names those of the first route alone.
            headers["Allow"] = ", ".join(_find_methods(app, request))
        return ProblemResponse([Fault(problem, detail)], headers)

    app.exception_handler(RefusedRequestError)(answer_refusal)
    app.exception_handler(ClientGoneError)(answer_nobody)
    app.exception_handler(InvalidTextError)(answer_text)
    app.exception_handler(UnknownLanguageError)(answer_language)
    app.exception_handler(StorageUnavailableError)(answer_storage)
    app.exception_handler(RequestValidationError)(answer_validation)
    app.exception_handler(HTTPException)(answer_http)


def _find_methods(app: FastAPI, request: Request) -> list[str]:
    scope = dict(request.scope)
    return [m for m in _METHODS if any(r.matches(scope | {"method": m})[0] is Match.FULL for r in app.routes)]


def _validation_fault(error: dict[str, Any], max_statements: int) -> Fault:
    kind, location = error["type"], error["loc"][1:]
    if kind == "json_invalid":
        return Fault(ProblemType.INVALID_JSON, f"The body stops being JSON at character {location[0]}.")
    if kind == "missing" and not location:
        return Fault(ProblemType.INVALID_JSON, "The body is empty; send a JSON object.")
    if kind == "too_long":
        return statements_fault(error["ctx"]["actual_length"], max_statements)
    pointer = "".join(f"/{step}" for step in location)
    if kind == UNKNOWN_FIELD:
        return Fault(ProblemType.UNKNOWN_FIELD, f"Only these fields are known here: {error['ctx']['known']}.", pointer)
    if kind == REFUSED_VALUE:
        return Fault(ProblemType.INVALID_FIELD, error["msg"], pointer)
    problem, detail = _PYDANTIC_PROBLEMS.get(kind, (ProblemType.INVALID_FIELD, "/openapi.json says what this may be."))
    return Fault(problem, detail, pointer)
