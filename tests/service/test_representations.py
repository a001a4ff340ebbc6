import csv
import io
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pyarrow import parquet

from credence.labels import DISCLAIMER
from service.errors import ProblemType, RefusedRequestError
from service.history.representations import choose_format
from service.history.schemas import ScoreRow
from service.history.tabular import TabularFormat
from service.store.database import Database

TEXTS = ("The court met on Monday.", "He claims that it rained.", "Вони таємно керують усім світом 😀.", "Too short")
FILES = ("csv", "ndjson", "parquet")
both = pytest.mark.on_both_databases


def score(client: TestClient, *texts: str, **tags: str) -> list[str]:
    statements = [{"text": text, **tags} for text in texts]
    results = client.post("/v1/score", json={"statements": statements}).json()["results"]
    return [result["score_id"] for result in results]


def list_rows(client: TestClient) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = client.get("/v1/scores").json()["rows"]
    return rows


def download(client: TestClient, file_format: str, **query: str | int) -> list[dict[str, Any]]:
    """Return the rows of a file, as far as the format has types."""
    response = client.get("/v1/scores", params={"format": file_format, **query})
    assert response.status_code == 200
    if file_format == "csv":
        cells = csv.DictReader(io.StringIO(response.text))
        return [{name: cell or None for name, cell in row.items()} for row in cells]
    if file_format == "ndjson":
        return [json.loads(line) for line in response.text.splitlines()]
    rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(response.content)).to_pylist()
    return rows


@both
@pytest.mark.parametrize("file_format", FILES)
def test_a_file_holds_the_rows_of_the_pages(client: TestClient, file_format: str) -> None:
    score(client, *TEXTS, source="wire")
    client.post("/v1/documents", json={"text": "The mayor met him. 😀 He claims that it rained.", "id": "article"})
    expected = list_rows(client)
    rows = download(client, file_format)
    response = client.get("/v1/scores", params={"format": file_format})
    assert list(rows[0]) == list(ScoreRow.model_fields)
    assert [ScoreRow.model_validate(row).model_dump(mode="json") for row in rows] == expected
    assert response.headers["content-disposition"] == f'attachment; filename="credence-scores.{file_format}"'
    assert response.headers["x-credence-disclaimer"] == DISCLAIMER


@pytest.mark.parametrize("file_format", FILES)
def test_a_file_of_nothing_has_the_columns_and_no_row(client: TestClient, file_format: str) -> None:
    assert download(client, file_format, source="nowhere") == []


def test_csv_begins_with_the_columns(client: TestClient) -> None:
    assert client.get("/v1/scores", params={"format": "csv"}).text == ",".join(ScoreRow.model_fields) + "\r\n"


def test_parquet_has_types_and_the_disclaimer(client: TestClient) -> None:
    score(client, *TEXTS)
    table = parquet.read_table(io.BytesIO(client.get("/v1/scores", params={"format": "parquet"}).content))
    assert table.schema.metadata[b"disclaimer"].decode() == DISCLAIMER
    kinds = {name: str(table.schema.field(name).type) for name in ("scored_at", "confidence", "start_char", "is_cut")}
    assert kinds == {
        "scored_at": "timestamp[us, tz=UTC]", "confidence": "double", "start_char": "int64", "is_cut": "bool",
    }  # fmt: skip


@pytest.mark.parametrize("file_format", FILES)
def test_a_file_can_be_long_and_is_the_same_then(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    score(client, *(f"The court met on day {day}." for day in range(25)))
    whole = download(client, file_format)
    monkeypatch.setattr("service.store.score_store.STREAM_ROWS", 4)
    assert download(client, file_format) == whole
    assert download(client, file_format, limit=9) == whole[:9]


def test_a_formula_in_a_text_or_tag_is_none_in_csv(client: TestClient) -> None:
    score(client, '=HYPERLINK("http://example.org") is what he says', source="+1", author="@me", document_id="-7")
    (row,) = download(client, "csv")
    assert [row[name][:2] for name in ("text", "source", "author", "document_id")] == ["'=", "'+", "'@", "'-"]
    (plain,) = download(client, "ndjson")
    assert plain["source"] == "+1"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([], "json"),
        (["*/*"], "json"),
        (["text/html,application/xhtml+xml,*/*;q=0.8"], "json"),
        (["text/csv"], "csv"),
        (["text/*"], "csv"),
        (["application/x-ndjson"], "ndjson"),
        (["Application/Vnd.Apache.Parquet"], "parquet"),
        (["application/json;q=0.1, text/csv;q=0.9"], "csv"),
        (["application/json; q=0, */*"], "csv"),
        (["*/*;q=0.1, application/x-ndjson;q=0.2"], "ndjson"),
        (["text/html", "text/csv;q=0.5"], "csv"),
        (["application/json;charset=utf-8;q=0.9, text/csv;q=0.8"], "json"),
        (["nonsense, text/csv"], "csv"),
    ],
)
def test_the_accept_header_chooses_the_format(accept: list[str], expected: str) -> None:
    assert choose_format(accept) == expected


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "nonsense", "*/*;q=0"])
def test_a_request_that_accepts_none_of_the_formats_is_told_them(client: TestClient, accept: str) -> None:
    response = client.get("/v1/scores", headers={"Accept": accept})
    assert (response.status_code, response.json()["type"]) == (406, ProblemType.NOT_ACCEPTABLE.uri)
    assert all(form.media_type in response.json()["detail"] for form in TabularFormat)
    with pytest.raises(RefusedRequestError):
        choose_format([accept])


def test_the_format_of_the_url_holds_against_the_header(client: TestClient) -> None:
    response = client.get("/v1/scores", params={"format": "csv"}, headers={"Accept": "application/json"})
    assert response.headers["content-type"].startswith("text/csv")


@both
@pytest.mark.parametrize("path", ["/v1/scores", "/v1/stats/timeseries", "/v1/stats/summary"])
def test_what_has_not_changed_is_not_sent_again(client: TestClient, path: str) -> None:
    (score_id,) = score(client, TEXTS[0])
    tag = client.get(path).headers["etag"]
    assert tag.startswith('W/"')
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert (again.headers["vary"], again.headers["cache-control"]) == ("Accept", "private, no-cache")
    client.post("/v1/feedback", json={"score_id": score_id, "proposed_label": "allegation"})
    changed = client.get(path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert client.get(path, headers={"If-None-Match": f'{changed.headers["etag"][:-1]}x"'}).status_code == 200


def test_a_tag_stands_for_the_parameters_and_the_format(client: TestClient) -> None:
    queries: list[dict[str, str | int]] = [{}, {"limit": 7}, {"format": "csv"}, {"label": "none"}]
    queries.append({"since": "2026-03-01T00:00:00Z"})
    tags = [client.get("/v1/scores", params=query).headers["etag"] for query in queries]
    same = ({"format": "json"}, {"since": "2026-03-01T02:00:00+02:00"}, {"label": "none", "reason": ""})
    assert len(set(tags)) == len(queries)
    assert [client.get("/v1/scores", params=query).headers["etag"] for query in same] == [tags[0], tags[4], tags[3]]


@pytest.mark.parametrize("file_format", ["json", *FILES])
def test_a_database_that_is_gone_is_a_problem_in_every_format(
    client: TestClient, database: Database, file_format: str
) -> None:
    score(client, TEXTS[0])
    path = Path(str(database.engine.url.database))
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    response = client.get("/v1/scores", params={"format": file_format})
    assert (response.status_code, response.json()["type"]) == (503, ProblemType.STORAGE_UNAVAILABLE.uri)


def test_times_are_told_in_utc(client: TestClient) -> None:
    score(client, TEXTS[0])
    (row,) = download(client, "csv")
    assert datetime.fromisoformat(row["scored_at"]).utcoffset() == timedelta()
    assert row["scored_at"] == list_rows(client)[0]["scored_at"]
