"""What the OpenAPI document says of the door: keys, scopes, limits and the problems that they give."""

from typing import Any, Final

from service.api_description import problem_responses
from service.door.scope_table import find_rule
from service.errors import ProblemType
from service.settings import Settings

_SCHEME: Final = "apiKey"
_TO_ALL: Final = (
    ProblemType.FOREIGN_ORIGIN,
    ProblemType.UNKNOWN_HOST,
    ProblemType.URL_TOO_LONG,
    ProblemType.HEADERS_TOO_LARGE,
)
_TO_CALLERS: Final = (
    ProblemType.API_KEY_MISSING,
    ProblemType.API_KEY_INVALID,
    ProblemType.API_KEY_EXPIRED,
    ProblemType.API_KEY_REVOKED,
    ProblemType.SCOPE_MISSING,
    ProblemType.RATE_LIMITED,
    ProblemType.STORAGE_UNAVAILABLE,
)
_RETRY: Final = {"Retry-After": {"description": "After how many seconds there is more.", "schema": {"type": "integer"}}}


def describe_door(document: dict[str, Any], settings: Settings) -> None:
    """Add to an OpenAPI document how callers show who they are, and which scope each operation needs."""
    document["components"]["securitySchemes"] = {
        _SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "description": "A key that `credence keys create` has made. The scopes are score, read, feedback, admin.",
        }
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _describe(operation, method.upper(), path, keys_are_required=settings.keys_are_required)


def _describe(operation: dict[str, Any], method: str, path: str, *, keys_are_required: bool) -> None:
    rule = find_rule(method, path)
    _add_problems(operation["responses"], *_TO_ALL)
    if "requestBody" in operation:
        _add_problems(operation["responses"], ProblemType.BODY_TOO_SLOW)
    if rule is None or rule.scope is None:
        return
    _add_problems(operation["responses"], *_TO_CALLERS)
    operation["responses"][str(ProblemType.RATE_LIMITED.status)]["headers"] = _RETRY
    needed: list[dict[str, list[str]]] = [{_SCHEME: [rule.scope.value]}]
    operation["security"] = needed if keys_are_required else [{}, *needed]


def _add_problems(responses: dict[str, Any], *problems: ProblemType) -> None:
    for status, added in problem_responses(*problems).items():
        described = responses.setdefault(str(status), {"description": "", "content": {}})
        for media_type, content in added["content"].items():
            known = described["content"].setdefault(media_type, {**content, "examples": {}})["examples"]
            new = {slug: example for slug, example in content["examples"].items() if slug not in known}
            known.update(new)
        lines = added["description"].splitlines(keepends=True)
        described["description"] += "".join(line for line in lines if line not in described["description"])
