"""Looks at the alias of the model source again and again: a thread of its own, which sleeps in between."""

from threading import Event, Thread
from typing import Final

from service.metrics import Metrics
from service.middleware import log_unexpected
from service.models.exchange import ModelExchange
from service.models.holder import ModelHolder
from service.models.shadowing import Shadowing
from service.models.supply import ModelSupply
from service.scoring.background_scoring import ApartScoring
from service.scoring.pool import ScoringPool
from service.settings import Settings
from service.store.score_store import ScoreStore

# A source that hangs is not waited for.
_CLOSE_SECONDS: Final = 5.0


class ModelWatch:
    """Has an exchange look at what its alias names, from ``start`` to ``close``."""

    def __init__(self, exchange: ModelExchange, *, interval_seconds: float) -> None:
        self.exchange = exchange
        self._interval_seconds = interval_seconds
        self._is_closed = Event()
        self._has_call = Event()
        self._thread = Thread(target=self._run, name="model-watch", daemon=True)

    def start(self) -> None:
        """Start the thread, which looks at once."""
        self._thread.start()

    def look_now(self) -> None:
        """Have it look at once, also at what was refused before; nobody waits for it."""
        self._has_call.set()

    def close(self) -> None:
        """Stop after the step of a trial that is under way."""
        self._is_closed.set()
        self.exchange.stop()
        self._has_call.set()
        self._thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        is_called = False
        while not self._is_closed.is_set():
            try:
                self.exchange.look(at_once=is_called)
            except Exception as error:
                log_unexpected(error)
            is_called = self._has_call.wait(self._interval_seconds)
            self._has_call.clear()


def open_watch(
    supply: ModelSupply,
    holder: ModelHolder,
    pool: ScoringPool,
    store: ScoreStore,
    settings: Settings,
    metrics: Metrics,
) -> ModelWatch:
    """Return who lets what a supply brings take over from what a holder holds."""
    shadowing = Shadowing(store, n_statements=settings.shadow_statements, score_apart=ApartScoring(pool))
    exchange = ModelExchange(supply, holder, shadowing, settings, metrics)
    return ModelWatch(exchange, interval_seconds=settings.model_check_seconds)
