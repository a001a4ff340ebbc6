from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select

from service.store.batch_queue import BatchQueue
from service.store.batch_records import BatchState
from service.store.batch_store import BatchStore
from service.store.database import Database
from service.store.records import ScoreFilter
from service.store.score_store import ScoreStore
from service.store.tables import batch_chunks, batches, events
from tests.service.store.batch_samples import CHUNK, INFO, finish, lines, new_batch, outcome, split
from tests.service.store.conftest import Clock

pytestmark = pytest.mark.on_both_databases


def kinds(database: Database) -> list[tuple[str, str | None]]:
    with database.reading() as connection:
        found = connection.execute(select(events.c.kind, events.c.payload).order_by(events.c.seq)).all()
    return [(event.kind, event.payload.get("state")) for event in found]


def test_a_batch_goes_from_queued_to_done_chunk_by_chunk(
    database: Database, batch_store: BatchStore, queue: BatchQueue, clock: Clock
) -> None:
    entered, _ = batch_store.enter(new_batch())
    split(queue, 3)
    clock.time += timedelta(seconds=5)
    assert [finish(queue) for _ in range(4)] == [1, 2, 3, None]
    batch = batch_store.read(entered.id)
    assert batch is not None
    assert (batch.state, batch.n_rows, batch.n_done_rows, batch.n_done_chunks) == (BatchState.DONE, 6, 6, 3)
    assert (batch.created_at, batch.started_at, batch.finished_at) == (entered.created_at, clock.time, clock.time)
    assert lines(database) == [1, 2, 3, 4, 5, 6]
    assert kinds(database) == [("scores", None)] * 3 + [("batch", "done")]
    stored = ScoreStore(database).list_scores(ScoreFilter(batch_id=entered.id), limit=10)
    assert {(s.batch_id, s.request_id) for s in stored} == {(entered.id, entered.id)}
    with database.reading() as connection:
        assert set(connection.execute(select(batch_chunks.c.rows)).scalars()) == {None}


def test_a_key_enters_one_batch(batch_store: BatchStore) -> None:
    first, is_new = batch_store.enter(new_batch("k"))
    again, is_new_again = batch_store.enter(new_batch("k"))
    assert (is_new, is_new_again, again) == (True, False, first)
    assert batch_store.find_key("k") == first
    batch_store.delete(first.id, with_scores=False)
    assert batch_store.enter(new_batch("k"))[1]


def test_a_batch_without_rows_is_done_when_it_is_split(batch_store: BatchStore, queue: BatchQueue) -> None:
    entered, _ = batch_store.enter(new_batch())
    split(queue, 0)
    batch = batch_store.read(entered.id)
    assert batch is not None
    assert (batch.state, batch.n_rows) == (BatchState.DONE, 0)
    assert batch.finished_at is not None


def test_a_file_that_cannot_be_read_to_its_end_fails_after_what_could_be_read(
    database: Database, batch_store: BatchStore, queue: BatchQueue
) -> None:
    entered, _ = batch_store.enter(new_batch())
    split(queue, 1, failure="the file is cut off")
    assert [finish(queue), finish(queue)] == [1, None]
    batch = batch_store.read(entered.id)
    assert batch is not None
    assert (batch.state, batch.failure, batch.n_done_rows) == (BatchState.FAILED, "the file is cut off", 2)
    assert kinds(database)[-1] == ("batch", "failed")


def test_nothing_is_written_into_a_cancelled_batch(
    database: Database, batch_store: BatchStore, queue: BatchQueue
) -> None:
    entered, _ = batch_store.enter(new_batch())
    splitting = queue.claim_split()
    assert splitting is not None
    assert queue.enter_chunks(splitting, [CHUNK] * 3, first_number=1, n_read_bytes=1)
    finish(queue)
    claim = queue.claim_chunk()
    assert claim is not None
    cancelled = batch_store.cancel(entered.id)
    assert cancelled is not None
    assert (cancelled.state, cancelled.n_done_rows) == (BatchState.CANCELLED, 2)
    assert batch_store.cancel(entered.id) == cancelled
    assert not queue.finish_chunk(claim, outcome(3), INFO)
    assert not queue.enter_chunks(splitting, [CHUNK], first_number=4, n_read_bytes=2)
    assert not queue.end_split(splitting)
    assert (queue.claim_chunk(), queue.claim_split(), lines(database)) == (None, None, [1, 2])
    assert batch_store.count_done(cancelled) == (1, 2)
    assert kinds(database) == [("scores", None), ("batch", "cancelled")]
    assert batch_store.cancel(uuid4()) is None


def test_what_is_done_is_counted_up_to_the_first_gap(batch_store: BatchStore, queue: BatchQueue) -> None:
    entered, _ = batch_store.enter(new_batch())
    split(queue, 4)
    assert finish(queue) == 1
    assert queue.claim_chunk() is not None
    assert finish(queue) == 3
    cancelled = batch_store.cancel(entered.id)
    assert cancelled is not None
    assert batch_store.count_done(cancelled) == (1, 2)


@pytest.mark.parametrize("with_scores", [True, False])
def test_a_deleted_batch_takes_its_scores_along_only_if_asked(
    database: Database, batch_store: BatchStore, queue: BatchQueue, with_scores: bool
) -> None:
    entered, _ = batch_store.enter(new_batch())
    split(queue, 2)
    finish(queue)
    claim = queue.claim_chunk()
    assert claim is not None
    assert batch_store.delete(entered.id, with_scores=with_scores)
    assert not batch_store.delete(entered.id, with_scores=with_scores)
    assert not queue.finish_chunk(claim, outcome(3), INFO)
    assert lines(database) == ([] if with_scores else [1, 2])
    with database.reading() as connection:
        assert connection.execute(select(batch_chunks.c.seq)).all() == []
        assert connection.execute(select(batches.c.seq)).all() == []


def test_batches_go_when_their_time_is_over(
    database: Database, batch_store: BatchStore, queue: BatchQueue, clock: Clock
) -> None:
    old, _ = batch_store.enter(new_batch())
    split(queue, 1)
    finish(queue)
    clock.time += timedelta(hours=2)
    newer, _ = batch_store.enter(new_batch())
    split(queue, 1)
    finish(queue)
    unfinished, _ = batch_store.enter(new_batch())
    assert batch_store.delete_expired(clock.time - timedelta(hours=1)) == 1
    assert [batch.id for batch in batch_store.list_batches(limit=10)] == [unfinished.id, newer.id]
    assert batch_store.read(old.id) is None
    assert lines(database) == [1, 1, 2, 2]


def test_the_pace_counts_all_workers_and_only_lately(batch_store: BatchStore, queue: BatchQueue, clock: Clock) -> None:
    entered, _ = batch_store.enter(new_batch())
    split(queue, 40)
    assert batch_store.read_pace(entered) is None
    for _ in range(10):
        finish(queue)
        clock.time += timedelta(hours=1)
    for _ in range(20):
        finish(queue)
        clock.time += timedelta(seconds=1)
    batch = batch_store.read(entered.id)
    assert batch is not None
    assert batch_store.read_pace(batch) == pytest.approx(1.9)


def test_results_come_in_the_order_of_the_input(batch_store: BatchStore, queue: BatchQueue) -> None:
    entered, _ = batch_store.enter(new_batch())
    split(queue, 3)
    claims = [queue.claim_chunk() for _ in range(3)]
    for claim in reversed(claims):
        assert claim is not None
        queue.finish_chunk(claim, replace(outcome(), results=str(claim.number).encode()), INFO)
    first = batch_store.read_results(entered, after_number=0, limit=2)
    rest = batch_store.read_results(entered, after_number=2, limit=2)
    assert [chunk.results for chunk in first + rest] == [b"1", b"2", b"3"]
