import json
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER

CANARY = "CANARY-7f3a"
pytestmark = pytest.mark.on_both_databases


@pytest.fixture
def score_id(client: TestClient) -> str:
    """A statement that was scored as a factual report."""
    return keep_score(client, "The court met on Monday.")


def keep_score(client: TestClient, text: str) -> str:
    found: str = client.post("/v1/score", json={"statements": [{"text": text}]}).json()["results"][0]["score_id"]
    return found


def send(client: TestClient, score_id: str, label: str = "allegation", **more: str) -> dict[str, Any]:
    response = client.post("/v1/feedback", json={"score_id": score_id, "proposed_label": label, **more})
    assert response.status_code in (200, 201)
    answer: dict[str, Any] = response.json()
    return answer


def list_rows(client: TestClient, path: str = "/v1/feedback", **query: str | int | bool) -> list[dict[str, Any]]:
    answer = client.get(path, params=query).json()
    assert answer["disclaimer"] == DISCLAIMER
    rows: list[dict[str, Any]] = answer["rows"]
    return rows


def test_feedback_is_answered_as_it_is_kept(client: TestClient, score_id: str) -> None:
    sent = {"score_id": score_id, "proposed_label": "allegation", "reason": "Hearsay.\nSee line 2.", "reviewer": "Іра"}
    response = client.post("/v1/feedback", json=sent)
    answer = response.json()
    assert response.status_code == 201
    assert answer.items() >= {**sent, "is_dispute": True, "outcome": "factual_report", "disclaimer": DISCLAIMER}.items()
    assert answer["created_at"].endswith("Z")
    assert list_rows(client) == [{name: value for name, value in answer.items() if name != "disclaimer"}]


def test_the_same_feedback_again_is_answered_with_what_is_kept(client: TestClient, score_id: str) -> None:
    sent = {"score_id": score_id, "proposed_label": "allegation", "reviewer": "a"}
    first, again = client.post("/v1/feedback", json=sent), client.post("/v1/feedback", json={**sent, "reviewer": " a "})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert len(list_rows(client)) == 1


def test_a_statement_that_should_have_no_label_is_said_by_not_a_claim(client: TestClient, score_id: str) -> None:
    assert send(client, score_id, "not_a_claim")["is_dispute"] is True
    assert send(client, keep_score(client, "Is it so?"), "not_a_claim")["is_dispute"] is False


REFUSED = [
    ({"score_id": str(uuid4())}, 404, "no-such-record", None),
    ({"score_id": CANARY}, 422, "invalid-field", "/score_id"),
    ({"score_id": 7}, 422, "invalid-field", "/score_id"),
    ({"proposed_label": CANARY}, 422, "invalid-field", "/proposed_label"),
    ({"proposed_label": None}, 422, "invalid-field", "/proposed_label"),
    ({"proposed_label": ...}, 422, "missing-field", "/proposed_label"),
    ({"reason": CANARY * 200}, 422, "invalid-field", "/reason"),
    ({"reason": f"{CANARY}\0"}, 422, "text-control-character", "/reason"),
    ({"reason": f"{CANARY}\ud800"}, 422, "text-lone-surrogate", "/reason"),
    ({"reason": " "}, 422, "text-empty", "/reason"),
    ({"reviewer": CANARY * 20}, 422, "invalid-field", "/reviewer"),
    ({"reviewer": f"{CANARY}\x1b"}, 422, "text-control-character", "/reviewer"),
    ({"reviewer": f"{CANARY}\udfff"}, 422, "text-lone-surrogate", "/reviewer"),
    ({"reviewer": ""}, 422, "text-empty", "/reviewer"),
    ({CANARY: 1}, 422, "unknown-field", ""),
]


@pytest.mark.parametrize(
    ("changes", "status", "slug", "pointer"), REFUSED, ids=[f"{n}-{row[2]}" for n, row in enumerate(REFUSED)]
)
def test_rubbish_is_refused_and_never_repeated(
    client: TestClient, score_id: str, changes: dict[str, object], status: int, slug: str, pointer: str | None
) -> None:
    given = {"score_id": score_id, "proposed_label": "allegation", **changes}
    body = json.dumps({name: value for name, value in given.items() if value is not ...})
    response = client.post("/v1/feedback", content=body, headers={"Content-Type": "application/json"})
    problem = response.json()
    assert (response.status_code, problem["type"]) == (status, f"urn:credence:problem:{slug}")
    assert problem.get("pointer") == pointer
    assert CANARY not in response.text
    assert list_rows(client) == []


def test_the_list_is_filtered_and_has_pages(client: TestClient, score_id: str) -> None:
    other = keep_score(client, "They secretly rule us all.")
    ids = [send(client, score_id, "factual_report")["id"], send(client, other)["id"], send(client, score_id)["id"]]
    times = {row["id"]: row["created_at"] for row in list_rows(client)}
    assert list(times) == ids[::-1]
    assert [row["id"] for row in list_rows(client, is_dispute=True)] == [ids[2], ids[1]]
    assert [row["id"] for row in list_rows(client, is_dispute=False)] == [ids[0]]
    assert [row["id"] for row in list_rows(client, score_id=other)] == [ids[1]]
    assert [row["id"] for row in list_rows(client, since=times[ids[1]])] == [ids[2], ids[1]]
    assert [row["id"] for row in list_rows(client, until=times[ids[1]])] == [ids[0]]
    first = client.get("/v1/feedback", params={"limit": 2}).json()
    rest = client.get("/v1/feedback", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [row["id"] for page in (first, rest) for row in page["rows"]] == ids[::-1]
    assert rest["next_cursor"] is None


def test_feedback_on_one_score_is_listed_at_the_score(client: TestClient, score_id: str) -> None:
    assert list_rows(client, f"/v1/scores/{score_id}/feedback") == []
    send(client, keep_score(client, "They secretly rule us all."))
    kept = send(client, score_id)
    assert [row["id"] for row in list_rows(client, f"/v1/scores/{score_id}/feedback")] == [kept["id"]]


@pytest.mark.parametrize(
    ("query", "slug"),
    [
        ("cursor=x", "invalid-field"),
        (f"cursor={'9' * 19}", "invalid-field"),
        ("limit=0", "invalid-field"),
        ("limit=1001", "invalid-field"),
        ("is_dispute=maybe", "invalid-field"),
        ("score_id=1", "invalid-field"),
        ("since=yesterday", "invalid-field"),
        ("since=2026-03-01T00:00:00", "invalid-field"),
        (f"{CANARY}=1", "unknown-field"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(client: TestClient, query: str, slug: str) -> None:
    response = client.get(f"/v1/feedback?{query}")
    assert (response.status_code, response.json()["type"]) == (422, f"urn:credence:problem:{slug}")
    assert CANARY not in response.text


def test_feedback_is_deleted_by_its_id_and_the_score_stays(client: TestClient, score_id: str) -> None:
    kept = send(client, score_id, reviewer="a")
    deleted = client.delete(f"/v1/feedback/{kept['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert client.delete(f"/v1/feedback/{kept['id']}").status_code == 404
    assert list_rows(client, f"/v1/scores/{score_id}/feedback") == []


@pytest.mark.parametrize("path", ["/v1/scores/{}/feedback", "/v1/feedback/{}"])
def test_an_unknown_id_is_a_problem(client: TestClient, path: str) -> None:
    ask = client.get if path.startswith("/v1/scores") else client.delete
    assert ask(path.format(uuid4())).json()["type"] == "urn:credence:problem:no-such-record"
    assert ask(path.format("x")).json()["type"] == "urn:credence:problem:invalid-field"


def test_what_is_not_kept_cannot_be_disputed(client: TestClient) -> None:
    body = {"statements": [{"text": "The court met on Monday."}], "store": False}
    assert client.post("/v1/score", json=body).json()["results"][0]["score_id"] is None
