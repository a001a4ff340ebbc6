from dataclasses import fields

from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER
from credence.scoring import StatementScore

ARTICLE = "😀 The court met on Monday. The mayor claims that it rained!\r\nХто знає? Вони таємно керують усім світом."


def test_offsets_slice_the_text_as_sent(client: TestClient) -> None:
    answer = client.post("/v1/documents", json={"text": ARTICLE}).json()
    pieces = [ARTICLE[s["start_char"] : s["end_char"]] for s in answer["statements"]]
    assert pieces[1:] == ["The mayor claims that it rained!", "Хто знає?", "Вони таємно керують усім світом."]


def test_the_rollup_counts_every_statement_once(client: TestClient) -> None:
    answer = client.post("/v1/documents", json={"text": ARTICLE}).json()
    rollup = answer["rollup"]
    assert rollup["n_statements"] == len(answer["statements"]) == 4
    assert sum(rollup["label_counts"].values()) + sum(rollup["reason_counts"].values()) == 4
    assert rollup["label_shares"]["allegation"] == 0.25


def test_an_answer_carries_id_model_and_disclaimer(client: TestClient) -> None:
    answer = client.post("/v1/documents", json={"text": ARTICLE, "id": "стаття-1"}).json()
    assert (answer["id"], answer["disclaimer"], answer["is_cut"]) == ("стаття-1", DISCLAIMER, False)
    assert answer["model_version"] == answer["model"]["model_version"] == answer["statements"][0]["model_version"]
    assert set(answer["statements"][0]) == {"score_id", *(field.name for field in fields(StatementScore))}


def test_a_document_may_have_100_000_characters_and_no_more(client: TestClient) -> None:
    longest = ("Рада зібралась. " * 6250)[:100_000]
    assert client.post("/v1/documents", json={"text": longest}).status_code == 200
    refused = client.post("/v1/documents", json={"text": longest + "."})
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:credence:problem:text-too-long")


def test_a_text_without_words_is_answered(client: TestClient) -> None:
    answer = client.post("/v1/documents", json={"text": "..."}).json()
    assert [statement["reason"] for statement in answer["statements"]] == ["too_short"]
    assert answer["rollup"]["mean_confidence"] is None


def test_a_given_language_holds_for_every_statement(client: TestClient) -> None:
    answer = client.post("/v1/documents", json={"text": ARTICLE, "language": "ru"}).json()
    assert {statement["language"] for statement in answer["statements"]} == {"ru"}
