"""How many unfinished batches a caller may have: each key its own number, and all callers without one together."""

import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.concurrency import run_in_threadpool

from service.batches.schemas import BatchAnswer
from service.door.addresses import is_loopback
from service.door.auth import Caller
from service.errors import Fault, ProblemType, RefusedRequestError
from service.settings import Settings
from service.store.batch_records import Batch
from service.store.batch_store import BatchStore

# How long is waited where nobody can tell yet when a batch will end.
_UNKNOWN_SECONDS: Final = 60


class BatchQuota:
    """Counts batches. Uploads count from their beginning, by the process that takes them in."""

    def __init__(self, store: BatchStore, settings: Settings) -> None:
        self._store = store
        self._max_open = settings.max_open_batches
        self._limits_loopback = settings.limit_loopback
        self._n_uploads: Counter[str | None] = Counter()

    @asynccontextmanager
    async def hold(self, caller: Caller) -> AsyncIterator[None]:
        """Take a place while a batch is being entered; raises ``RefusedRequestError`` where there is none."""
        if caller.key_prefix is None and is_loopback(caller.address) and not self._limits_loopback:
            yield
            return
        self._n_uploads[caller.key_prefix] += 1
        n_uploads = self._n_uploads[caller.key_prefix]
        try:
            active = await run_in_threadpool(self._store.list_active, caller.key_prefix)
            if len(active) + n_uploads > self._max_open:
                raise await run_in_threadpool(self._refusal, active)
            yield
        finally:
            self._n_uploads[caller.key_prefix] -= 1

    def _refusal(self, active: list[Batch]) -> RefusedRequestError:
        times = [BatchAnswer.from_batch(batch, self._store.read_pace(batch)).seconds_left for batch in active]
        known = [seconds for seconds in times if seconds is not None]
        seconds = max(1, math.ceil(min(known, default=_UNKNOWN_SECONDS)))
        detail = f"{self._max_open} batches may be unfinished at a time: wait for one to end, or cancel one."
        return RefusedRequestError([Fault(ProblemType.TOO_MANY_BATCHES, detail)], retry_after_seconds=seconds)
