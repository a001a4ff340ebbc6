"""What the OpenAPI document says beyond what the framework derives: problems, and examples of answers."""

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from service.errors import ProblemResponse, ProblemType
from service.examples import document_answers, score_answers
from service.schemas import DocumentRequest, Problem, ScoreRequest, StatementRequest
from service.settings import Settings

BODY_PROBLEMS: Final = (
    ProblemType.INVALID_JSON,
    ProblemType.INVALID_ENCODING,
    ProblemType.BODY_TOO_LARGE,
    ProblemType.UNSUPPORTED_MEDIA_TYPE,
    ProblemType.MISSING_FIELD,
    ProblemType.UNKNOWN_FIELD,
    ProblemType.INVALID_FIELD,
    ProblemType.TEXT_EMPTY,
    ProblemType.TEXT_TOO_LONG,
    ProblemType.TEXT_CONTROL_CHARACTER,
    ProblemType.TEXT_LONE_SURROGATE,
    ProblemType.UNKNOWN_LANGUAGE,
    ProblemType.INTERNAL_ERROR,
)
KEEPING_PROBLEMS: Final = (
    ProblemType.INVALID_HEADER,
    ProblemType.KEY_REUSED,
    ProblemType.KEY_SPENT,
    ProblemType.STORAGE_UNAVAILABLE,
)
WAITING_PROBLEMS: Final = (
    ProblemType.TOO_MANY_IN_FLIGHT,
    ProblemType.OVERLOADED,
    ProblemType.DEADLINE_EXCEEDED,
    ProblemType.STOPPING,
)
_SCHEMA_PREFIX: Final = "#/components/schemas/"


def problem_responses(*problems: ProblemType) -> dict[int | str, dict[str, Any]]:
    """Describe the error answers of a route: one entry a status, which lists its types."""
    responses: dict[int | str, dict[str, Any]] = {}
    for problem in problems:
        response = responses.setdefault(problem.status, _empty_response())
        response["description"] += f"- `{problem.uri}`: {problem.title}.\n"
        examples = response["content"][ProblemResponse.media_type]["examples"]
        examples[problem.slug] = {"value": _example(problem)}
    return responses


def complete_description(document: dict[str, Any], settings: Settings) -> None:
    """Add to an OpenAPI document the limits in force, the schemas of problems, and the answers' examples.

    The framework would drop every null from an example, and with it required fields of an answer.
    """
    _, schema = models_json_schema([(Problem, "serialization")], ref_template=f"{_SCHEMA_PREFIX}{{model}}")
    document["components"]["schemas"].update(schema["$defs"])
    _state_limits(document["components"]["schemas"], settings)
    for path, examples in (("/v1/score", score_answers()), ("/v1/documents", document_answers())):
        answer = document["paths"][path]["post"]["responses"]["200"]
        answer["content"]["application/json"]["examples"] = examples


def _state_limits(schemas: dict[str, Any], settings: Settings) -> None:
    schemas[ScoreRequest.__name__]["properties"]["statements"]["maxItems"] = settings.max_statements
    schemas[StatementRequest.__name__]["properties"]["text"]["maxLength"] = settings.max_statement_chars
    schemas[DocumentRequest.__name__]["properties"]["text"]["maxLength"] = settings.max_document_chars


def _empty_response() -> dict[str, Any]:
    content = {"schema": {"$ref": f"{_SCHEMA_PREFIX}{Problem.__name__}"}, "examples": {}}
    return {"description": "", "content": {ProblemResponse.media_type: content}}


def _example(problem: ProblemType) -> dict[str, Any]:
    return {
        "type": problem.uri,
        "title": problem.title,
        "status": problem.status,
        "detail": "What was found and what to do, never the text.",
    }
