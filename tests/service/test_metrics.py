"""What Prometheus is told: that it is true, and that nobody can make it grow."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from credence.scoring import Scorer, TimedScores
from service.app import create_app
from service.metrics import DELIVERY_RESULTS, MAX_MODEL_VERSIONS, UNSCORED, Metrics
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from tests.service.held_scorer import wait_until

Series = tuple[str, frozenset[tuple[str, str]]]
SENTENCES = ["The court met on Monday.", "He claims that it rained.", "Too short", "Чому він це зробив?"]


def read(client: TestClient) -> dict[Series, float]:
    text = client.get("/metrics").text
    samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def value(client: TestClient, name: str, **labels: str) -> float:
    return read(client)[f"credence_{name}", frozenset(labels.items())]


def total(client: TestClient, name: str, **labels: str) -> float:
    found = read(client).items()
    return sum(v for (n, given), v in found if n == f"credence_{name}" and given >= set(labels.items()))


def score(client: TestClient, *texts: str, store: bool = True) -> None:
    body = {"statements": [{"text": text} for text in texts], "store": store}
    assert client.post("/v1/score", json=body).status_code == 200


def test_statements_are_counted_by_what_came_of_them(client: TestClient) -> None:
    score(client, *SENTENCES, SENTENCES[0])
    version = {"model_version": "tiny-1"}
    fact = {"label": "factual_report", "outcome": "factual_report", "language": "en", **version}
    assert value(client, "statements_total", **fact) == 2
    assert total(client, "statements_total", label="allegation", **version) == 1
    assert total(client, "statements_total", label="none", outcome="not_a_claim", language="uk") == 1
    assert total(client, "statements_total", label="none", outcome="none", language="en") == 1
    assert total(client, "statements_total") == 5
    assert value(client, "confidence_count", label="factual_report") == 2
    assert value(client, "confidence_bucket", label="allegation", le="0.7") == 1
    assert value(client, "abstentions_total", reason="too_short") == 1
    assert value(client, "abstentions_total", reason="not_a_claim") == 1


def test_statements_of_documents_are_counted_too(client: TestClient) -> None:
    assert client.post("/v1/documents", json={"text": f"{SENTENCES[0]} {SENTENCES[1]}"}).status_code == 200
    assert total(client, "statements_total") == 2


def test_what_was_kept_is_told_from_what_was_not(client: TestClient) -> None:
    score(client, *SENTENCES[:2])
    score(client, *SENTENCES[:3], store=False)
    assert value(client, "answered_statements_total", stored="true") == 2
    assert value(client, "answered_statements_total", stored="false") == 3
    assert value(client, "store_seconds_count") == 1


def test_requests_are_counted_by_route_method_and_status(client: TestClient) -> None:
    score(client, SENTENCES[0])
    client.post("/v1/score", json={})
    labels = {"route": "/v1/score", "method": "POST"}
    assert value(client, "http_requests_total", status="200", **labels) == 1
    assert value(client, "http_requests_total", status="422", **labels) == 1
    assert value(client, "http_request_seconds_count", **labels) == 2
    assert value(client, "http_requests_in_progress") == 1


def test_every_batch_is_measured(client: TestClient) -> None:
    score(client, SENTENCES[0])
    assert value(client, "queue_wait_seconds_count") == 1
    for name in ("batch_statements", "batch_tokens", "tokenise_seconds", "infer_seconds"):
        assert value(client, f"{name}_count") == 1, name
    assert value(client, "batch_statements_sum") == 1
    assert value(client, "waiting_statements") == 0


def test_what_a_scorer_says_of_its_work_is_passed_on(scorer: Scorer, database: Database) -> None:
    class Timed:
        info = scorer.info
        score_statements = scorer.score_statements
        score_document = scorer.score_document

        def score_timed(self, texts: list[str], *, languages: list[str | None] | None = None) -> TimedScores:
            return TimedScores(scorer.score_statements(texts, languages=languages), 31, 2.5, 7.5)

    with TestClient(create_app(Settings(), ServedModel(Timed(), "", {}), database)) as client:
        response = client.post("/v1/score", json={"statements": [{"text": SENTENCES[0]}]})
        assert value(client, "batch_tokens_sum") == 31
        assert (value(client, "tokenise_seconds_sum"), value(client, "infer_seconds_sum")) == (2.5, 7.5)
    stages = dict(stage.split(";dur=") for stage in response.headers["Server-Timing"].split(", "))
    assert list(stages) == ["queue", "tokenise", "infer", "store"]
    assert (stages["tokenise"], stages["infer"]) == ("2500.0", "7500.0")


@pytest.mark.parametrize("path", ["/v1/score", "/v1/documents"])
def test_every_scoring_answer_says_where_its_time_went(client: TestClient, path: str) -> None:
    body = {"text": SENTENCES[0]} if path == "/v1/documents" else {"statements": [{"text": SENTENCES[0]}]}
    for stored in (True, False):
        stages = client.post(path, json={**body, "store": stored}).headers["Server-Timing"]
        assert {stage.partition(";")[0] for stage in stages.split(", ")} == {"queue", "tokenise", "infer", "store"}


def test_a_database_that_does_not_answer_is_counted(client: TestClient, database: Database, tmp_path: Path) -> None:
    score(client, SENTENCES[0])
    assert value(client, "storage_errors_total") == 0
    (tmp_path / "state" / "credence.db").rename(tmp_path / "elsewhere.db")
    assert client.post("/v1/score", json={"statements": [{"text": SENTENCES[0]}]}).status_code == 503
    assert value(client, "storage_errors_total") >= 1


def test_model_build_and_process_are_described(client: TestClient, scorer: Scorer) -> None:
    names = {name: dict(labels) for name, labels in read(client)}
    assert names["credence_model_info"]["bundle_digest"] == scorer.info.bundle_digest
    assert set(names["credence_build_info"]) == {"version", "python"}
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total"} <= set(names)


def test_series_that_alerts_ask_for_are_there_before_anything_happens(client: TestClient) -> None:
    for reason in UNSCORED:
        assert value(client, "unscored_requests_total", reason=reason) == 0
    for result in DELIVERY_RESULTS:
        assert value(client, "webhook_deliveries_total", result=result) == 0
    assert value(client, "batch_rows_total", result="error") == 0


def test_nothing_that_a_client_sends_makes_a_new_series(client: TestClient) -> None:
    def send_usual() -> None:
        score(client, *SENTENCES, "Das Gericht tagte über Österreich.")
        client.get("/v1/nothing")
        client.request("PROPFIND", "/v1/score")
        client.request("PROPFIND", "/v1/nothing")
        client.post("/v1/score", json={"statements": [{"text": SENTENCES[0], "language": "xx"}]})
        client.get("/v1/score")

    def send_odd() -> Iterator[int]:
        for n in range(5):
            yield client.get(f"/v1/nothing/{n}").status_code
            yield client.get(f"/%00{n}/../Ї?x={n}").status_code
            yield client.request(f"BREW{n}", "/v1/score").status_code
            yield client.request(f"BREW{n}", f"/v1/{n}").status_code
            yield client.get(f"/v1/score?{n}={n}").status_code
            statement = {"text": SENTENCES[0], "language": f"x{n}"}
            yield client.post("/v1/score", json={"statements": [statement]}).status_code
            tags = {"source": f"source {n}", "author": f"author {n}", "document_id": str(n), "id": str(n)}
            yield client.post("/v1/score", json={"statements": [{"text": SENTENCES[0], **tags}]}).status_code
            yield client.post("/v1/score", json={"statements": [{"text": f"Überall gab es {n} Wörter."}]}).status_code

    send_usual()
    client.get("/metrics")
    before = set(read(client))
    assert set(send_odd()) == {200, 404, 405, 422}
    assert set(read(client)) == before


def test_versions_beyond_the_first_few_are_counted_together(scorer: Scorer) -> None:
    metrics = Metrics()
    (one,) = scorer.score_statements([SENTENCES[0]])
    metrics.count_scores(replace(one, model_version=f"v{n}") for n in range(MAX_MODEL_VERSIONS + 5))
    samples = [
        s for family in metrics.registry.collect() for s in family.samples if s.name == "credence_statements_total"
    ]
    assert len(samples) == MAX_MODEL_VERSIONS + 1
    assert next(s.value for s in samples if s.labels["model_version"] == "other") == 5


def test_two_applications_count_apart(client: TestClient, served_model: ServedModel, database: Database) -> None:
    score(client, *SENTENCES)
    with TestClient(create_app(Settings(), served_model, database)) as other:
        assert total(other, "statements_total") == 0


@pytest.mark.parametrize(
    ("accept", "content_type"), [("", "text/plain"), ("application/openmetrics-text", "application/openmetrics-text")]
)
def test_metrics_come_in_the_format_that_is_asked_for(client: TestClient, accept: str, content_type: str) -> None:
    response = client.get("/metrics", headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(content_type)


def test_a_service_that_stops_is_not_ready(served_model: ServedModel, database: Database) -> None:
    app = create_app(Settings(scoring_threads=1), served_model, database)
    with TestClient(app) as client:
        score(client, SENTENCES[0])
        assert value(client, "ready") == 1
        app.drain.begin()
        assert value(client, "ready") == 0


def test_rows_of_batches_are_counted_and_so_are_their_statements(client: TestClient) -> None:
    rows = b'{"text": "The court met on Monday."}\n{"text": ""}\n'
    assert client.post("/v1/batches", content=rows, headers={"Content-Type": "application/x-ndjson"}).is_success
    wait_until(lambda: value(client, "batch_rows_total", result="scored") == 1)
    assert value(client, "batch_rows_total", result="error") == 1
    assert total(client, "statements_total") == 1
    # Nobody sits and waits for a row of a batch.
    assert value(client, "queue_wait_seconds_count") == 0


def test_attempts_to_deliver_a_webhook_are_counted(
    served_model: ServedModel, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.webhooks.delivery.LOOK_SECONDS", 0.01)
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        TestClient(create_app(Settings(webhook_allow_private=True), served_model, database)) as client,
    ):
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/hook"
        deaf.close()
        assert client.post("/v1/webhooks", json={"url": url, "kinds": ["storyline.line"]}).is_success
        score(client, "They secretly rule us all.")
        wait_until(lambda: value(client, "webhook_deliveries_total", result="failed") == 1)
        assert value(client, "webhook_deliveries_total", result="delivered") == 0
