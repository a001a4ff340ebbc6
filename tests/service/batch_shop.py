"""All that works on batches, without threads and with a clock that is set by hand."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from uuid import uuid4

from credence.scoring import Scorer, StatementScore
from service.batches.chunk_packing import ScoredRow, unpack_results
from service.batches.leases import Leases
from service.batches.splitting import Splitter
from service.batches.spool import BatchSpool
from service.batches.tidying import BatchTidying
from service.batches.worker import BatchWorker
from service.rows.row import BadRow
from service.store.batch_queue import BatchQueue
from service.store.batch_records import Batch, BatchState, NewBatch
from service.store.batch_store import BatchStore
from service.store.database import Database
from service.store.records import ScoreFilter
from service.store.score_store import ScoreStore
from tests.service.tiny_scorer import TinyScorer

POISON = "This row is POISON for all."


class KilledError(BaseException):
    """Stands for the end of the process: nobody handles it."""


class FlakyScorer(TinyScorer):
    """Calls something before it scores."""

    def __init__(self, before: Callable[[Sequence[str]], None]) -> None:
        self._before = before

    def score_statements(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[StatementScore]:
        self._before(texts)
        return super().score_statements(texts, languages=languages)


class Shop:
    """All that works on batches, by hand and with a clock that is set by hand."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.time = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.database = database
        self.spool = BatchSpool(folder / "uploads")
        self.store = BatchStore(database, now=lambda connection: self.time)
        self.queue = BatchQueue(database, self.spool.id, now=lambda connection: self.time)
        self.is_stopping = Event()
        self.tidying = BatchTidying(self.store, self.spool)

    def enter(self, n_rows: int, *, is_stored: bool = True, poisoned: Sequence[int] = ()) -> Batch:
        texts = [POISON if n in poisoned else f"The court met on day {n}." for n in range(n_rows)]
        content = "".join(json.dumps({"id": n, "text": text}) + "\n" for n, text in enumerate(texts)).encode()
        new = NewBatch(uuid4(), None, "jsonl", "utf-8", len(content), is_stored, None, None, self.spool.id)
        with self.spool.begin_upload(new.id) as file:
            file.write(content)
        self.spool.complete_upload(new.id)
        return self.store.enter(new)[0]

    def split(self, on_chunks: Callable[[], None] = lambda: None) -> bool:
        leases = Leases(interval_seconds=60)
        splitter = Splitter(
            self.queue, self.spool, leases, max_chars=2000, is_stopping=self.is_stopping, on_chunks=on_chunks
        )
        return splitter.split_next()

    def work(self, scorer: Scorer | None = None) -> bool:
        """Score a chunk as a process of its own would."""
        leases = Leases(interval_seconds=60)
        worker = BatchWorker(self.queue, self.spool, scorer or TinyScorer(), leases, is_stopping=self.is_stopping)
        return worker.score_next()

    def read(self, batch: Batch) -> Batch:
        found = self.store.read(batch.id)
        assert found is not None
        return found

    def results(self, batch: Batch) -> list[ScoredRow | BadRow]:
        chunks = self.store.read_results(batch, after_number=0, limit=1000)
        packed = [c.results or self.spool.read_results(batch.id, c.number, c.claim_id) for c in chunks]
        return [result for chunk in packed for result in unpack_results(chunk)]

    def files(self, batch: Batch) -> list[str]:
        folder = self.spool.folder / str(batch.id)
        return sorted(path.name.partition("-")[0] for path in folder.iterdir()) if folder.exists() else []

    def assert_whole(self, batch: Batch, n_rows: int) -> None:
        """Make sure that the batch is done, and that no row of it is lost or there twice."""
        found = self.read(batch)
        assert (found.state, found.n_rows, found.n_done_rows) == (BatchState.DONE, n_rows, n_rows)
        assert [result.id for result in self.results(batch)] == list(range(n_rows))
        stored = ScoreStore(self.database).list_scores(ScoreFilter(batch_id=batch.id), limit=10 * n_rows)
        n_scores = n_rows - found.n_error_rows if batch.is_stored else 0
        assert len({s.batch_line for s in stored}) == len(stored) == n_scores
