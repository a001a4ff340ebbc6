from dataclasses import replace
from datetime import timedelta
from threading import Thread
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from service.store.batch_queue import LEASE, REST, BatchQueue
from service.store.batch_records import BatchState, ChunkOutcome, NewBatch, NewChunk
from service.store.batch_store import BatchStore
from service.store.database import Database
from service.store.records import NewScore, ScoreFilter, Tags
from service.store.score_store import ScoreStore
from service.store.tables import batch_chunks, batches, events
from tests.service.store.conftest import Clock
from tests.service.tiny_scorer import TinyScorer

pytestmark = pytest.mark.on_both_databases
INFO = TinyScorer().info
SPOOL, OTHER_SPOOL = UUID(int=1), UUID(int=2)
CHUNK = NewChunk(2, b"rows")


def new_batch(key: str | None = None, *, is_stored: bool = True, spool_id: UUID = SPOOL) -> NewBatch:
    return NewBatch(uuid4(), key, "jsonl", "utf-8", 100, is_stored, "wire", None, spool_id)


def outcome(first_line: int = 1, n_errors: int = 0) -> ChunkOutcome:
    texts = ("The court met on Monday.", "He claims that it rained.")
    new = [
        NewScore(uuid4(), None, Tags(), text, score, batch_line=line)
        for line, (text, score) in enumerate(
            zip(texts, TinyScorer().score_statements(texts), strict=True), start=first_line
        )
    ]
    return ChunkOutcome(n_errors, new[n_errors:], b"results")


@pytest.fixture
def batch_store(database: Database, clock: Clock) -> BatchStore:
    return BatchStore(database, now=lambda connection: clock())


@pytest.fixture
def queue(database: Database, clock: Clock) -> BatchQueue:
    return BatchQueue(database, SPOOL, now=lambda connection: clock())


def split(queue: BatchQueue, n_chunks: int, failure: str | None = None) -> None:
    claim = queue.claim_split()
    assert claim is not None
    for number in range(1, n_chunks + 1):
        assert queue.enter_chunks(claim, [CHUNK], first_number=number, n_read_bytes=number)
    assert queue.end_split(claim, failure=failure)


def finish(queue: BatchQueue) -> int | None:
    claim = queue.claim_chunk()
    if claim is None:
        return None
    assert queue.finish_chunk(claim, outcome(2 * claim.number - 1), INFO)
    return claim.number


def lines(database: Database) -> list[int]:
    return sorted(s.batch_line or 0 for s in ScoreStore(database).list_scores(ScoreFilter(), limit=1000))


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


def test_an_abandoned_chunk_is_scored_by_somebody_else_and_kept_once(
    database: Database, batch_store: BatchStore, queue: BatchQueue, clock: Clock
) -> None:
    batch_store.enter(new_batch())
    split(queue, 1)
    abandoned = queue.claim_chunk()
    assert abandoned is not None
    clock.time += LEASE - timedelta(seconds=1)
    assert queue.claim_chunk() is None
    queue.renew_chunk(abandoned)
    clock.time += LEASE - timedelta(seconds=1)
    assert queue.claim_chunk() is None
    clock.time += timedelta(seconds=1)
    taken_over = queue.claim_chunk()
    assert taken_over is not None
    assert not queue.finish_chunk(abandoned, outcome(), INFO)
    assert lines(database) == []
    assert queue.finish_chunk(taken_over, outcome(), INFO)
    assert not queue.finish_chunk(abandoned, outcome(), INFO)
    assert lines(database) == [1, 2]


def test_a_chunk_whose_fate_was_unknown_is_kept_once(
    database: Database, batch_store: BatchStore, queue: BatchQueue
) -> None:
    entered, _ = batch_store.enter(new_batch())
    split(queue, 1)
    claim = queue.claim_chunk()
    assert claim is not None
    assert [queue.finish_chunk(claim, outcome(), INFO) for _ in range(2)] == [True, True]
    batch = batch_store.read(entered.id)
    assert batch is not None
    assert (lines(database), batch.n_done_rows) == ([1, 2], 2)


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(days=400), timedelta(hours=-1)])
def test_no_jump_of_the_clock_holds_up_or_doubles_a_chunk(
    database: Database, batch_store: BatchStore, queue: BatchQueue, clock: Clock, jump: timedelta
) -> None:
    batch_store.enter(new_batch())
    split(queue, 2)
    before = queue.claim_chunk()
    clock.time += jump
    assert [finish(queue), finish(queue)] == [1, 2]
    assert before is not None
    assert not queue.finish_chunk(before, outcome(), INFO)
    assert lines(database) == [1, 2, 3, 4]


def test_workers_at_once_share_the_chunks(database: Database, batch_store: BatchStore) -> None:
    queue = BatchQueue(database, SPOOL)
    for _ in range(2):
        batch_store.enter(new_batch())
        split(queue, 12)
    done: list[list[int]] = [[], [], []]

    def work(numbers: list[int]) -> None:
        while (number := finish(queue)) is not None:
            numbers.append(number)

    threads = [Thread(target=work, args=(numbers,)) for numbers in done]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(n for numbers in done for n in numbers) == sorted([*range(1, 13)] * 2)
    assert lines(database) == sorted([*range(1, 25)] * 2)
    assert {batch.state for batch in batch_store.list_batches(limit=10)} == {BatchState.DONE}


def test_rows_in_the_folder_of_another_machine_are_left_to_it(
    database: Database, batch_store: BatchStore, queue: BatchQueue
) -> None:
    there = BatchQueue(database, OTHER_SPOOL)
    batch_store.enter(new_batch(is_stored=False, spool_id=OTHER_SPOOL))
    stored, _ = batch_store.enter(new_batch(spool_id=OTHER_SPOOL))
    assert queue.claim_split() is None
    split(there, 1)
    split(there, 1)
    claim = queue.claim_chunk()
    assert claim is not None
    assert claim.batch.id == stored.id
    assert queue.claim_chunk() is None
    assert there.claim_chunk() is not None


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


def test_a_split_goes_on_where_it_was(batch_store: BatchStore, queue: BatchQueue, clock: Clock) -> None:
    entered, _ = batch_store.enter(new_batch())
    abandoned = queue.claim_split()
    assert abandoned is not None
    assert queue.enter_chunks(abandoned, [CHUNK, CHUNK], first_number=1, n_read_bytes=50)
    assert queue.claim_split() is None
    clock.time += LEASE
    again = queue.claim_split()
    assert again is not None
    assert (again.batch.id, again.batch.n_rows, again.batch.n_chunks) == (entered.id, 4, 2)
    assert not queue.enter_chunks(abandoned, [CHUNK], first_number=3, n_read_bytes=60)
    assert queue.enter_chunks(again, [CHUNK], first_number=3, n_read_bytes=60)
    assert not queue.enter_chunks(again, [CHUNK], first_number=3, n_read_bytes=60)
    queue.release_split(again)
    assert queue.claim_split() is not None


def test_a_chunk_that_failed_rests_and_is_counted(batch_store: BatchStore, queue: BatchQueue, clock: Clock) -> None:
    batch_store.enter(new_batch())
    split(queue, 2)
    for number in range(2):
        claim = queue.claim_chunk()
        assert claim is not None
        assert (claim.number, claim.n_failures) == (1, number)
        queue.fail_chunk(claim)
        clock.time += REST
    assert [finish(queue), finish(queue)] == [1, 2]


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
