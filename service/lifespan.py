"""What runs beside the requests: started before the first of them, and stopped in the order in which it is needed."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from service.examples import STATEMENTS
from service.models.watch import open_watch
from service.parts import Parts
from service.routes.model_exchange import STATE_KEY as WATCH_KEY
from service.scoring.background_scoring import BackgroundScorer
from service.scoring.pool import STATE_KEY as POOL_KEY
from service.scoring.pool import ScoringPool
from service.scoring.request_scoring import STATE_KEY as SCORING_KEY
from service.scoring.request_scoring import ScoringAccess
from service.webhooks.delivery import build_dispatcher


def build_lifespan(parts: Parts) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return the lifespan of an application. Its state holds what routes ask for by key."""
    settings, metrics, drain = parts.settings, parts.metrics, parts.drain

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        pool = ScoringPool(parts.holder, settings, metrics)
        drain.when_time_is_up(pool.refuse_requests)
        metrics.watch_pool(lambda: pool.n_waiting, lambda: pool.is_ready and not drain.has_begun)
        dispatcher = build_dispatcher(settings, parts.database, count=metrics.count_delivery)
        watch = None
        # What is entered last is left first: streams end before the threads that feed them, and the pool goes last.
        async with AsyncExitStack() as stack:
            if parts.tracing is not None:
                stack.push_async_callback(run_in_threadpool, parts.tracing.close)
            stack.callback(pool.close)
            pool.start(list(STATEMENTS.values()))
            stack.push_async_callback(run_in_threadpool, parts.batches.close)
            parts.batches.start(
                BackgroundScorer(pool), n_workers=settings.batch_workers, count_rows=metrics.count_batch_rows
            )
            stack.callback(parts.upkeep.close)
            parts.upkeep.start()
            stack.push_async_callback(run_in_threadpool, dispatcher.close)
            dispatcher.start()
            stack.push_async_callback(parts.ring.close)
            stack.push_async_callback(parts.feed.close)
            parts.feed.start()
            if parts.supply is not None:
                watch = open_watch(parts.supply, parts.holder, pool, parts.scores, settings, metrics)
                stack.push_async_callback(run_in_threadpool, watch.close)
                watch.start()
            yield {POOL_KEY: pool, SCORING_KEY: ScoringAccess(pool, metrics, settings), WATCH_KEY: watch}

    return lifespan
