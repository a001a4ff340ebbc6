"""Delivers what webhooks are told: one thread looks for what is due, and a few send it."""

import json
import logging
import random
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from importlib.metadata import version
from threading import Event, Lock, Thread
from typing import Final

from service.metrics import DEAD, DELIVERED, FAILED
from service.middleware import log_unexpected
from service.settings import Settings
from service.store.announcements import AnnouncementStore
from service.store.database import Database, StorageUnavailableError
from service.store.delivery_queue import MAX_DELAY, DeliveryQueue
from service.store.score_store import utc_now
from service.store.webhook_records import DeliveryClaim
from service.webhooks.announcer import Announcer
from service.webhooks.posting import PostingClosedError, PostOutcome, WebhookPoster
from service.webhooks.signing import build_headers

# As Standard Webhooks suggests; after the last of them a delivery is dead.
RETRY_DELAYS: Final = tuple(timedelta(seconds=s) for s in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000))
# A delay is longer by up to this share of it, so that those who failed together do not come back together.
JITTER: Final = 0.2
MAX_SENDERS: Final = 8
LOOK_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 10.0
_LOGGER: Final = logging.getLogger("service")
_HEADERS: Final = {"Content-Type": "application/json", "User-Agent": f"Credence/{version('credence')}"}


class WebhookDispatcher:
    """Announces and delivers. A webhook gets one delivery at a time from it, so that a slow one holds up no other.

    A delivery arrives at least once: who is ended between sending and noting it sends it again, under the same id.
    """

    def __init__(
        self,
        queue: DeliveryQueue,
        announcer: Announcer,
        poster: WebhookPoster,
        *,
        now: Callable[[], datetime] = utc_now,
        jitter: Callable[[], float] = random.random,
        executor: Executor | None = None,
        count: Callable[[str], None] = lambda result: None,
    ) -> None:
        """Start nothing. ``jitter`` returns numbers from 0 to 1; the executor, if given, is closed with it.

        ``count`` is told of each attempt: delivered, failed or, where it was the last, dead.
        """
        self._queue = queue
        self._announcer = announcer
        self._poster = poster
        self._now = now
        self._jitter = jitter
        self._executor = executor or ThreadPoolExecutor(MAX_SENDERS, thread_name_prefix="webhook-sender")
        self._count = count
        self._busy: set[int] = set()
        self._lock = Lock()
        self._is_closed = Event()
        self._wake = Event()
        self._has_warned = False
        self._thread = Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Break off what is being sent, which is sent again when its lease has run out, and stop."""
        self._is_closed.set()
        self._wake.set()
        self._poster.close()
        self._thread.join(timeout=_CLOSE_SECONDS)
        self._executor.shutdown(wait=True, cancel_futures=True)

    def look(self) -> None:
        """Announce what has happened, and hand what is due to the senders. Raises ``StorageUnavailableError``."""
        self._announcer.announce(goes_on=lambda: not self._is_closed.is_set())
        with self._lock:
            busy = set(self._busy)
        if len(busy) >= MAX_SENDERS:
            return
        for claim in self._queue.claim_due(limit=MAX_SENDERS - len(busy), busy_webhooks=busy):
            with self._lock:
                self._busy.add(claim.webhook_seq)
            self._executor.submit(self._send, claim)

    def _run(self) -> None:
        while not self._is_closed.is_set():
            self._wake.clear()
            try:
                self.look()
                self._has_warned = False
            except StorageUnavailableError as error:
                if not self._has_warned:
                    _LOGGER.warning("webhooks: %s", error)
                self._has_warned = True
            except Exception as error:
                log_unexpected(error)
            self._wake.wait(LOOK_SECONDS)

    def _send(self, claim: DeliveryClaim) -> None:
        try:
            body = json.dumps(claim.payload, ensure_ascii=False, separators=(",", ":")).encode()
            headers = build_headers(claim.secret, claim.id, self._now(), body)
            self._note(claim, self._poster.post(claim.url, {**_HEADERS, **headers}, body))
        except PostingClosedError:
            pass
        except StorageUnavailableError as error:
            _LOGGER.warning("webhooks: delivery %s may be sent again: %s", claim.id, error)
        except Exception as error:
            log_unexpected(error)
        finally:
            with self._lock:
                self._busy.discard(claim.webhook_seq)
            self._wake.set()

    def _note(self, claim: DeliveryClaim, outcome: PostOutcome) -> None:
        if outcome.fault is None:
            self._queue.settle(claim)
            self._count(DELIVERED)
        elif outcome.is_gone:
            _LOGGER.warning("webhooks: %s answers that it is gone for good, and is deleted", claim.webhook_id)
            self._queue.drop_webhook(claim)
            self._count(DEAD)
        elif claim.n_attempts > len(RETRY_DELAYS):
            _LOGGER.warning("webhooks: delivery %s to %s is dead: %s", claim.id, claim.webhook_id, outcome.fault)
            self._queue.give_up(claim, outcome.fault)
            self._count(DEAD)
        else:
            delay = RETRY_DELAYS[claim.n_attempts - 1] * (1 + JITTER * self._jitter())
            asked = timedelta(seconds=outcome.retry_after_seconds)
            self._queue.put_off(claim, outcome.fault, max(delay, min(asked, MAX_DELAY)))
            self._count(FAILED)


def build_dispatcher(
    settings: Settings, database: Database, *, count: Callable[[str], None] = lambda result: None
) -> WebhookDispatcher:
    """Return a dispatcher for the webhooks of a database, which has not been started."""
    poster = WebhookPoster(allow_private=settings.webhook_allow_private)
    return WebhookDispatcher(DeliveryQueue(database), Announcer(AnnouncementStore(database)), poster, count=count)
