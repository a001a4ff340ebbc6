from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER, OUTCOMES
from service.errors import ProblemType
from service.history.schemas import DocumentRecord, LineageAnswer, ScorePage, ScoreRecord, ScoreRow
from service.models.source import ServedModel
from service.store.database import Database

TEXTS = ("The court met on Monday.", "He claims that it rained.", "Вони таємно керують усім світом 😀.", "Too short")
CANARY = "CANARY-7f3a"
both = pytest.mark.on_both_databases


def score(client: TestClient, *texts: str, **tags: str) -> list[str]:
    statements = [{"text": text, "id": f"row {n}", **tags} for n, text in enumerate(texts)]
    results = client.post("/v1/score", json={"statements": statements}).json()["results"]
    return [result["score_id"] for result in results]


def fetch(client: TestClient, **query: str | int | bool) -> dict[str, Any]:
    response = client.get("/v1/scores", params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


@both
def test_a_row_is_flat_and_says_all_that_is_kept(client: TestClient) -> None:
    ids = score(client, *TEXTS, source="wire", author="Іра", document_id="d-1")
    page = fetch(client)
    assert ScorePage.model_validate(page).model_dump(mode="json") == page
    assert [row["score_id"] for row in page["rows"]] == ids[::-1]
    assert (page["next_cursor"], page["disclaimer"]) == (None, DISCLAIMER)
    row = page["rows"][2]
    assert not [value for value in row.values() if isinstance(value, dict | list)]
    assert row["scored_at"].endswith("Z")
    assert row.items() >= {
        "label": "allegation", "reason": None, "score_allegation": 0.7, "prediction_set": "allegation",
        "text": TEXTS[1], "source": "wire", "author": "Іра", "document_id": "d-1", "id": "row 1", "language": "en",
        "stored_document_id": None, "batch_id": None, "is_disputed": False, "n_disputes": 0,
    }.items()  # fmt: skip


def test_there_is_a_column_for_each_outcome() -> None:
    scores = [name for name in ScoreRow.model_fields if name.startswith("score_") and name != "score_id"]
    assert scores == [f"score_{outcome}" for outcome in OUTCOMES]


@both
def test_pages_meet_although_more_is_kept_between_them(client: TestClient) -> None:
    ids = [score(client, f"The court met on day {day}.")[0] for day in range(5)]
    found, cursor = [], ""
    while cursor is not None:
        page = fetch(client, limit=2, cursor=cursor)
        found += [row["score_id"] for row in page["rows"]]
        cursor = page["next_cursor"]
        score(client, "It rained on the next day.")
    assert found == ids[::-1]


@both
def test_a_score_is_read_with_its_disputes(client: TestClient) -> None:
    (score_id,) = score(client, TEXTS[0], source="wire")
    for reviewer in ("a", "b"):
        sent = {"score_id": score_id, "proposed_label": "allegation", "reviewer": reviewer}
        assert client.post("/v1/feedback", json=sent).status_code == 201
    answer = client.get(f"/v1/scores/{score_id}").json()
    assert ScoreRecord.model_validate(answer).model_dump(mode="json") == answer
    assert (answer["is_disputed"], answer["n_disputes"], answer["disclaimer"]) == (True, 2, DISCLAIMER)
    assert [row["score_id"] for row in fetch(client, is_disputed=True)["rows"]] == [score_id]
    assert fetch(client, is_disputed=False)["rows"] == []


@both
def test_lineage_leads_back_to_run_and_data(client: TestClient, served_model: ServedModel) -> None:
    scored = client.post("/v1/score", json={"statements": [{"text": TEXTS[0]}]}).json()
    answer = client.get(f"/v1/scores/{scored['results'][0]['score_id']}/lineage").json()
    assert LineageAnswer.model_validate(answer).model_dump(mode="json") == answer
    assert answer["model"] == scored["model"]
    assert answer["model"]["data_digests"] == served_model.scorer.info.data_digests
    assert (answer["request_id"], answer["is_served_now"]) == (scored["request_id"], True)


@both
def test_a_document_is_read_as_it_was_scored(client: TestClient) -> None:
    text = "😀 The court met on Monday. He claims that it rained. Вони таємно керують усім світом."
    scored = client.post("/v1/documents", json={"text": text, "id": "article", "source": "wire"}).json()
    path = f"/v1/documents/{scored['stored_document_id']}"
    answer = client.get(path).json()
    assert DocumentRecord.model_validate(answer).model_dump(mode="json") == answer
    assert (answer["text"], answer["id"], answer["source"], answer["rollup"]) == (
        text,
        "article",
        "wire",
        scored["rollup"],
    )
    assert [s | {"is_disputed": False, "n_disputes": 0} for s in scored["statements"]] == answer["statements"]
    rows = fetch(client)["rows"]
    assert {row["stored_document_id"] for row in rows} == {scored["stored_document_id"]}
    assert [row["text"] for row in rows] == [text[row["start_char"] : row["end_char"]] for row in rows]
    client.delete(f"/v1/scores/{rows[0]['score_id']}")
    assert client.get(path).json()["rollup"]["n_statements"] == len(rows) - 1


@both
def test_what_is_deleted_is_gone(client: TestClient) -> None:
    ids = score(client, *TEXTS)
    document = client.post("/v1/documents", json={"text": TEXTS[0]}).json()["stored_document_id"]
    for path in (f"/v1/scores/{ids[0]}", f"/v1/documents/{document}"):
        gone = client.delete(path)
        assert (gone.status_code, gone.content) == (204, b"")
        again = client.delete(path)
        assert (again.status_code, again.json()["type"]) == (404, ProblemType.NO_SUCH_RECORD.uri)
        assert client.get(path).status_code == 404
    assert len(fetch(client)["rows"]) == len(TEXTS) - 1


@both
def test_a_source_is_deleted_whole_and_nothing_else(client: TestClient) -> None:
    score(client, *TEXTS, source="wire", document_id="d-1")
    score(client, TEXTS[0], source="other", document_id="d-1")
    client.post("/v1/documents", json={"text": TEXTS[0], "source": "wire"})
    assert client.delete("/v1/scores", params={"source": "wire", "document_id": "d-1"}).json() == {"n_deleted": 4}
    assert client.delete("/v1/scores", params={"source": "wire"}).json() == {"n_deleted": 1}
    assert [row["source"] for row in fetch(client)["rows"]] == ["other"]
    assert client.delete("/v1/scores", params={"document_id": "d-1"}).json() == {"n_deleted": 1}


@pytest.mark.parametrize("query", ["", "source=", "source=&document_id=", "label=allegation", "source=a&source=b"])
def test_deleting_needs_a_tag_and_takes_nothing_else(client: TestClient, query: str) -> None:
    score(client, TEXTS[0])
    assert client.delete(f"/v1/scores?{query}").status_code == 422
    assert len(fetch(client)["rows"]) == 1


def test_deleted_texts_are_not_left_in_the_files(client: TestClient, database: Database) -> None:
    secret = "The zebra of Chernihiv met on Monday."
    score(client, secret, source="wire")
    assert any(secret.encode() in file.read_bytes() for file in files_of(database))
    client.delete("/v1/scores", params={"source": "wire"})
    assert not any(secret.encode() in file.read_bytes() for file in files_of(database))


def files_of(database: Database) -> list[Path]:
    path = Path(str(database.engine.url.database))
    return list(path.parent.glob(f"{path.name}*"))


@both
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_an_id_that_is_none_is_a_problem(client: TestClient, method: str) -> None:
    for given in (CANARY, "%00", "1" * 5_000, "..%2f..%2f", "00000000-0000-0000-0000-00000000000g", str(uuid4())):
        for path in ("/v1/scores/{}", "/v1/scores/{}/lineage", "/v1/documents/{}"):
            response = client.request(method, path.format(given))
            assert response.status_code in (404, 405, 422)
            assert response.headers["content-type"] == "application/problem+json"
            assert given not in response.text


@pytest.mark.parametrize("path", ["/v1/scores/{}", "/v1/scores/{}/lineage", "/v1/documents/{}"])
def test_an_id_that_nothing_is_kept_under_is_a_problem(client: TestClient, path: str) -> None:
    response = client.get(path.format(uuid4()))
    assert (response.status_code, response.json()["type"]) == (404, ProblemType.NO_SUCH_RECORD.uri)
