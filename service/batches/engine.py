"""The threads that work on batches: one that splits uploads, those that score, and one that holds what they claimed."""

import logging
from collections.abc import Callable
from threading import Event, Thread
from typing import Final

from credence.scoring import Scorer
from service.batches.leases import Leases
from service.batches.splitting import Splitter
from service.batches.spool import BatchSpool
from service.batches.tidying import BatchTidying
from service.batches.worker import BatchWorker, RowCounter, count_nothing
from service.middleware import log_unexpected
from service.store.batch_queue import BatchQueue
from service.store.database import StorageUnavailableError

POLL_SECONDS: Final = 1.0
_LOGGER: Final = logging.getLogger("service")


class BatchEngine:
    """Works on batches in the background until it is closed. It never gives up while the database is away."""

    def __init__(
        self,
        queue: BatchQueue,
        spool: BatchSpool,
        tidying: BatchTidying,
        scorer: Scorer,
        *,
        n_workers: int,
        max_chars: int,
        count_rows: RowCounter = count_nothing,
    ) -> None:
        self._is_stopping = Event()
        self._has_upload, self._has_chunks = Event(), Event()
        self._leases = Leases(interval_seconds=queue.lease.total_seconds() / 4)
        splitter = Splitter(
            queue,
            spool,
            self._leases,
            max_chars=max_chars,
            is_stopping=self._is_stopping,
            on_chunks=self._has_chunks.set,
        )
        worker = BatchWorker(queue, spool, scorer, self._leases, is_stopping=self._is_stopping, count_rows=count_rows)
        self._threads = [
            Thread(target=self._run, args=(step, event), name=name, daemon=True)
            for name, step, event in (
                ("splitter", _after(tidying.tidy_spool, splitter.split_next), self._has_upload),
                *((f"worker-{n}", worker.score_next, self._has_chunks) for n in range(1, n_workers + 1)),
            )
        ]

    def start(self) -> None:
        """Start the threads."""
        self._leases.start()
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Say that an upload was entered."""
        self._has_upload.set()

    def close(self) -> None:
        """Stop as soon as the chunks that are being scored are kept."""
        self._is_stopping.set()
        self._has_upload.set()
        self._has_chunks.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()
        self._leases.close()

    def _run(self, step: Callable[[], bool], has_news: Event) -> None:
        is_away = False
        while not self._is_stopping.is_set():
            has_worked = False
            try:
                has_worked = step()
                is_away = False
            except StorageUnavailableError as error:
                if not is_away:
                    _LOGGER.warning("batches wait: %s", error)
                is_away = True
            except Exception as error:
                log_unexpected(error)
            if not has_worked and not self._is_stopping.is_set():
                has_news.wait(POLL_SECONDS)
                has_news.clear()


def _after(first: Callable[[], None], step: Callable[[], bool]) -> Callable[[], bool]:
    """Return a step that does something else before its first time."""
    waiting = [first]

    def do() -> bool:
        if waiting:
            waiting[0]()
            waiting.clear()
        return step()

    return do
