import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from pyarrow import parquet

from credence.labels import DISCLAIMER, LABELS
from service.errors import ProblemType
from service.history.stats_schemas import SeriesAnswer, SeriesRow, SummaryAnswer, SummaryRow
from service.store.aggregate_queries import MAX_SOURCES, Dimension
from service.store.database import Database
from service.store.records import NewScore, Tags
from service.store.score_store import ScoreStore
from tests.service.tiny_scorer import TinyScorer

both = pytest.mark.on_both_databases
FACT, CLAIM, STORY, SHORT = "The court met on Monday.", "He claims that it rained.", "Вони таємно керують.", "Too short"
START = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
Keep = Callable[..., None]


@pytest.fixture
def keep(database: Database) -> Keep:
    def build(*texts: str, at: datetime = START, source: str | None = None) -> None:
        scored = TinyScorer().score_statements(texts)
        new = [NewScore(uuid4(), None, Tags(source), text, score) for text, score in zip(texts, scored, strict=True)]
        ScoreStore(database, now=lambda: at).keep_statements(new, TinyScorer().info, uuid4())

    return build


def fetch(client: TestClient, name: str, **query: str | int | bool) -> list[dict[str, Any]]:
    response = client.get(f"/v1/stats/{name}", params=query)
    assert response.status_code == 200, response.text
    answer = response.json()
    shape = SeriesAnswer if name == "timeseries" else SummaryAnswer
    assert shape.model_validate(answer).model_dump(mode="json") == answer
    assert answer["disclaimer"] == DISCLAIMER
    rows: list[dict[str, Any]] = answer["rows"]
    return rows


def brief(rows: list[dict[str, Any]]) -> list[tuple[str, str | None, int]]:
    return [(row["time"], row["group"], row["n"]) for row in rows]


@both
def test_a_row_says_what_a_bucket_holds(client: TestClient, keep: Keep) -> None:
    keep(FACT, CLAIM, STORY, SHORT)
    (row,) = fetch(client, "timeseries", bucket="hour")
    assert row["mean_confidence"] == pytest.approx(0.7)
    assert {name: value for name, value in row.items() if name != "mean_confidence"} == {
        "time": "2026-03-01T12:00:00Z", "group": None, "n": 4, "share": 1.0, "n_labelled": 3, "n_abstained": 1,
        "n_disputed": 0,
    }  # fmt: skip


@both
def test_shares_are_of_all_in_the_bucket(client: TestClient, keep: Keep) -> None:
    keep(FACT, FACT, STORY, SHORT)
    keep(STORY, at=START + timedelta(days=1))
    rows = fetch(client, "timeseries", bucket="day", group_by="label")
    assert [(row["time"][:10], row["group"], row["share"], row["n_abstained"]) for row in rows] == [
        ("2026-03-01", "factual_report", 0.5, 0),
        ("2026-03-01", "likely_disinformation_narrative", 0.25, 0),
        ("2026-03-01", "none", 0.25, 1),
        ("2026-03-02", "likely_disinformation_narrative", 1.0, 0),
    ]


@both
def test_gaps_are_filled_with_zeros_between_first_and_last(client: TestClient, keep: Keep) -> None:
    keep(FACT)
    keep(CLAIM, at=START + timedelta(days=2))
    query = {"bucket": "day", "group_by": "label", "label": ""}
    assert len(fetch(client, "timeseries", **query)) == 2
    assert brief(fetch(client, "timeseries", **query, fill=True)) == [
        (f"2026-03-0{day}T00:00:00Z", label, int((day, label) in {(1, "factual_report"), (3, "allegation")}))
        for day in (1, 2, 3)
        for label in ("factual_report", "allegation")
    ]
    empty = fetch(client, "timeseries", **query, fill=True)[2]
    assert (empty["share"], empty["mean_confidence"], empty["n_disputed"]) == (0.0, None, 0)


@both
@pytest.mark.parametrize(
    ("span", "days"),
    [
        ({"since": "2026-02-27T00:00:00Z", "until": "2026-03-03T00:00:00Z"}, [27, 28, 1, 2]),
        ({"since": "2026-02-28T23:59:59Z", "until": "2026-03-03T00:00:00.000001Z"}, [28, 1, 2, 3]),
        ({"since": "2026-03-01T01:00:00+03:00"}, [28, 1]),
        ({"until": "2026-03-03T00:00:00Z"}, [1, 2]),
        ({"since": "2026-03-02T00:00:00Z", "until": "2026-03-03T12:00:00Z"}, [2, 3]),
        ({"since": "2026-03-02T00:00:00Z", "until": "2026-03-02T00:00:00Z"}, []),
        ({"since": "2026-03-02T00:00:00Z"}, []),
        ({"until": "2026-03-01T00:00:00Z"}, []),
    ],
)
def test_filling_goes_from_since_to_until(
    client: TestClient, keep: Keep, span: dict[str, str], days: list[int]
) -> None:
    keep(FACT)
    rows = fetch(client, "timeseries", bucket="day", fill=True, **span)
    assert [int(row["time"][8:10]) for row in rows] == days


@both
@pytest.mark.parametrize("night", ["2026-03-29", "2026-10-25"])
def test_a_night_when_clocks_are_set_has_24_hours_in_utc(client: TestClient, keep: Keep, night: str) -> None:
    keep(FACT, at=datetime.fromisoformat(f"{night}T00:59:59Z"))
    keep(FACT, at=datetime.fromisoformat(f"{night}T01:00:00Z"))
    day = datetime.fromisoformat(f"{night}T00:00:00Z")
    span = {"since": day.isoformat(), "until": (day + timedelta(days=1)).isoformat()}
    rows = fetch(client, "timeseries", bucket="hour", fill=True, **span)
    assert [row["time"] for row in rows] == [f"{night}T{hour:02}:00:00Z" for hour in range(24)]
    assert [row["n"] for row in rows[:3]] == [1, 1, 0]


@pytest.mark.parametrize(
    "query",
    [
        {"bucket": "hour", "since": "2020-01-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"},
        {"bucket": "hour", "since": "0001-01-01T00:00:00Z"},
        {"bucket": "day", "since": "0001-01-01T00:00:00Z", "until": "9999-12-31T23:00:00Z"},
        {"bucket": "hour", "since": "2025-06-01T00:00:00Z", "group_by": "label"},
    ],
)
def test_too_many_buckets_are_refused_with_what_to_narrow(
    client: TestClient, keep: Keep, query: dict[str, str]
) -> None:
    keep(FACT, CLAIM, STORY)
    response = client.get("/v1/stats/timeseries", params=query | {"fill": "true"})
    assert (response.status_code, response.json()["type"]) == (422, ProblemType.TOO_MANY_BUCKETS.uri)
    assert "since" in response.json()["detail"]
    assert client.get("/v1/stats/timeseries", params=query).status_code == 200


@both
def test_the_end_of_time_is_answered(client: TestClient, keep: Keep) -> None:
    keep(FACT)
    for bucket in ("hour", "day", "week"):
        query = {"since": "9999-12-31T00:00:00Z", "until": "9999-12-31T23:59:59.999999Z", "bucket": bucket}
        assert {row["n"] for row in fetch(client, "timeseries", fill=True, **query)} == {0}
        query = {"since": "0001-01-01T00:00:00Z", "until": "0001-01-01T00:00:01Z", "bucket": bucket}
        assert brief(fetch(client, "timeseries", fill=True, **query)) == [("0001-01-01T00:00:00Z", None, 0)]


@both
def test_a_source_that_nobody_named_is_null_and_the_rest_is_other(client: TestClient, keep: Keep) -> None:
    for number in range(MAX_SOURCES + 2):
        keep(FACT, *[CLAIM] * (number < MAX_SOURCES), source=f"{number:03}")
    keep(FACT)
    rows = fetch(client, "timeseries", group_by="source")
    assert [row["group"] for row in rows] == ["(other)", *(f"{n:03}" for n in range(MAX_SOURCES)), None]
    assert client.get("/v1/stats/timeseries", params={"group_by": "source"}).json()["has_other"] is True
    assert client.get("/v1/stats/summary").json()["has_other"] is True
    assert client.get("/v1/stats/summary", params={"source": "001"}).json()["has_other"] is False
    as_file = client.get("/v1/stats/timeseries", params={"group_by": "source", "format": "csv"})
    assert as_file.headers["x-credence-has-other"] == "true"


@both
def test_a_summary_counts_everything_in_every_dimension(client: TestClient, keep: Keep) -> None:
    keep(FACT, FACT, CLAIM, SHORT, source="wire")
    keep(STORY, at=START + timedelta(days=3))
    rows = fetch(client, "summary")
    assert [(row["dimension"], row["value"], row["n"], row["share"]) for row in rows] == [
        ("all", None, 5, 1.0),
        ("label", "factual_report", 2, 0.4),
        ("label", "allegation", 1, 0.2),
        ("label", "likely_disinformation_narrative", 1, 0.2),
        ("label", "none", 1, 0.2),
        ("reason", "too_short", 1, 0.2),
        ("language", "en", 4, 0.8),
        ("language", "uk", 1, 0.2),
        ("source", "wire", 4, 0.8),
        ("source", None, 1, 0.2),
        ("model_version", "tiny-1", 5, 1.0),
    ]
    assert (rows[0]["first_at"], rows[0]["last_at"]) == ("2026-03-01T12:30:00Z", "2026-03-04T12:30:00Z")
    assert rows[4]["mean_confidence"] is None
    assert fetch(client, "summary", label="none")[0]["n"] == 1


@both
def test_a_summary_of_nothing_says_so(client: TestClient) -> None:
    (row,) = fetch(client, "summary", source="nowhere")
    assert row == {
        "dimension": "all", "value": None, "n": 0, "share": 0.0, "mean_confidence": None, "n_disputed": 0,
        "first_at": None, "last_at": None,
    }  # fmt: skip
    assert fetch(client, "timeseries") == []


@both
def test_disputes_are_counted_where_their_scores_are(client: TestClient) -> None:
    scored = client.post("/v1/score", json={"statements": [{"text": FACT}, {"text": CLAIM, "source": "wire"}]}).json()
    for label in ("factual_report", "not_a_claim"):
        sent = {"score_id": scored["results"][1]["score_id"], "proposed_label": label}
        assert client.post("/v1/feedback", json=sent).status_code == 201
    rows = fetch(client, "timeseries", group_by="label")
    assert {row["group"]: row["n_disputed"] for row in rows} == {"factual_report": 0, "allegation": 1}
    disputed = {(row["dimension"], row["value"]) for row in fetch(client, "summary") if row["n_disputed"]}
    assert disputed == {
        ("all", None), ("label", "allegation"), ("language", "en"), ("source", "wire"), ("model_version", "tiny-1")
    }  # fmt: skip
    assert [row["n"] for row in fetch(client, "timeseries", is_disputed=True)] == [1]


@pytest.mark.parametrize(("name", "model"), [("timeseries", SeriesRow), ("summary", SummaryRow)])
def test_every_format_has_the_same_rows(
    client: TestClient, keep: Keep, name: str, model: type[SeriesRow] | type[SummaryRow]
) -> None:
    keep(FACT, CLAIM, SHORT, source="=wire")
    query = {"group_by": "source"} if name == "timeseries" else {}
    expected = fetch(client, name, **query)
    files = {
        form: client.get(f"/v1/stats/{name}", params=query | {"format": form}) for form in ("csv", "ndjson", "parquet")
    }
    cells = list(csv.DictReader(io.StringIO(files["csv"].text)))
    found = {
        "csv": [{key: cell.removeprefix("'") or None for key, cell in row.items()} for row in cells],
        "ndjson": [json.loads(line) for line in files["ndjson"].text.splitlines()],
        "parquet": parquet.read_table(io.BytesIO(files["parquet"].content)).to_pylist(),
    }
    for form, rows in found.items():
        assert [model.model_validate(row).model_dump(mode="json") for row in rows] == expected
        assert files[form].headers["content-disposition"] == f'attachment; filename="credence-{name}.{form}"'
        assert files[form].headers["x-credence-disclaimer"] == DISCLAIMER


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("timeseries", {"bucket": "month"}),
        ("timeseries", {"group_by": "author"}),
        ("timeseries", {"group_by": "all"}),
        ("timeseries", {"fill": "perhaps"}),
        ("timeseries", {"limit": "5"}),
        ("summary", {"bucket": "day"}),
        ("summary", {"since": "yesterday"}),
    ],
)
def test_what_is_not_known_is_refused(client: TestClient, name: str, query: dict[str, str]) -> None:
    response = client.get(f"/v1/stats/{name}", params=query)
    assert response.status_code == 422
    assert next(iter(query.values())) not in response.json()["detail"].split()


def test_the_dimensions_and_labels_are_those_of_the_scheme(client: TestClient, keep: Keep) -> None:
    keep(FACT, CLAIM, STORY, SHORT, "Чому так вийшло?")
    rows = fetch(client, "summary")
    assert list(dict.fromkeys(row["dimension"] for row in rows)) == list(Dimension)
    assert {row["value"] for row in rows if row["dimension"] == "label"} == {*LABELS, "none"}
