"""What is sent stays what it is: no database, header, spreadsheet or log takes it for something to carry out."""

import csv
import io
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

SQL = [
    "'; DROP TABLE scores; --", '" OR 1=1 --', "%' OR '1'='1", "\\'; SELECT pg_sleep(9); --", "') UNION SELECT 1 --",
    "%", "_", "${7*7}", "{{7*7}}", "%s%n", "$(id)",
]  # fmt: skip
HEADERS = ["a\r\nSet-Cookie: x=1", "a\nX-Injected: 1", 'a"; filename="b.exe']
FORMULAS = ["=1+2", "+1", "-1", "@SUM(A1)", "\tx", '=HYPERLINK("http://203.0.113.1","x")']
HTML = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", '"><svg onload=alert(1)>']
TEXT = "The court met on Monday"


def score(client: TestClient, **fields: str) -> dict[str, Any]:
    answer = client.post("/v1/score", json={"statements": [{"text": f"{TEXT}.", **fields}]})
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()["results"][0]
    return result


@pytest.mark.on_both_databases
@pytest.mark.parametrize("value", [*SQL, *HTML, *FORMULAS, *HEADERS])
def test_a_tag_is_kept_and_found_as_it_was_sent(client: TestClient, value: str) -> None:
    score(client, source="wire")
    kept = score(client, source=value, author=value, document_id=value, id=value, text=f"{TEXT}: {value}")
    for name in ("source", "author", "document_id"):
        rows = client.get("/v1/scores", params={name: value}).json()["rows"]
        assert [(row["score_id"], row[name]) for row in rows] == [(kept["score_id"], value)]
    assert client.get("/v1/scores").json()["rows"][0]["id"] == value
    sources = client.get("/v1/stats/summary").json()["rows"]
    assert {row["value"] for row in sources if row["dimension"] == "source"} == {"wire", value}


@pytest.mark.parametrize("value", [*SQL, *HTML])
def test_no_parameter_reaches_the_database_as_a_statement(client: TestClient, value: str) -> None:
    score(client)
    for path in ("/v1/scores", "/v1/stats/summary", "/v1/stats/timeseries"):
        for name in ("source", "label", "language", "since", "cursor", "bucket", "group_by", "format", "batch_id"):
            answer = client.get(path, params={name: value})
            assert answer.status_code in (200, 422), (path, name, answer.text)
            assert answer.status_code == 200 or len(value) == 1 or value not in answer.text
    assert client.delete("/v1/scores", params={"source": value}).json()["n_deleted"] == 0
    assert len(client.get("/v1/scores").json()["rows"]) == 1


@pytest.mark.parametrize("value", HEADERS)
def test_nothing_that_is_sent_becomes_a_header(client: TestClient, value: str) -> None:
    score(client, source=value)
    for path in ("/v1/scores", "/v1/stats/summary"):
        answer = client.get(path, params={"source": value, "format": "csv"})
        assert answer.status_code == 200
        assert not {"set-cookie", "x-injected"} & set(answer.headers)
        assert "exe" not in answer.headers["content-disposition"]


@pytest.mark.parametrize("value", FORMULAS)
def test_no_cell_of_an_export_is_a_formula(client: TestClient, value: str) -> None:
    score(client, source=value, author=value, document_id=value, id=value, text=f"{value} {TEXT}")
    exported = client.get("/v1/scores?format=csv").text
    for row in csv.DictReader(io.StringIO(exported)):
        assert not [name for name, cell in row.items() if cell[:1] in set("=+-@\t\r") and not cell[1:2].isdigit()]
        assert row["source"] == f"'{value}"
    lines = client.get("/v1/scores?format=ndjson").text.splitlines()
    assert [json.loads(line)["source"] for line in lines] == [value]


@pytest.mark.parametrize("depth", [100, 10_000])
def test_deep_json_is_refused_and_the_service_goes_on(client: TestClient, depth: int) -> None:
    for body in ("[" * depth + "]" * depth, '{"statements":' * depth + "1" + "}" * depth):
        for path in ("/v1/score", "/v1/documents", "/v1/feedback", "/v1/webhooks", "/v1alpha1/comments:analyze"):
            answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code in (400, 422)
    score(client)


@pytest.mark.parametrize("name", ["../../etc/passwd.txt", "a\r\nX: y.txt", "<b>.txt", "=1.txt", "a\0.txt", "." * 300])
def test_the_name_of_a_file_is_only_read_for_its_end(client: TestClient, name: str) -> None:
    answer = client.post("/v1/texts", params={"name": name}, content=f"{TEXT}.".encode())
    assert answer.status_code in (200, 422)
    assert name not in answer.text
