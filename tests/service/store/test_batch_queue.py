from datetime import timedelta
from threading import Thread

import pytest

from service.store.batch_queue import LEASE, REST, BatchQueue
from service.store.batch_records import BatchState
from service.store.batch_store import BatchStore
from service.store.database import Database
from tests.service.store.batch_samples import CHUNK, INFO, OTHER_SPOOL, SPOOL, finish, lines, new_batch, outcome, split
from tests.service.store.conftest import Clock

pytestmark = pytest.mark.on_both_databases


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
