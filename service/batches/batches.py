"""Batches in one process: what is known of them, the folder of uploads, and the threads that work on them."""

from datetime import timedelta
from typing import Final

from credence.scoring import Scorer
from service.batches.engine import BatchEngine
from service.batches.intake import BatchIntake
from service.batches.spool import BatchSpool
from service.batches.tidying import BatchTidying
from service.batches.worker import RowCounter, count_nothing
from service.settings import Settings
from service.store.batch_queue import BatchQueue
from service.store.batch_store import BatchStore
from service.store.database import Database
from service.upkeep import UpkeepTask

SPOOL_FOLDER: Final = "uploads"


class Batches:
    """Everything about batches. The threads run from ``start`` to ``close``."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Open the folder of uploads in the folder of the state; raises ``SpoolError``."""
        self.store = BatchStore(database)
        self.spool = open_spool(settings)
        self.intake = BatchIntake(self.store, self.spool, max_bytes=settings.max_batch_bytes, on_entered=self._wake)
        self.tidying = BatchTidying(self.store, self.spool)
        self._settings = settings
        self._queue = BatchQueue(database, self.spool.id)
        self._engine: BatchEngine | None = None

    def build_upkeep_task(self) -> UpkeepTask:
        """Return the task that deletes batches whose time is over."""
        age = timedelta(hours=self._settings.batch_retention_hours)
        return UpkeepTask("batches", age, self.tidying.delete_before)

    def start(self, scorer: Scorer, *, n_workers: int, count_rows: RowCounter = count_nothing) -> None:
        """Start the threads: one that splits uploads, and so many that score and say how many rows they did."""
        self._engine = BatchEngine(
            self._queue,
            self.spool,
            self.tidying,
            scorer,
            n_workers=n_workers,
            max_chars=self._settings.max_statement_chars,
            count_rows=count_rows,
        )
        self._engine.start()

    def close(self) -> None:
        """Stop the threads as soon as what is being scored is kept."""
        if self._engine is not None:
            self._engine.close()

    def _wake(self) -> None:
        if self._engine is not None:
            self._engine.wake()


def open_spool(settings: Settings) -> BatchSpool:
    """Return the folder of uploads; raises ``SpoolError``."""
    return BatchSpool(settings.state_path / SPOOL_FOLDER)
