"""Holds what this process has claimed, by renewing its leases from a thread of its own."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Final

from service.middleware import log_unexpected
from service.store.database import StorageUnavailableError

_LOGGER: Final = logging.getLogger("service")


class Leases:
    """The claims that are being worked on."""

    def __init__(self, *, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._lock = Lock()
        self._renewals: dict[object, Callable[[], None]] = {}
        self._is_closed = Event()
        self._thread: Thread | None = None

    @contextmanager
    def holding(self, renew: Callable[[], None]) -> Iterator[None]:
        """Call ``renew`` again and again until the block ends."""
        key = object()
        with self._lock:
            self._renewals[key] = renew
        try:
            yield
        finally:
            with self._lock:
                del self._renewals[key]

    def start(self) -> None:
        """Start the thread."""
        self._is_closed.clear()
        self._thread = Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop. What is still held runs out."""
        self._is_closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_closed.wait(self._interval_seconds):
            with self._lock:
                renewals = list(self._renewals.values())
            for renew in renewals:
                _try(renew)


def _try(renew: Callable[[], None]) -> None:
    try:
        renew()
    except StorageUnavailableError as error:
        _LOGGER.warning("a lease was not renewed: %s", error)
    except Exception as error:
        log_unexpected(error)
