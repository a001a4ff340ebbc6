"""Whose turn it is: the queue alone, without threads."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from credence.scoring import Scorer
from service.scoring.statement_queue import Job, StatementQueue, estimate_tokens
from tests.service.tiny_scorer import TinyScorer

TEXT = "The court met on Monday."
SIZE = estimate_tokens(len(TEXT))


def build_queue(max_batch_statements: int = 4) -> StatementQueue:
    return StatementQueue(max_statements=10_000, max_per_caller=10_000, max_batch_tokens=max_batch_statements * SIZE)


def enqueue(queue: StatementQueue, n_statements: int, scorer: Scorer, caller: str | None = "a") -> Job:
    place = None if caller is None else queue.admit(caller, n_statements, n_statements * SIZE)
    job = Job([TEXT] * n_statements, [None] * n_statements, scorer, place)
    queue.put(job)
    return job


def take(queue: StatementQueue) -> list[Job]:
    batch = queue.take(may_take_background=True)
    return [] if batch is None else [job for job, _ in batch.items]


def test_a_short_request_does_not_wait_for_a_long_one(scorer: Scorer) -> None:
    queue = build_queue()
    enqueue(queue, 500, scorer)
    take(queue)
    short = enqueue(queue, 1, scorer)
    assert short in take(queue)


def test_a_long_request_does_not_wait_for_ever_for_short_ones(scorer: Scorer) -> None:
    queue = build_queue(max_batch_statements=4)
    for _ in range(20):
        enqueue(queue, 1, scorer)
    long = enqueue(queue, 40, scorer)
    n_batches = 0
    while long.is_waiting:
        # As many new ones come as are scored: going round alone, the long one would get ever fewer turns.
        for _ in range(4):
            enqueue(queue, 1, scorer)
        take(queue)
        n_batches += 1
    assert n_batches <= (20 + 2 * 40) / 4


def test_equal_requests_share_a_batch_evenly(scorer: Scorer) -> None:
    queue = build_queue(max_batch_statements=8)
    jobs = [enqueue(queue, 50, scorer) for _ in range(3)]
    shares = Counter(take(queue))
    assert set(shares) == set(jobs)
    assert shares[jobs[1]] >= 1
    assert shares[jobs[2]] >= 1


def test_a_batch_is_no_larger_than_it_may_be_but_never_empty(scorer: Scorer) -> None:
    queue = build_queue(max_batch_statements=3)
    enqueue(queue, 7, scorer)
    assert [len(take(queue)) for _ in range(4)] == [3, 3, 1, 0]
    small = StatementQueue(max_statements=9, max_per_caller=9, max_batch_tokens=1)
    enqueue(small, 2, scorer)
    assert [len(take(small)) for _ in range(3)] == [1, 1, 0]


def test_a_batch_is_for_one_model(scorer: Scorer) -> None:
    queue = build_queue(max_batch_statements=10)
    old, new = TinyScorer(), TinyScorer()
    jobs = [enqueue(queue, 2, model) for model in (old, new, old)]
    assert Counter(take(queue)) == {jobs[0]: 2, jobs[2]: 2}
    assert Counter(take(queue)) == {jobs[1]: 2}


def test_the_background_waits_for_requests_but_not_for_ever(scorer: Scorer) -> None:
    queue = build_queue(max_batch_statements=1)
    background = enqueue(queue, 3, scorer, caller=None)
    enqueue(queue, 30, scorer)
    order = [take(queue)[0] is background for _ in range(33)]
    assert order == [*([False] * 8 + [True]) * 3, *[False] * 6]


def test_the_background_counts_against_nobody(scorer: Scorer) -> None:
    queue = build_queue()
    enqueue(queue, 100, scorer, caller=None)
    assert (queue.n_statements, queue.n_tokens) == (0, 0)


def test_a_job_that_was_ended_is_not_taken(scorer: Scorer) -> None:
    queue = build_queue()
    first, second = enqueue(queue, 9, scorer), enqueue(queue, 2, scorer)
    take(queue)
    queue.end(first)
    assert queue.n_statements == 2 - second.n_taken
    assert set(take(queue)) <= {second}
    assert (queue.n_statements, queue.n_tokens, queue.waiting()) == (0, 0, [])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from(["a", "b", None])), max_size=12), st.integers(1, 9))
def test_every_statement_is_taken_once_and_in_its_order(sizes: list[tuple[int, str | None]], width: int) -> None:
    queue, scorer = build_queue(width), TinyScorer()
    jobs = [enqueue(queue, n, scorer, caller) for n, caller in sizes]
    taken: dict[Job, list[int]] = {job: [] for job in jobs}
    while (batch := queue.take(may_take_background=True)) is not None:
        for job, index in batch.items:
            taken[job].append(index)
    assert taken == {job: list(range(len(job.texts))) for job in jobs}
    assert (queue.n_statements, queue.n_tokens) == (0, 0)
