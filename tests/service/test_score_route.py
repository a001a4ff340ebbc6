from dataclasses import fields

import pytest
from fastapi.testclient import TestClient

from credence.labels import DISCLAIMER
from credence.scoring import Scorer, StatementScore


def test_results_stand_in_the_order_of_the_request(client: TestClient) -> None:
    texts = {"b": "He claims that it rained.", "a": "The court met on Monday.", "c": "They secretly rule us all."}
    answer = client.post("/v1/score", json={"statements": [{"id": i, "text": t} for i, t in texts.items()]}).json()
    assert [(result["id"], result["label"]) for result in answer["results"]] == [
        ("b", "allegation"),
        ("a", "factual_report"),
        ("c", "likely_disinformation_narrative"),
    ]


def test_a_result_has_the_fields_of_a_statement_score(client: TestClient) -> None:
    answer = client.post("/v1/score", json={"statements": [{"text": "The court met on Monday."}]}).json()
    assert list(answer["results"][0]) == ["id", "score_id", *(field.name for field in fields(StatementScore))]


def test_a_result_carries_what_the_scorer_said(client: TestClient, scorer: Scorer) -> None:
    text = "Суд зібрався в понеділок"
    score = scorer.score_statements([text])[0]
    result = client.post("/v1/score", json={"statements": [{"text": text}]}).json()["results"][0]
    assert result["scores"] == score.scores
    assert (result["language"], result["end_char"], result["read_end_char"]) == ("uk", len(text), len(text))


def test_a_statement_without_label_says_why(client: TestClient) -> None:
    texts = ["Too short", "Das Gericht tagte über Österreich.", "Is it so?"]
    answer = client.post("/v1/score", json={"statements": [{"text": text} for text in texts]}).json()
    assert [result["label"] for result in answer["results"]] == [None, None, None]
    assert [result["reason"] for result in answer["results"]] == ["too_short", "unsupported_language", "not_a_claim"]
    assert [result["scores"] is None for result in answer["results"]] == [True, True, False]


def test_an_answer_names_the_model_and_the_disclaimer_once(client: TestClient, scorer: Scorer) -> None:
    answer = client.post("/v1/score", json={"statements": [{"text": "The court met on Monday."}] * 3}).json()
    assert answer["disclaimer"] == DISCLAIMER
    assert answer["model"]["mlflow_run_id"] == scorer.info.mlflow_run_id
    assert answer["model"]["data_digests"] == scorer.info.data_digests


def test_a_given_language_overrides_detection(client: TestClient) -> None:
    statement = {"text": "Das Gericht tagte über Österreich.", "language": "en"}
    result = client.post("/v1/score", json={"statements": [statement]}).json()["results"][0]
    assert (result["language"], result["label"]) == ("en", "factual_report")


def test_ids_may_repeat_or_be_missing(client: TestClient) -> None:
    text = "The court met on Monday."
    statements = [{"id": "x", "text": text}, {"id": "x", "text": text}, {"text": text}, {"id": None, "text": text}]
    answer = client.post("/v1/score", json={"statements": statements}).json()
    assert [result["id"] for result in answer["results"]] == ["x", "x", None, None]


@pytest.mark.parametrize(("n_statements", "status"), [(1, 200), (256, 200), (257, 422)])
def test_a_request_holds_one_to_256_statements(client: TestClient, n_statements: int, status: int) -> None:
    statements = [{"text": "The court met on Monday."}] * n_statements
    assert client.post("/v1/score", json={"statements": statements}).status_code == status


def test_a_statement_of_the_greatest_length_is_scored(client: TestClient) -> None:
    text = ("слово " * 400)[:2000]
    result = client.post("/v1/score", json={"statements": [{"text": text}]}).json()["results"][0]
    assert result["end_char"] == 2000


def test_escaped_and_plain_unicode_get_the_same_answer(client: TestClient) -> None:
    plain = '{"statements": [{"text": "Суд зібрався 😀 в понеділок"}]}'
    escaped = plain.encode("ascii", "backslashreplace").replace(b"\\U0001f600", b"\\ud83d\\ude00")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answers = [client.post("/v1/score", content=body, headers=headers).json() for body in (plain.encode(), escaped)]
    assert [a["results"][0] | {"score_id": ""} for a in answers] == [answers[0]["results"][0] | {"score_id": ""}] * 2
