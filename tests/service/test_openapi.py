from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel

from service.app import create_app
from service.errors import ProblemType
from service.models.source import ServedModel
from service.perspective.errors import PERSPECTIVE_ROOT
from service.schemas import DocumentAnswer, ScoreAnswer
from service.settings import Settings
from service.store.database import Database

ANSWERS: dict[str, type[BaseModel]] = {"/v1/score": ScoreAnswer, "/v1/documents": DocumentAnswer}


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    description: dict[str, Any] = client.get("/openapi.json").json()
    return description


@pytest.mark.parametrize("path", ANSWERS)
def test_the_example_requests_are_answered(client: TestClient, document: dict[str, Any], path: str) -> None:
    examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert list(examples) == ["en", "uk", "ru"]
    for example in examples.values():
        assert client.post(path, json=example["value"]).status_code == 200


@pytest.mark.parametrize("path", ANSWERS)
def test_the_example_answers_have_the_shape_of_answers(document: dict[str, Any], path: str) -> None:
    content = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]
    assert list(content["examples"]) == ["en", "uk", "ru"]
    for example in content["examples"].values():
        assert ANSWERS[path].model_validate(example["value"]).model_dump(mode="json") == example["value"]


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        # What is like the Perspective API has its errors, too.
        expected = "application/json" if path.startswith(PERSPECTIVE_ROOT) else "application/problem+json"
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == [expected]


def test_every_type_of_problem_of_a_route_is_documented(document: dict[str, Any]) -> None:
    text = str(document)
    of_the_framework = {ProblemType.NOT_FOUND, ProblemType.METHOD_NOT_ALLOWED}
    assert not [problem for problem in set(ProblemType) - of_the_framework if problem.uri not in text]


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    schemas = document["components"]["schemas"]
    assert {reference.rsplit("/")[-1] for reference in references(document)} <= set(schemas)


def test_the_limits_in_force_are_stated(served_model: ServedModel, database: Database) -> None:
    settings = Settings(max_statements=7, max_statement_chars=80, max_document_chars=900)
    document = create_app(settings, served_model, database).openapi()
    schemas = document["components"]["schemas"]
    assert schemas["ScoreRequest"]["properties"]["statements"]["maxItems"] == 7
    assert schemas["StatementRequest"]["properties"]["text"]["maxLength"] == 80
    assert schemas["DocumentRequest"]["properties"]["text"]["maxLength"] == 900
    assert "1 to 7 statements" in document["paths"]["/v1/score"]["post"]["description"]
    assert "256" not in str(document["paths"])


def test_no_page_loads_anything_from_elsewhere(client: TestClient) -> None:
    assert [client.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]
