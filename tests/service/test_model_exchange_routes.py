"""The exchange of models from outside: while others ask, and by hand."""

import gc
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from credence.labels import DISCLAIMER
from service.app import CredenceApi, create_app
from service.batches.splitting import BATCH_CHUNK_ROWS
from service.cli import build_cli
from service.door.api_keys import Scope
from service.settings import Settings
from service.store.database import Database
from service.store.key_store import KeyStore
from tests.service.batch_calls import enter, results, rows_of, wait
from tests.service.held_scorer import wait_until
from tests.service.tiny_bundles import ALIAS, Market, load_tiny

PATH = "/v1/admin/model"
TEXT = "The court met on Monday."
# The ways of the models of the market, by the confidence that tells who made a score.
CONFIDENCES = {"1": 0.7, "2": 0.85}


class Service:
    """A service whose model comes from a market, and which looks at the alias when it is told to."""

    def __init__(self, market: Market, app: CredenceApi, client: TestClient) -> None:
        self.market = market
        self.app = app
        self.client = client

    def show(self) -> Any:
        return self.client.get(f"{PATH}/candidate").json()

    def move_to(self, version: str, state: str = "exchanged") -> Any:
        """Move the alias, and wait until the candidate has come as far as it comes."""
        self.market.point_at(version)
        assert self.client.post(f"{PATH}/check").status_code == 202
        return self.wait_for(version, state)

    def wait_for(self, version: str, state: str) -> Any:
        def has_come() -> bool:
            candidate = self.show()["candidate"]
            return candidate is not None and (candidate["source_version"], candidate["state"]) == (version, state)

        wait_until(has_come)
        return self.show()

    def score(self, *texts: str, path: str = "/v1/score", store: bool = True) -> Any:
        body = {"text": " ".join(texts)} if path == "/v1/documents" else {"statements": [{"text": t} for t in texts]}
        response = self.client.post(path, json={**body, "store": store})
        assert response.status_code == 200, response.text
        return response.json()


Open = Callable[..., Service]


@pytest.fixture
def market(tmp_path: Path) -> Market:
    market = Market(tmp_path)
    market.offer("1")
    market.offer("2", "surer")
    market.point_at("1")
    return market


@pytest.fixture
def open_service(market: Market, database: Database) -> Iterator[Open]:
    clients: list[TestClient] = []

    def open_one(**settings: Any) -> Service:
        supply = market.supply()
        given = {"model_check_seconds": 3600, **settings}
        app = create_app(Settings(**given), load_tiny(supply.find_first()), database, supply)
        client = TestClient(app)
        client.__enter__()
        clients.append(client)
        service = Service(market, app, client)
        wait_until(lambda: service.show()["checked_at"] is not None)
        return service

    yield open_one
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def service(open_service: Open) -> Service:
    return open_service()


def test_every_answer_is_of_one_model_while_models_are_exchanged(service: Service) -> None:
    digests = {path.name: load_tiny(path).scorer.info.bundle_digest for path in service.market.folder.glob("[12]")}
    is_over = Event()

    def ask(path: str, *, store: bool) -> list[Any]:
        answers = []
        while not is_over.is_set():
            answers.append(service.score(*[TEXT] * 5, path=path, store=store))
        return answers

    with ThreadPoolExecutor(4) as callers:
        asked = [callers.submit(ask, path, store=s) for path in ("/v1/score", "/v1/documents") for s in (True, False)]
        try:
            for version in ("2", "1", "2", "1"):
                service.move_to(version)
                assert service.client.get("/readyz").status_code == 200
        finally:
            is_over.set()
        answers = [answer for future in asked for answer in future.result()]

    for answer in answers:
        model = answer["model"]
        assert model["bundle_digest"] == digests[model["model_version"]]
        for result in answer.get("results", answer.get("statements")):
            assert result["confidence"] == pytest.approx(CONFIDENCES[model["model_version"]])
            assert (result["model_version"], result["bundle_digest"]) == (
                model["model_version"],
                model["bundle_digest"],
            )
    assert {answer["model"]["model_version"] for answer in answers} == {"1", "2"}


def test_what_is_told_of_the_model_changes_with_it(service: Service) -> None:
    score_id = service.score(TEXT)["results"][0]["score_id"]
    assert service.client.get(f"/v1/scores/{score_id}/lineage").json()["is_served_now"] is True
    service.move_to("2")
    told = service.client.get("/v1/model").json()
    assert (told["version"], told["card"]) == ("2", "# Model 2\n")
    assert 'model_version="2"' in service.client.get("/metrics").text
    assert service.client.get(f"/v1/scores/{score_id}/lineage").json()["is_served_now"] is False
    assert service.score(TEXT)["model"]["model_version"] == "2"


def test_a_model_is_gone_once_its_last_request_is_answered(service: Service) -> None:
    first = weakref.ref(service.app.holder.current.scorer)
    service.score(TEXT)
    service.score(TEXT, path="/v1/documents")
    service.move_to("2")

    def is_gone() -> bool:
        gc.collect()
        return first() is None

    wait_until(is_gone)


def test_a_candidate_is_told_with_its_differences(service: Service) -> None:
    service.score(TEXT, f"{TEXT} Again.", "They secretly rule.")
    told = service.move_to("2")
    assert (told["source"], told["exchange"]) == (f"file:{service.market.folder}@{ALIAS}", "automatic")
    assert (told["served"]["model_version"], told["previous"]["model_version"]) == ("2", "1")
    assert told["candidate"]["model"] == told["served"]
    shadow = told["candidate"]["shadow"]
    assert (shadow["n_statements"], shadow["agreement"]) == (3, 1)
    assert shadow["mean_score_shift"] == pytest.approx(0.075)
    assert shadow["compared_with"] == told["previous"]["bundle_digest"]
    assert told["disclaimer"] == DISCLAIMER


def test_what_runs_in_the_shadow_is_no_answer(service: Service) -> None:
    service.score(TEXT)
    service.move_to("2")
    text = service.client.get("/metrics").text
    assert 'outcome="factual_report"' in text
    assert [line for line in text.splitlines() if line.startswith("credence_statements_total")] == [
        'credence_statements_total{label="factual_report",language="en",model_version="1",outcome="factual_report"} 1.0'
    ]
    assert service.client.get("/v1/scores").json()["rows"][0]["model_version"] == "1"


def test_a_refused_candidate_says_why(service: Service) -> None:
    service.market.offer("3", "constant")
    told = service.move_to("3", "refused")
    assert told["candidate"]["reason"] == "it scores statements of three kinds alike"
    assert told["candidate"]["retry_at"] is not None
    assert told["served"]["model_version"] == "1"
    assert service.client.post(f"{PATH}/promote").status_code == 409


def test_in_manual_mode_a_candidate_is_promoted_by_hand(open_service: Open) -> None:
    service = open_service(model_exchange="manual")
    told = service.move_to("2", "ready")
    digest = told["candidate"]["model"]["bundle_digest"]
    other = service.client.post(f"{PATH}/promote", params={"bundle_digest": "0" * 64})
    assert (other.status_code, other.json()["type"]) == (409, "urn:credence:problem:model-not-exchanged")
    promoted = service.client.post(f"{PATH}/promote", params={"bundle_digest": digest})
    assert (promoted.status_code, promoted.json()["served"]["bundle_digest"]) == (200, digest)
    assert service.score(TEXT)["model"]["model_version"] == "2"


def test_a_rollback_is_served_at_once(service: Service) -> None:
    service.move_to("2")
    told = service.client.post(f"{PATH}/rollback")
    assert (told.status_code, told.json()["served"]["model_version"]) == (200, "1")
    assert told.json()["candidate"]["state"] == "rolled_back"
    assert service.score(TEXT)["model"]["model_version"] == "1"
    again = service.client.post(f"{PATH}/rollback")
    assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")


def test_a_digest_that_is_none_is_refused(service: Service) -> None:
    assert service.client.post(f"{PATH}/promote", params={"bundle_digest": "x"}).status_code == 422


@pytest.mark.parametrize("action", ["check", "promote", "rollback"])
def test_without_a_source_nothing_can_be_exchanged(client: TestClient, action: str) -> None:
    told = client.get(f"{PATH}/candidate").json()
    assert (told["source"], told["candidate"], told["served"]["model_version"]) == (None, None, "tiny-1")
    response = client.post(f"{PATH}/{action}")
    assert response.status_code == 409
    assert "CREDENCE_MODEL_SOURCE" in response.json()["detail"]


@pytest.mark.parametrize(("method", "action"), [("GET", "candidate"), ("POST", "check"), ("POST", "rollback")])
def test_only_an_admin_sees_or_exchanges_models(
    client: TestClient, database: Database, method: str, action: str
) -> None:
    _, token = KeyStore(database).create("Newsroom", [scope for scope in Scope if scope is not Scope.ADMIN])
    response = client.request(method, f"{PATH}/{action}", headers={"Authorization": f"Bearer {token.text}"})
    assert response.status_code == 403


def test_every_chunk_of_a_batch_is_of_one_model(service: Service) -> None:
    batch = enter(service.client, rows_of(20 * BATCH_CHUNK_ROWS))
    service.move_to("2")
    found = results(service.client, wait(service.client, batch))
    assert len(found) == 20 * BATCH_CHUNK_ROWS
    for start in range(0, len(found), BATCH_CHUNK_ROWS):
        chunk = found[start : start + BATCH_CHUNK_ROWS]
        assert len({row["bundle_digest"] for row in chunk}) == 1
        assert all(row["confidence"] == pytest.approx(CONFIDENCES[row["model_version"]]) for row in chunk)


def test_a_command_scores_with_the_model_of_the_source(
    market: Market, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CREDENCE_MODEL_SOURCE", f"file:{market.folder}@{ALIAS}")
    market.supply().find_first()
    market.close_down()
    seen: list[Path | None] = []

    def load(bundle_path: Path | None) -> Any:
        seen.append(bundle_path)
        assert bundle_path is not None
        return load_tiny(bundle_path)

    result = CliRunner().invoke(build_cli(load), ["score", "--json", TEXT])
    assert result.exit_code == 0, result.output
    assert seen[0] is not None
    assert seen[0].parent == market.shelf_folder


def test_a_server_without_a_model_does_not_start(
    market: Market, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("CREDENCE_MODEL_SOURCE", f"file:{market.folder}@{ALIAS}")
    market.close_down()
    result = CliRunner().invoke(build_cli(load_tiny), ["serve", "--port", "1"])  # type: ignore[arg-type]
    assert result.exit_code == 2
    assert "the file champion cannot be read" in result.output
