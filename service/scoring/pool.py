"""Threads in front of a scorer, which put the statements of all waiting requests together into batches.

A thread that is free takes what waits, however little: nobody waits for company.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Condition, Thread
from time import monotonic, perf_counter
from typing import Final

from fastapi import Request

from credence.documents import DocumentPiece, split_document
from credence.scoring import Scorer, TimedScorer, TimedScores
from service.metrics import Metrics
from service.middleware import log_unexpected
from service.models.holder import ModelHolder
from service.scoring.rate import ScoringRate
from service.scoring.statement_queue import Job, MicroBatch, Place, StatementQueue, estimate_tokens
from service.settings import Settings

STATE_KEY: Final = "scoring_pool"
# About as long as the statements of documents are, in characters.
_STATEMENT_CHARS: Final = 100
_CLOSE_SECONDS: Final = 10.0


class PoolStoppedError(Exception):
    """The pool stopped before these statements were scored."""


class LateError(Exception):
    """What waits already takes longer than somebody can wait; ``seconds`` says how long about."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.1f} seconds")
        self.seconds = seconds


class ScoringPool:
    """Scores in its own threads. ``is_ready`` turns true when the warm-up has gone through the model."""

    def __init__(self, holder: ModelHolder, settings: Settings, metrics: Metrics) -> None:
        self._holder = holder
        self._metrics = metrics
        self._queue = StatementQueue(
            max_statements=settings.max_waiting_statements,
            max_per_caller=settings.max_waiting_per_caller,
            max_batch_tokens=settings.max_batch_tokens,
        )
        self._condition = Condition()
        self._rate = ScoringRate()
        self._is_closed = False
        self._takes_requests = True
        self._n_background = 0
        # One thread is left to requests, where there are several.
        self._max_background = max(1, settings.scoring_threads - 1)
        self._warm_up: Future[None] = Future()
        self._n_threads = settings.scoring_threads
        self._threads: list[Thread] = []
        self._splitting = ThreadPoolExecutor(max_workers=1, thread_name_prefix="splitting")

    @property
    def scorer(self) -> Scorer:
        """Return the scorer that new jobs are for."""
        return self._holder.current.scorer

    @property
    def is_ready(self) -> bool:
        """Say whether the model has answered once."""
        return self._warm_up.done() and self._warm_up.exception() is None

    @property
    def n_waiting(self) -> int:
        """Return how many statements of requests wait."""
        return self._queue.n_statements

    @property
    def seconds_of_work(self) -> float:
        """Return about how long it takes to score what waits now."""
        return self._rate.seconds_for(self._queue.n_tokens) or 0.0

    def start(self, warm_up_texts: Sequence[str]) -> None:
        """Start the threads; the first of them begins with a few texts, and nobody waits for it."""
        for n in range(self._n_threads):
            texts = warm_up_texts if n == 0 else ()
            self._threads.append(Thread(target=self._work, args=(texts,), name=f"scoring-{n}", daemon=True))
            self._threads[n].start()

    def admit_statements(self, caller: str, texts: Sequence[str], *, wait_seconds: float) -> Place:
        """Give a list of statements a place; see ``StatementQueue.admit``. Raises ``LateError``."""
        return self._admit(caller, len(texts), sum(estimate_tokens(len(text)) for text in texts), wait_seconds)

    def admit_document(self, caller: str, text: str, *, wait_seconds: float) -> Place:
        """Give a document a place before it is split; see ``admit_statements``."""
        n_statements = -(-len(text) // _STATEMENT_CHARS)
        return self._admit(caller, n_statements, n_statements * estimate_tokens(_STATEMENT_CHARS), wait_seconds)

    def split(self, text: str, language: str | None) -> "Future[list[DocumentPiece]]":
        """Split a document in a thread of its own."""
        return self._splitting.submit(split_document, text, language=language)

    def submit(self, place: Place | None, texts: Sequence[str], languages: Sequence[str | None]) -> Job:
        """Let statements wait for their turns; without a place, in the background."""
        return self._submit(Job(texts, languages, self.scorer, place))

    def submit_apart(self, scorer: Scorer, texts: Sequence[str], languages: Sequence[str | None]) -> Job:
        """Let statements wait in the background for a scorer of one's own; nobody counts their scores as answers."""
        return self._submit(Job(texts, languages, scorer, None, is_counted=False))

    def _submit(self, job: Job) -> Job:
        with self._condition:
            if self._is_closed or not (job.place is None or self._takes_requests):
                self._queue.end(job)
                job.future.set_exception(PoolStoppedError())
            elif not job.texts:
                self._queue.end(job)
                job.future.set_result([])
            else:
                self._queue.put(job)
                self._condition.notify_all()
        return job

    def drop(self, job: Job) -> None:
        """Forget a job that nobody waits for any more."""
        with self._condition:
            self._queue.end(job)

    def give_back(self, place: Place) -> None:
        """Let others have a place."""
        with self._condition:
            self._queue.resize(place, 0, 0)

    def refuse_requests(self) -> None:
        """Fail the requests that wait with ``PoolStoppedError``, and those that come; the background goes on."""
        with self._condition:
            self._takes_requests = False
            stopped = [job for job in self._queue.waiting() if job.place is not None]
        self._stop(stopped)

    def close(self) -> None:
        """Finish what is being scored, unless that hangs, and fail what waits with ``PoolStoppedError``."""
        with self._condition:
            self._is_closed = True
            stopped = self._queue.waiting()
            self._condition.notify_all()
        self._stop(stopped)
        self._splitting.shutdown(wait=True, cancel_futures=True)
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)

    def _stop(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._fail(job, PoolStoppedError())

    def _admit(self, caller: str, n_statements: int, n_tokens: int, wait_seconds: float) -> Place:
        with self._condition:
            seconds = self.seconds_of_work
            if seconds > wait_seconds:
                raise LateError(seconds)
            return self._queue.admit(caller, n_statements, n_tokens)

    def _work(self, warm_up_texts: Sequence[str]) -> None:
        if warm_up_texts:
            self._answer_warm_up(warm_up_texts)
        while (batch := self._next_batch()) is not None:
            try:
                self._score(batch)
            finally:
                with self._condition:
                    self._rate.end_batch(batch.n_tokens)
                    self._n_background -= batch.is_background
                    self._condition.notify_all()
            # A thread that waits would keep the texts of its last batch, and a model that has been exchanged.
            del batch

    def _answer_warm_up(self, texts: Sequence[str]) -> None:
        try:
            self.scorer.score_statements(texts)
        except Exception as error:
            log_unexpected(error)
            self._warm_up.set_exception(error)
        else:
            self._warm_up.set_result(None)

    def _next_batch(self) -> MicroBatch | None:
        with self._condition:
            while not self._is_closed:
                batch = self._queue.take(may_take_background=self._n_background < self._max_background)
                if batch is not None:
                    self._rate.start_batch()
                    self._n_background += batch.is_background
                    self._note_taken(batch)
                    return batch
                self._condition.wait()
        return None

    def _note_taken(self, batch: MicroBatch) -> None:
        for job, _ in batch.items:
            if job.taken_at is None:
                job.taken_at = monotonic()
                if job.place is not None:
                    self._metrics.observe_queue_wait(job.taken_at - job.queued_at)

    def _score(self, batch: MicroBatch) -> None:
        try:
            self._deliver(batch.items, _run(batch.scorer, batch.items))
        except Exception as error:
            jobs = list({job: None for job, _ in batch.items})
            if len(jobs) == 1:
                self._fail(jobs[0], error)
                return
            # One fault must not reach the others of a batch.
            for job in jobs:
                self._score(MicroBatch([item for item in batch.items if item[0] is job], 0, batch.is_background))

    def _deliver(self, items: Sequence[tuple[Job, int]], timed: TimedScores) -> None:
        self._metrics.observe_batch(len(items), timed)
        done = []
        with self._condition:
            for job in {job: None for job, _ in items}:
                job.tokenise_seconds += timed.tokenise_seconds
                job.infer_seconds += timed.infer_seconds
            for (job, index), score in zip(items, timed.scores, strict=True):
                job.scores[index] = score
                if len(job.scores) == len(job.texts) and not job.is_over:
                    self._queue.end(job)
                    done.append(job)
        for job in done:
            scores = [job.scores[index] for index in range(len(job.texts))]
            if job.is_counted:
                self._metrics.count_scores(scores)
            job.future.set_result(scores)

    def _fail(self, job: Job, error: Exception) -> None:
        with self._condition:
            was_over = job.is_over
            self._queue.end(job)
        if not was_over:
            job.future.set_exception(error)


async def get_scoring_pool(request: Request) -> ScoringPool:
    """Return the pool that the app's lifespan has opened."""
    pool: ScoringPool = getattr(request.state, STATE_KEY)
    return pool


def _run(scorer: Scorer, items: Sequence[tuple[Job, int]]) -> TimedScores:
    texts = [job.texts[index] for job, index in items]
    languages = [job.languages[index] for job, index in items]
    if isinstance(scorer, TimedScorer):
        return scorer.score_timed(texts, languages=languages)
    started = perf_counter()
    scores = scorer.score_statements(texts, languages=languages)
    n_tokens = sum(estimate_tokens(len(text)) for text in texts)
    return TimedScores(scores, n_tokens, 0.0, perf_counter() - started)
