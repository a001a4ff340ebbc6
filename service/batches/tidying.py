"""Deletes batches whose time is over, and what a kill has left in the folder of uploads."""

import logging
from datetime import datetime
from typing import Final

from service.batches.spool import BatchSpool
from service.store.batch_store import BatchStore

# Whoever is still receiving an upload writes to it more often.
_ABANDONED_SECONDS: Final = 3600.0
_LOGGER: Final = logging.getLogger("service")


class BatchTidying:
    """Keeps the database and the folder of uploads free of what nobody needs."""

    def __init__(self, store: BatchStore, spool: BatchSpool) -> None:
        self._store = store
        self._spool = spool

    def delete_before(self, time: datetime) -> int:
        """Delete the batches that ended before a time, with their files, and return how many.

        Their stored scores stay. Raises ``StorageUnavailableError``.
        """
        n_deleted = self._store.delete_expired(time)
        self.tidy_spool()
        return n_deleted

    def tidy_spool(self) -> None:
        """Delete the files of batches that are not, or no longer, in the database, and texts that were scored.

        Raises ``StorageUnavailableError``.
        """
        self._spool.delete_leftovers()
        here = self._spool.list_batches()
        abandoned = set(self._spool.list_batches(unchanged_seconds=_ABANDONED_SECONDS))
        for batch_id in here:
            batch = self._store.read(batch_id)
            if batch is None:
                if batch_id in abandoned:
                    self._spool.delete_batch(batch_id)
            elif batch.has_ended:
                self._spool.delete_texts(batch_id)
            else:
                if batch.is_split:
                    self._spool.delete_upload(batch_id)
                for number in self._store.list_done_numbers(batch_id):
                    self._spool.delete_rows(batch_id, number)
