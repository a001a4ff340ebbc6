"""What becomes of a batch when something goes wrong: kills, poison, a folder or a database that is away."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from credence.scoring import ModelInfo, StatementScore
from service.batches.chunk_packing import ScoredRow
from service.batches.engine import BatchEngine
from service.batches.leases import Leases
from service.batches.splitting import BATCH_CHUNK_ROWS
from service.rows.row import BadRow
from service.scoring.pool import PoolStoppedError
from service.store.batch_queue import LEASE, REST
from service.store.batch_records import BatchState
from service.store.database import Database, StorageUnavailableError
from service.store.records import ScoreFilter
from service.store.score_store import ScoreStore
from tests.service.batch_shop import POISON, FlakyScorer, KilledError, Shop
from tests.service.tiny_scorer import TinyScorer

on_both_databases = pytest.mark.on_both_databases


@on_both_databases
@pytest.mark.parametrize("is_stored", [True, False])
def test_kills_while_splitting_and_scoring_lose_and_double_nothing(shop: Shop, is_stored: bool) -> None:
    batch = shop.enter(2500, is_stored=is_stored)

    def die(texts: Sequence[str] = ()) -> None:
        raise KilledError

    n_kills = n_rounds = 0
    while shop.read(batch).finished_at is None:
        n_rounds += 1
        # What was killed is what the next one takes up first, and that one must live.
        acts: tuple[Callable[[], object], ...] = (
            (shop.work, shop.work) if n_rounds % 2 else (lambda: shop.split(die), lambda: shop.work(FlakyScorer(die)))
        )
        for act in acts:
            try:
                act()
            except KilledError:
                n_kills += 1
        shop.time += LEASE
    assert n_kills > 10
    shop.assert_whole(batch, 2500)
    assert set(shop.files(batch)) == (set() if is_stored else {"results"})


@on_both_databases
@pytest.mark.parametrize("is_stored", [True, False])
def test_a_kill_after_a_chunk_was_kept_is_no_harm(shop: Shop, is_stored: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = shop.enter(100, is_stored=is_stored)
    shop.split()
    finish = shop.queue.finish_chunk

    def finish_and_die(*given: object) -> bool:
        finish(*given)  # type: ignore[arg-type]
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(shop.queue, "finish_chunk", finish_and_die)
        with pytest.raises(KilledError):
            shop.work()
    shop.time += LEASE
    while shop.work():
        pass
    shop.assert_whole(batch, 100)
    shop.tidying.tidy_spool()
    assert set(shop.files(batch)) == (set() if is_stored else {"results"})


@on_both_databases
@pytest.mark.parametrize("is_stored", [True, False])
def test_a_poison_row_gets_an_error_and_stops_nothing(shop: Shop, is_stored: bool) -> None:
    def refuse(texts: Sequence[str]) -> None:
        if POISON in texts:
            raise RuntimeError(f"cannot score {texts}")

    scorer = FlakyScorer(refuse)
    batch = shop.enter(200, is_stored=is_stored, poisoned=(3, 70))
    shop.split()
    for _ in range(3):
        while shop.work(scorer):
            pass
        shop.time += REST
    shop.assert_whole(batch, 200)
    errors = [(r.id, r.line, r.kind) for r in shop.results(batch) if isinstance(r, BadRow)]
    assert errors == [(3, 4, "internal_error"), (70, 71, "internal_error")]


def test_rows_that_vanished_from_the_folder_get_errors(shop: Shop) -> None:
    batch = shop.enter(BATCH_CHUNK_ROWS + 1, is_stored=False)
    shop.split()
    shop.spool.delete_rows(batch.id, 1)
    for _ in range(3):
        while shop.work():
            pass
        shop.time += REST
    found = shop.read(batch)
    assert (found.state, found.n_done_rows, found.n_error_rows) == ("done", BATCH_CHUNK_ROWS + 1, BATCH_CHUNK_ROWS)
    assert {r.kind for r in shop.results(batch) if isinstance(r, BadRow)} == {"internal_error"}


def test_an_upload_that_vanished_makes_the_batch_fail(shop: Shop) -> None:
    batch = shop.enter(10)
    shop.spool.delete_batch(batch.id)
    shop.split()
    found = shop.read(batch)
    assert found.state == BatchState.FAILED
    assert "send it again" in (found.failure or "")


def test_a_reader_that_fails_unexpectedly_holds_up_nobody(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    import service.batches.splitting

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a text")

    batch = shop.enter(10)
    with monkeypatch.context() as patched:
        patched.setattr(service.batches.splitting, "read_rows", fail)
        assert shop.split()
    found = shop.read(batch)
    assert (found.state, "please report it" in (found.failure or "")) == (BatchState.FAILED, True)


@on_both_databases
def test_a_chunk_of_a_stopping_process_is_given_back_at_once(shop: Shop) -> None:
    def stop(texts: Sequence[str]) -> None:
        raise PoolStoppedError

    batch = shop.enter(10)
    shop.split()
    for _ in range(5):
        assert shop.work(FlakyScorer(stop))
    assert shop.work()
    shop.assert_whole(batch, 10)
    assert shop.read(batch).n_error_rows == 0


def test_a_split_that_is_stopped_goes_on_at_once(shop: Shop) -> None:
    batch = shop.enter(2500)
    shop.split(on_chunks=shop.is_stopping.set)
    assert not shop.read(batch).is_split
    shop.is_stopping.clear()
    shop.split()
    while shop.work():
        pass
    shop.assert_whole(batch, 2500)


def test_a_chunk_is_of_one_model_even_where_another_takes_over(shop: Shop) -> None:
    class Exchanged(TinyScorer):
        digest = "d" * 64

        @property
        def info(self) -> ModelInfo:
            return replace(super().info, bundle_digest=self.digest)

        def score_statements(
            self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
        ) -> list[StatementScore]:
            self.digest = "e" * 64
            return super().score_statements(texts, languages=languages)

    batch = shop.enter(3)
    shop.split()
    shop.work(Exchanged())
    stored = ScoreStore(shop.database).list_scores(ScoreFilter(batch_id=batch.id), limit=10)
    assert {s.score.bundle_digest for s in stored} == {"e" * 64}
    assert {r.score.bundle_digest for r in shop.results(batch) if isinstance(r, ScoredRow)} == {"e" * 64}


@on_both_databases
def test_nothing_is_left_of_a_batch_that_is_deleted_while_it_is_scored(shop: Shop) -> None:
    batch = shop.enter(10, is_stored=False)
    shop.split()

    def delete(texts: Sequence[str]) -> None:
        assert shop.store.delete(batch.id, with_scores=False)
        shop.spool.delete_batch(batch.id)

    assert shop.work(FlakyScorer(delete))
    assert shop.spool.list_batches() == []
    assert not shop.work()


@on_both_databases
def test_results_of_a_batch_that_is_cancelled_while_it_is_scored_are_dropped(shop: Shop) -> None:
    batch = shop.enter(10, is_stored=False)
    shop.split()

    def cancel(texts: Sequence[str]) -> None:
        shop.store.cancel(batch.id)

    assert shop.work(FlakyScorer(cancel))
    shop.tidying.tidy_spool()
    assert shop.files(batch) == []
    assert shop.read(batch).n_done_rows == 0


def test_a_locked_database_is_waited_for(database: Database, database_url: str, tmp_path: Path) -> None:
    shop = Shop(Database(database_url, busy_seconds=0.01), tmp_path)
    batch = shop.enter(10)
    shop.split()
    held = sqlite3.connect(database_url.removeprefix("sqlite:///"), check_same_thread=False)
    with closing(held):
        is_scored = Event()

        def lock(texts: Sequence[str]) -> None:
            held.execute("BEGIN IMMEDIATE")
            is_scored.set()

        thread = Thread(target=shop.work, args=(FlakyScorer(lock),))
        thread.start()
        is_scored.wait()
        with pytest.raises(StorageUnavailableError):
            shop.store.cancel(batch.id)
        held.rollback()
        thread.join()
    shop.assert_whole(batch, 10)
    shop.database.close()


def test_leases_are_renewed_while_they_are_held() -> None:
    leases = Leases(interval_seconds=0.001)
    leases.start()
    first, second = Event(), Event()

    def fail() -> None:
        first.set()
        raise StorageUnavailableError("away")

    with leases.holding(fail), leases.holding(second.set):
        assert first.wait(10)
        assert second.wait(10)
    leases.close()


@on_both_databases
def test_an_engine_works_off_what_is_entered_until_it_is_closed(shop: Shop) -> None:
    engines = [
        BatchEngine(shop.queue, shop.spool, shop.tidying, TinyScorer(), n_workers=2, max_chars=2000) for _ in range(2)
    ]
    for engine in engines:
        engine.start()
    entered = [shop.enter(1000, is_stored=is_stored) for is_stored in (True, False, True)]
    engines[0].wake()
    pause = Event()
    while not all(shop.read(batch).finished_at for batch in entered):
        pause.wait(0.02)
    for engine in engines:
        engine.close()
    for batch in entered:
        shop.assert_whole(batch, 1000)
