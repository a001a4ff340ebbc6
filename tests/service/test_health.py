import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from credence.scoring import DocumentScore, ModelInfo, Scorer, StatementScore
from service.app import create_app
from service.models.source import ServedModel
from service.settings import Settings
from service.store.database import Database

PATIENCE_SECONDS = 30
STATEMENTS = {"statements": [{"text": "The court met on Monday."}]}


class GatedScorer:
    """Scores as another scorer does, but only once its gate is open."""

    def __init__(self, inner: Scorer) -> None:
        self.inner = inner
        self.entered = threading.Event()
        self.gate = threading.Event()

    @property
    def info(self) -> ModelInfo:
        return self.inner.info

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        self.entered.set()
        assert self.gate.wait(PATIENCE_SECONDS), "the gate was never opened"
        return self.inner.score_statements(texts, languages=languages)

    def score_document(self, text: str, *, language: str | None = None) -> DocumentScore:
        return self.inner.score_document(text, language=language)


class BrokenScorer(GatedScorer):
    """Fails the first time."""

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        if not self.entered.is_set():
            self.entered.set()
            raise RuntimeError("the runtime has gone")
        return self.inner.score_statements(texts, languages=languages)


def serve(scorer: Scorer, database: Database, **settings: int) -> TestClient:
    return TestClient(create_app(Settings(**settings), ServedModel(scorer, "", {}), database))  # type: ignore[arg-type]


def test_the_process_is_alive_and_ready(client: TestClient) -> None:
    client.post("/v1/score", json=STATEMENTS)
    assert client.get("/livez").json() == {"status": "alive"}


def test_the_probes_answer_while_a_request_is_being_scored(scorer: Scorer, database: Database) -> None:
    gated = GatedScorer(scorer)
    with serve(gated, database) as client, ThreadPoolExecutor(1) as pool:
        gated.gate.set()
        client.post("/v1/score", json=STATEMENTS)
        gated.gate.clear()
        gated.entered.clear()
        waiting = pool.submit(client.post, "/v1/score", json=STATEMENTS)
        assert gated.entered.wait(PATIENCE_SECONDS)
        assert client.get("/livez").status_code == 200
        assert client.get("/v1/model").status_code == 200
        assert not waiting.done()
        gated.gate.set()
        assert waiting.result().status_code == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_probe_may_ask_for_the_head_alone(scorer: Scorer, database: Database, path: str) -> None:
    with serve(scorer, database, scoring_threads=1) as client:
        # With one thread, the request is scored after the warm-up, so the probes no longer change.
        client.post("/v1/score", json=STATEMENTS)
        head, get = client.head(path), client.get(path)
    del head.headers["X-Request-Id"], get.headers["X-Request-Id"]
    assert (head.status_code, dict(head.headers)) == (200, dict(get.headers))


def test_the_service_is_ready_only_after_its_warm_up(scorer: Scorer, database: Database) -> None:
    gated = GatedScorer(scorer)
    with serve(gated, database, scoring_threads=1) as client:
        early = client.get("/readyz")
        assert (early.status_code, early.json()["type"]) == (503, "urn:credence:problem:not-ready")
        assert client.get("/livez").status_code == 200
        gated.gate.set()
        # With one thread, a request is scored after the warm-up.
        assert client.post("/v1/score", json=STATEMENTS).status_code == 200
        assert client.get("/readyz").json() == {"status": "ready"}


def test_the_service_is_never_ready_if_its_warm_up_fails(scorer: Scorer, database: Database) -> None:
    with serve(BrokenScorer(scorer), database, scoring_threads=1) as client:
        assert client.post("/v1/documents", json={"text": "The court met on Monday."}).status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.get("/livez").status_code == 200


def test_more_requests_than_threads_are_all_answered(scorer: Scorer, database: Database) -> None:
    gated = GatedScorer(scorer)
    with serve(gated, database, scoring_threads=2) as client, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(client.post, "/v1/score", json=STATEMENTS) for _ in range(8)]
        gated.gate.set()
        assert [request.result().status_code for request in waiting] == [200] * 8
