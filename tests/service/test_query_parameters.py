from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from service.errors import ProblemType

TEXT = "The court met on Monday."
CANARY = "CANARY-7f3a"
ODD_VALUES = [
    ("since", "2025-12-31T00:00:00"),
    ("since", "2025-12-31"),
    ("since", "1772323200"),
    ("since", "2025-12-31T00:00:00 02:00"),
    ("since", "99999-01-01T00:00:00Z"),
    ("until", "0001-01-01T00:00:00+14:00"),
    ("until", "9999-12-31T23:59:59-14:00"),
    ("label", "not_a_claim"),
    ("reason", "none"),
    ("language", "de"),
    ("source", "a\0b"),
    ("author", "x" * 5_000),
    ("document_id", "x" * 201),
    ("model_version", "1\0"),
    ("batch_id", "not-a-uuid"),
    ("min_confidence", "nan"),
    ("max_confidence", "inf"),
    ("min_confidence", "-0.1"),
    ("is_disputed", "perhaps"),
    ("limit", "0"),
    ("limit", "1001"),
    ("limit", "9" * 30),
    ("cursor", "0"),
    ("cursor", "9" * 19),
    ("cursor", "abc"),
    ("format", "xml"),
]
MEANT_VALUES = [
    {"since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:59:59.999999Z"},
    {"since": "2026-03-01T00:00:00Z", "until": "2026-03-01T00:00:00Z"},
    {"source": "😀\n\t'\"; DROP TABLE scores --"},
    {"source": "%_"},
    {"label": "", "source": "", "min_confidence": "", "limit": "", "cursor": ""},
    {"min_confidence": "0.3", "max_confidence": "0.3"},
    {"batch_id": str(uuid4())},
    {"is_disputed": "true"},
    {"cursor": "9" * 18},
]


@pytest.mark.on_both_databases
def test_an_odd_value_of_a_parameter_is_a_problem(client: TestClient) -> None:
    for name, value in ODD_VALUES:
        response = client.get("/v1/scores", params={name: value})
        problem = response.json()
        assert (response.status_code, problem["type"]) == (422, ProblemType.INVALID_FIELD.uri), (name, value)
        assert problem["pointer"] == f"/{name}"
        assert len(problem["detail"]) < 300
        assert len(value) < 5 or value not in response.text


@pytest.mark.on_both_databases
def test_an_odd_value_that_means_something_is_answered(client: TestClient) -> None:
    client.post("/v1/score", json={"statements": [{"text": TEXT}]})
    for query in MEANT_VALUES:
        for path in ("/v1/scores", *(() if "cursor" in query else ("/v1/stats/summary", "/v1/stats/timeseries"))):
            assert client.get(path, params=query).status_code == 200, query


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=2026-03-02T00:00:00Z&until=2026-03-01T00:00:00Z", "since is after until"),
        ("min_confidence=0.9&max_confidence=0.1", "min_confidence is above"),
        ("label=none&label=allegation", "more than once"),
        (f"{CANARY}=1", "Only these fields are known here: since, until, label"),
        (f"source={CANARY}&language={CANARY}", "One of en, uk, ru"),
    ],
)
def test_parameters_that_do_not_go_together_are_refused(client: TestClient, query: str, words: str) -> None:
    response = client.get(f"/v1/scores?{query}")
    assert response.status_code == 422
    assert words in response.json()["detail"]
    assert CANARY not in response.text
