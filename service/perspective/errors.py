"""Errors in the shape of Google's APIs, for the two paths that are like the Perspective API."""

import json
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI, Request
from pydantic.json_schema import models_json_schema
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import ProblemResponse, ProblemType
from service.perspective.schemas import FIELD_NAMES, GoogleError

PERSPECTIVE_ROOT: Final = "/v1alpha1/"
INVALID_ARGUMENT: Final = "INVALID_ARGUMENT"
_ERROR_KIND: Final = "type.googleapis.com/google.commentanalyzer.v1alpha1.Error"
_INFO_KIND: Final = "type.googleapis.com/google.rpc.ErrorInfo"
_FIELDS_KIND: Final = "type.googleapis.com/google.rpc.BadRequest"
_FIRST_ERROR: Final = 400
_INVALID: Final = 400
# What such an API calls an invalid request, in numbers and in words.
_CODES: Final = {422: _INVALID}
_STATUSES: Final = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_ERROR_TYPES: Final = {ProblemType.TEXT_EMPTY.uri: "COMMENT_EMPTY", ProblemType.TEXT_TOO_LONG.uri: "COMMENT_TOO_LONG"}
_OTHER_TYPE: Final = "INVALID_REQUEST"
# Where the words of a problem would lead astray here.
_MESSAGES: Final = {
    ProblemType.API_KEY_MISSING.uri: "Send a key of this service as ?key=, or as the header Authorization: Bearer.",
    ProblemType.STORAGE_UNAVAILABLE.uri: "The database does not answer, so nothing was kept. Try again.",
}
# The fields that a comment is kept in have other names than those in which it is sent.
_POINTERS: Final = {
    "/text": "comment.text",
    "/id": "clientToken",
    "/source": "communityId",
    "/language": "languages",
}


class CommentRefusedError(Exception):
    """A comment cannot be scored, or a suggestion not kept; the message and the details repeat nothing of it."""

    def __init__(
        self,
        message: str,
        error_type: str = _OTHER_TYPE,
        *,
        code: int = _INVALID,
        status: str = INVALID_ARGUMENT,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        detail = {"@type": _ERROR_KIND, "errorType": error_type, **(more or {})}
        self.code = code
        self.content = {"error": {"code": code, "message": message, "status": status, "details": [detail]}}


class GoogleErrors:
    """Turns problems into errors of that shape, wherever they come from. Plain ASGI.

    Tools that send JSON without saying so are heard too: a browser always says what it sends.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI asks."""
        if scope["type"] != "http" or not scope["path"].startswith(PERSPECTIVE_ROOT):
            await self._app(scope, receive, send)
            return
        if "content-type" not in Headers(scope=scope):
            scope = {**scope, "headers": [*scope["headers"], (b"content-type", b"application/json")]}
        await self._app(scope, receive, _Translation(send))


class _Translation:
    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if Headers(raw=message["headers"]).get("content-type") == ProblemResponse.media_type:
                self._held = message
                return
        elif self._held is not None:
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            message = {"type": "http.response.body", "body": self._translate(self._held)}
            await self._send(self._held)
        await self._send(message)

    def _translate(self, start: Message) -> bytes:
        content = translate(json.loads(self._body))
        body = json.dumps(content, ensure_ascii=False).encode()
        headers = MutableHeaders(raw=list(start["headers"]))
        headers["content-type"] = JSONResponse.media_type or ""
        headers["content-length"] = str(len(body))
        start.update(status=content["error"]["code"], headers=headers.raw)
        return body


def translate(problem: Mapping[str, Any]) -> dict[str, Any]:
    """Return the error that says the same as a problem."""
    code = _CODES.get(problem["status"], problem["status"])
    kind = problem["type"]
    reason = str(kind).rpartition(":")[2].replace("-", "_").upper()
    details: list[dict[str, Any]] = []
    if code == _INVALID:
        details.append({"@type": _ERROR_KIND, "errorType": _ERROR_TYPES.get(kind, _OTHER_TYPE)})
    details.append({"@type": _INFO_KIND, "reason": reason, "domain": "credence"})
    violations = [
        {"field": name_field(error["pointer"]), "description": error["detail"]} for error in problem.get("errors", ())
    ]
    if violations:
        details.append({"@type": _FIELDS_KIND, "fieldViolations": violations})
    message = _MESSAGES.get(kind, problem["detail"])
    status = _STATUSES.get(code, INVALID_ARGUMENT)
    return {"error": {"code": code, "message": message, "status": status, "details": details}}


def name_field(pointer: str) -> str:
    """Return the field that a pointer leads to, in that API's words."""
    if pointer in _POINTERS:
        return _POINTERS[pointer]
    # A step that is no field is an attribute, and that is a word of the caller's.
    steps = (step for step in pointer.split("/") if step)
    return ".".join(step if step in FIELD_NAMES or step.isdecimal() else "*" for step in steps)


def install_google_errors(app: FastAPI) -> None:
    """Have the errors of those paths answered in that shape; call it when everything else is installed."""

    async def answer_refusal(request: Request, error: CommentRefusedError) -> JSONResponse:
        return JSONResponse(error.content, status_code=error.code)

    app.exception_handler(CommentRefusedError)(answer_refusal)
    app.add_middleware(GoogleErrors)


def describe_google_errors(document: dict[str, Any]) -> None:
    """Say in an OpenAPI document what errors of those paths look like, and that a key may stand in the query."""
    scheme = "keyInQuery"
    document["components"]["securitySchemes"][scheme] = {"type": "apiKey", "in": "query", "name": "key"}
    prefix = "#/components/schemas/"
    _, schema = models_json_schema([(GoogleError, "serialization")], ref_template=f"{prefix}{{model}}")
    document["components"]["schemas"].update(schema["$defs"])
    content = {JSONResponse.media_type: {"schema": {"$ref": f"{prefix}{GoogleError.__name__}"}}}
    operations = [
        operation
        for path, found in document["paths"].items()
        if path.startswith(PERSPECTIVE_ROOT)
        for operation in found.values()
    ]
    for operation in operations:
        operation["security"].append({scheme: []})
        described: dict[str, Any] = {}
        for status, response in operation["responses"].items():
            if int(status) < _FIRST_ERROR:
                described[status] = response
                continue
            code = str(_CODES.get(int(status), int(status)))
            text = described.get(code, {}).get("description", "") + response["description"]
            described[code] = {**response, **described.get(code, {}), "description": text, "content": content}
        operation["responses"] = described
