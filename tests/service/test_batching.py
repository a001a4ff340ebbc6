"""How statements of all requests share the model: who is scored with whom, and what each gets of it."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from fastapi.testclient import TestClient

import credence
from credence.scoring import ModelInfo, Scorer, StatementScore
from service.app import create_app
from service.metrics import Metrics
from service.models.holder import ModelHolder
from service.models.source import ServedModel
from service.scoring.background_scoring import BackgroundScorer
from service.scoring.pool import PoolStoppedError, ScoringPool
from service.settings import Settings
from service.store.database import Database
from tests.service.held_scorer import POISON, HeldScorer, wait_until
from tests.service.tiny_scorer import TinyScorer

TEXT = "The court met on Monday."
STATEMENTS = Path(__file__).parents[2] / "datasets" / "statements"


@pytest.fixture
def held(scorer: Scorer) -> HeldScorer:
    return HeldScorer(scorer)


@pytest.fixture
def holder(held: HeldScorer) -> ModelHolder:
    return ModelHolder(ServedModel(held, "", {}))


@pytest.fixture
def pool(holder: ModelHolder, held: HeldScorer) -> Iterator[ScoringPool]:
    """A pool of one thread, which has answered its warm-up."""
    pool = ScoringPool(holder, Settings(scoring_threads=1), Metrics())
    held.let_go()
    pool.start(["The first statement of all."])
    wait_until(lambda: pool.is_ready)
    held.batches.clear()
    yield pool
    held.open()
    pool.close()


def submit(pool: ScoringPool, *texts: str, caller: str = "a") -> "Future[list[StatementScore]]":
    place = pool.admit_statements(caller, texts, wait_seconds=60)
    return pool.submit(place, texts, [None] * len(texts)).future


def block(pool: ScoringPool, held: HeldScorer) -> "Future[list[StatementScore]]":
    """Keep the thread busy until the scorer lets it go."""
    blocking = submit(pool, "This one comes first.")
    wait_until(lambda: len(held.batches) == 1)
    return blocking


def test_an_idle_thread_waits_for_no_company(pool: ScoringPool, held: HeldScorer) -> None:
    held.open()
    assert submit(pool, TEXT).result()[0].label == "factual_report"
    assert held.batches == [[TEXT]]


def test_what_waits_is_scored_at_once_and_each_gets_its_own(pool: ScoringPool, held: HeldScorer) -> None:
    block(pool, held)
    texts = [TEXT, "He claims that it rained.", "They secretly rule us all."]
    waiting = [submit(pool, text, caller=text) for text in texts]
    held.open()
    labels = [future.result()[0].label for future in waiting]
    assert labels == ["factual_report", "allegation", "likely_disinformation_narrative"]
    assert sorted(held.batches[1]) == sorted(texts)


def test_a_fault_reaches_only_the_request_that_has_it(pool: ScoringPool, held: HeldScorer) -> None:
    block(pool, held)
    good, bad, other = submit(pool, TEXT), submit(pool, TEXT, POISON), submit(pool, TEXT)
    held.open()
    assert [len(future.result()) for future in (good, other)] == [1, 1]
    with pytest.raises(RuntimeError, match="poison"):
        bad.result()
    assert len(held.batches[1]) == 4


def test_a_scorer_that_gives_too_few_scores_is_a_fault(pool: ScoringPool, holder: ModelHolder) -> None:
    class Forgetful(TinyScorer):
        def score_statements(self, texts, *, languages=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            return super().score_statements(texts, languages=languages)[1:]

    holder.exchange(ServedModel(Forgetful(), "", {}))
    with pytest.raises(ValueError, match="shorter"):
        submit(pool, TEXT, TEXT).result()


def test_the_background_goes_after_requests(pool: ScoringPool, held: HeldScorer) -> None:
    block(pool, held)
    background = pool.submit(None, ["This can wait."], [None])
    request = submit(pool, TEXT)
    held.open()
    assert (len(request.result()), len(background.future.result())) == (1, 1)
    assert held.batches[1:] == [[TEXT], ["This can wait."]]


def test_the_background_leaves_a_thread_to_requests(holder: ModelHolder, held: HeldScorer) -> None:
    pool = ScoringPool(holder, Settings(scoring_threads=2, max_batch_tokens=1), Metrics())
    pool.start(())
    try:
        background = pool.submit(None, ["This can wait."] * 2, [None] * 2)
        wait_until(lambda: len(held.batches) == 1)
        request = submit(pool, TEXT)
        wait_until(lambda: len(held.batches) == 2)
        assert held.batches[1] == [TEXT]
        held.open()
        assert (len(request.result()), len(background.future.result())) == (1, 2)
    finally:
        held.open()
        pool.close()


def test_a_background_scorer_scores_as_the_scorer_does(pool: ScoringPool, held: HeldScorer, scorer: Scorer) -> None:
    held.open()
    background = BackgroundScorer(pool)
    assert background.score_statements([TEXT, "Чому?"]) == scorer.score_statements([TEXT, "Чому?"])
    assert background.score_statements([TEXT], languages=["uk"])[0].language == "uk"
    assert [s.end_char for s in background.score_document(f"{TEXT} {TEXT}").statements] == [24, 49]
    assert background.info == scorer.info


def test_requests_may_be_refused_while_the_background_goes_on(pool: ScoringPool, held: HeldScorer) -> None:
    blocking = block(pool, held)
    waiting, background = submit(pool, TEXT), pool.submit(None, [TEXT], [None])
    pool.refuse_requests()
    for future in (waiting, submit(pool, TEXT)):
        with pytest.raises(PoolStoppedError):
            future.result()
    assert pool.n_waiting == 0
    held.open()
    assert (len(blocking.result()), len(background.future.result())) == (1, 1)


def test_nobody_waits_for_a_pool_that_is_closed(pool: ScoringPool, held: HeldScorer) -> None:
    blocking = block(pool, held)
    waiting, background = submit(pool, TEXT), pool.submit(None, [TEXT], [None])
    with ThreadPoolExecutor(1) as closing:
        closed = closing.submit(pool.close)
        for future in (waiting, background.future):
            with pytest.raises(PoolStoppedError):
                future.result()
        assert not closed.done()
        held.open()
        closed.result()
    assert len(blocking.result()) == 1
    with pytest.raises(PoolStoppedError):
        pool.submit(None, [TEXT], [None]).future.result()


def test_what_came_before_a_new_model_is_scored_by_the_old_one(
    pool: ScoringPool, holder: ModelHolder, held: HeldScorer
) -> None:
    class Newer(TinyScorer):
        @property
        def info(self) -> ModelInfo:
            return replace(super().info, model_version="tiny-2")

    block(pool, held)
    before = submit(pool, TEXT, TEXT)
    holder.exchange(ServedModel(Newer(), "", {}))
    after = submit(pool, TEXT)
    held.open()
    assert [score.model_version for score in before.result()] == ["tiny-1", "tiny-1"]
    assert [score.model_version for score in after.result()] == ["tiny-2"]


def test_statements_of_a_document_share_batches_with_others(
    held: HeldScorer, database: Database, settings: Settings
) -> None:
    app = create_app(settings.model_copy(update={"scoring_threads": 1}), ServedModel(held, "", {}), database)
    with TestClient(app) as client:
        held.open()
        document = client.post("/v1/documents", json={"text": f"{TEXT} He claims that it rained."}).json()
        assert [s["label"] for s in document["statements"]] == ["factual_report", "allegation"]
        assert [TEXT, "He claims that it rained."] in held.batches


@pytest.fixture(scope="module")
def shipped() -> Scorer:
    return credence.load_scorer()


def test_a_score_of_the_shipped_model_is_the_same_to_the_bit_in_any_company(shipped: Scorer) -> None:
    texts = [
        json.loads(line)["text"]
        for language in ("en", "uk", "ru")
        for line in (STATEMENTS / f"{language}.jsonl").read_text(encoding="utf-8").splitlines()[:14]
    ]
    alone = {text: shipped.score_statements([text])[0] for text in texts}
    holder = ModelHolder(ServedModel(shipped, "", {}))
    pool = ScoringPool(holder, Settings(scoring_threads=2, max_batch_tokens=300), Metrics())
    pool.start(())
    try:
        generator = Random(7)
        requests = [generator.sample(texts, generator.choice((1, 2, 9, 20))) for _ in range(20)]
        futures = [submit(pool, *request, caller=str(n)) for n, request in enumerate(requests)]
        for request, future in zip(requests, futures, strict=True):
            assert future.result() == [alone[text] for text in request]
    finally:
        pool.close()
