import sys
from collections.abc import Mapping, Sequence

import pytest
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database
from service.tracing import Tracing, TracingError, open_tracing

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
CANARY = "CANARY-4c1d"


@pytest.fixture
def spans(
    settings: Settings, served_model: ServedModel, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Sequence[ReadableSpan]:
    """Return the spans of three requests, whose texts, tags, paths and headers all hold a canary."""
    exporter = InMemorySpanExporter()
    monkeypatch.setattr("service.parts.open_tracing", lambda endpoint: Tracing(exporter))
    statement = {"text": f"The court met on Monday, {CANARY}.", "source": CANARY, "id": CANARY}
    with TestClient(create_app(settings, served_model, database), raise_server_exceptions=False) as client:
        client.post("/v1/score", json={"statements": [statement]}, headers={"traceparent": PARENT})
        client.post(f"/v1/{CANARY}", json={})
        client.get(f"/v1/scores?source={CANARY}", headers={"X-Canary": CANARY})
        client.get("/livez")
    return exporter.get_finished_spans()


def attributes(span: ReadableSpan) -> Mapping[str, object]:
    return span.attributes or {}


def test_a_request_is_a_span_with_its_route_status_and_stages(spans: Sequence[ReadableSpan]) -> None:
    scored, unknown, listed = spans
    assert [span.name for span in spans] == ["POST /v1/score", "POST (no route)", "GET /v1/scores"]
    assert [attributes(span)["http.response.status_code"] for span in spans] == [200, 404, 200]
    assert attributes(scored)["credence.n_statements"] == 1
    assert {f"credence.{stage}_seconds" for stage in ("queue", "infer", "store")} <= attributes(scored).keys()
    assert scored.start_time is not None
    assert scored.end_time is not None
    assert scored.start_time < scored.end_time
    assert unknown.parent is listed.parent is None


def test_a_span_joins_the_trace_of_its_caller(spans: Sequence[ReadableSpan]) -> None:
    parent = spans[0].parent
    assert parent is not None
    assert (f"{parent.trace_id:032x}", f"{parent.span_id:016x}") == (PARENT.split("-")[1], PARENT.split("-")[2])


def test_no_span_holds_anything_that_was_sent(spans: Sequence[ReadableSpan]) -> None:
    assert not [span for span in spans if CANARY in span.to_json()]


def test_nothing_is_traced_unless_asked() -> None:
    assert open_tracing(None) is None


def test_what_is_missing_to_trace_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(TracingError, match="credence\\[tracing\\]"):
        open_tracing("http://127.0.0.1:4318/v1/traces")
