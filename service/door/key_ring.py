"""Checks API keys against a copy of those in the database, so that a request seldom waits for it.

The copy is at most ``FRESH_SECONDS`` old: so soon a revoked key opens nothing more. A key that is not in it is looked
for in the database, once in ``RETRY_SECONDS``, whoever asks. While the database does not answer, the copy is good for
``GRACE_SECONDS``.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from starlette.concurrency import run_in_threadpool

from service.door.api_keys import KeyState, StoredKey, Token, proves
from service.errors import Fault, ProblemType
from service.middleware import log_unexpected
from service.store.database import StorageUnavailableError
from service.store.key_store import USE_INTERVAL, KeyStore
from service.store.score_store import utc_now

FRESH_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 1.0
GRACE_SECONDS: Final = 300.0
# How long a request waits for the database where there is a copy, and where there is none.
_PATIENCE_SECONDS: Final = 1.0
_FIRST_PATIENCE_SECONDS: Final = 15.0
_REFUSALS: Final = {
    KeyState.EXPIRED: Fault(ProblemType.API_KEY_EXPIRED, "This key has expired; ask for a new one."),
    KeyState.REVOKED: Fault(ProblemType.API_KEY_REVOKED, "This key was revoked; ask for a new one."),
}
_UNKNOWN: Final = Fault(ProblemType.API_KEY_INVALID, "No key is like this; see that it was copied as a whole.")
_LOGGER: Final = logging.getLogger("service")


class KeyRefusedError(Exception):
    """A key opens nothing; the fault says why, and tells nothing to whoever does not have the secret."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.problem.slug)
        self.fault = fault


class KeyRing:
    """The keys of a store. Its methods belong to one event loop."""

    def __init__(
        self,
        store: KeyStore,
        *,
        now: Callable[[], datetime] = utc_now,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now = now
        self._elapsed = elapsed
        self._keys: dict[str, StoredKey] = {}
        self._read_at = self._tried_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None
        self._used_at: dict[str, datetime] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def admit(self, token: Token) -> StoredKey:
        """Return the usable key that a token is. Raises ``KeyRefusedError`` and ``StorageUnavailableError``."""
        await self._renew(token.prefix)
        key = self._keys.get(token.prefix)
        if not proves(token, key) or key is None:
            raise KeyRefusedError(_UNKNOWN)
        state = key.state_at(self._now())
        if state is not KeyState.USABLE:
            raise KeyRefusedError(_REFUSALS[state])
        self._note_use(key.prefix)
        return key

    async def still_admits(self, prefix: str) -> bool:
        """Say whether a key that was admitted is usable still; while the database does not answer, it is."""
        try:
            await self._renew(prefix)
        except StorageUnavailableError:
            return True
        key = self._keys.get(prefix)
        return key is not None and key.state_at(self._now()) is KeyState.USABLE

    async def close(self) -> None:
        """Wait until the last use of every key is entered."""
        await asyncio.gather(*self._notes, *([self._reading] if self._reading else []))

    async def _renew(self, prefix: str) -> None:
        at = self._elapsed()
        if at - self._read_at < (FRESH_SECONDS if prefix in self._keys else RETRY_SECONDS):
            return
        if self._reading is None and at - self._tried_at >= RETRY_SECONDS:
            self._tried_at = at
            self._reading = asyncio.create_task(self._read())
        if self._reading is not None:
            has_copy = at - self._read_at < GRACE_SECONDS
            await asyncio.wait([self._reading], timeout=_PATIENCE_SECONDS if has_copy else _FIRST_PATIENCE_SECONDS)
        if self._elapsed() - self._read_at >= GRACE_SECONDS:
            raise StorageUnavailableError("the database did not answer: no key can be checked")

    async def _read(self) -> None:
        at = self._elapsed()
        try:
            found = await run_in_threadpool(self._store.list_keys)
        except StorageUnavailableError as error:
            _LOGGER.warning("keys: %s", error)
        except Exception as error:
            log_unexpected(error)
        else:
            self._keys = {key.prefix: key for key in found}
            self._read_at = at
        finally:
            self._reading = None

    def _note_use(self, prefix: str) -> None:
        at, last = self._now(), self._used_at.get(prefix)
        if last is not None and abs(at - last) < USE_INTERVAL:
            return
        self._used_at[prefix] = at
        note = asyncio.create_task(self._enter_use(prefix, at))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _enter_use(self, prefix: str, at: datetime) -> None:
        try:
            await run_in_threadpool(self._store.note_use, prefix, at)
        except StorageUnavailableError as error:
            _LOGGER.warning("keys: the last use of one was not entered: %s", error)
        except Exception as error:
            log_unexpected(error)
