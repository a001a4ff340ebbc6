"""Builds the application: everything is made here and passed in."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.concurrency import run_in_threadpool

from service.api_description import complete_description
from service.background_scoring import BackgroundScorer
from service.batches import Batches
from service.door import install_door, install_front
from service.door_description import describe_door
from service.draining import Drain
from service.errors import install_handlers
from service.event_stream import EventFeed
from service.examples import STATEMENTS
from service.keeping import Keeper
from service.key_ring import KeyRing
from service.metrics import Metrics
from service.middleware import BodyGuard, RequestLog
from service.model_holder import ModelHolder
from service.model_source import ServedModel
from service.model_supply import ModelSupply
from service.model_watch import open_watch
from service.perspective_errors import describe_google_errors, install_google_errors
from service.request_scoring import STATE_KEY as SCORING_KEY
from service.request_scoring import ScoringAccess
from service.routes.batches import UPLOAD_ROUTE, build_batches_router
from service.routes.documents import build_documents_router
from service.routes.events import build_events_router
from service.routes.feedback import build_feedback_router
from service.routes.health import build_health_router
from service.routes.history import build_history_router
from service.routes.metrics import build_metrics_router
from service.routes.model import build_model_router
from service.routes.model_exchange import STATE_KEY as WATCH_KEY
from service.routes.model_exchange import build_exchange_router
from service.routes.page import ASSETS_PATH, build_assets, build_page_router
from service.routes.perspective import build_perspective_router
from service.routes.perspective_discovery import build_discovery_router
from service.routes.score import build_score_router
from service.routes.stats import build_stats_router
from service.routes.texts import FILE_ROUTE, build_texts_router
from service.routes.webhooks import build_webhooks_router
from service.scoring_pool import STATE_KEY, ScoringPool
from service.settings import Settings
from service.store.aggregates import AggregateStore
from service.store.comment_search import CommentSearch
from service.store.database import Database
from service.store.event_store import EventStore
from service.store.feedback_store import FeedbackStore
from service.store.key_store import KeyStore
from service.store.score_store import ScoreStore
from service.store.webhook_store import WebhookStore
from service.upkeep import Upkeep, build_tasks
from service.webhook_delivery import build_dispatcher


class CredenceApi(FastAPI):
    """The framework's application, with an OpenAPI document that states the limits in force.

    Whoever runs it begins ``drain`` when it is to stop, and ends the streams of ``event_feed``: they would never end by
    themselves.
    """

    def __init__(
        self, settings: Settings, holder: ModelHolder, event_feed: EventFeed, drain: Drain, **options: Any
    ) -> None:
        super().__init__(**options)
        self._settings = settings
        self.holder = holder
        self.event_feed = event_feed
        self.drain = drain

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        complete_description(document, self._settings)
        describe_door(document, self._settings)
        describe_google_errors(document)
        return document


def create_app(
    settings: Settings, served_model: ServedModel, database: Database, supply: ModelSupply | None = None
) -> CredenceApi:
    """Return an application that serves a loaded model and keeps what it scores in a migrated database.

    Where there is a supply of models, another one can take over. It starts its threads when its lifespan begins. The
    database stays the caller's to close.
    """
    holder = ModelHolder(served_model)
    scores = ScoreStore(database)
    keeper = Keeper(scores, keeps_by_default=settings.store_by_default)
    batches = Batches(settings, database)
    upkeep = Upkeep(
        [*build_tasks(settings, database), batches.build_upkeep_task()],
        shed_deleted=database.shed_deleted,
        tidy_deleted=database.tidy_deleted,
    )
    feed = EventFeed(EventStore(database), max_streams=settings.max_event_streams)
    ring = KeyRing(KeyStore(database))
    metrics, drain = Metrics(), Drain()
    metrics.watch_storage(lambda: database.n_faults)
    metrics.watch_streams(lambda: feed.n_streams)
    metrics.describe_model(served_model.scorer.info)
    app = CredenceApi(
        settings,
        holder,
        feed,
        drain,
        title="Credence",
        version=version("credence"),
        summary="How a news statement is put, with calibrated confidence, in English, Ukrainian and Russian.",
        lifespan=_build_lifespan(settings, holder, supply, upkeep, feed, database, ring, metrics, drain, batches),
        # The framework's pages load scripts from other hosts, and its telemetry exports exception messages.
        docs_url=None,
        redoc_url=None,
        telemetry=TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False),
        redirect_slashes=False,
    )
    install_handlers(app, max_statements=settings.max_statements)
    app.add_middleware(
        BodyGuard,
        max_body_bytes=settings.max_body_bytes,
        streamed=frozenset({UPLOAD_ROUTE}),
        files=frozenset({FILE_ROUTE}),
    )
    install_door(app, settings, ring)
    app.add_middleware(RequestLog, metrics=metrics)
    install_front(app, settings)
    install_google_errors(app)
    app.include_router(build_score_router(settings, keeper))
    app.include_router(build_documents_router(settings, keeper, scores))
    app.include_router(build_history_router(scores, holder))
    app.include_router(build_stats_router(AggregateStore(database)))
    app.include_router(build_batches_router(settings, batches))
    app.include_router(build_feedback_router(FeedbackStore(database)))
    app.include_router(build_events_router(feed))
    app.include_router(build_webhooks_router(settings, WebhookStore(database)))
    app.include_router(build_model_router(holder))
    app.include_router(build_exchange_router(settings, holder))
    app.include_router(build_health_router(drain))
    app.include_router(build_metrics_router(metrics))
    app.include_router(build_texts_router())
    app.include_router(build_perspective_router(settings, keeper, CommentSearch(database), FeedbackStore(database)))
    app.include_router(build_discovery_router())
    app.include_router(build_page_router(settings, holder))
    app.mount(ASSETS_PATH, build_assets())
    return app


def _build_lifespan(
    settings: Settings,
    holder: ModelHolder,
    supply: ModelSupply | None,
    upkeep: Upkeep,
    feed: EventFeed,
    database: Database,
    ring: KeyRing,
    metrics: Metrics,
    drain: Drain,
    batches: Batches,
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        pool = ScoringPool(holder, settings, metrics)
        watch = None if supply is None else open_watch(supply, holder, pool, ScoreStore(database), settings, metrics)
        drain.when_time_is_up(pool.refuse_requests)
        metrics.watch_pool(lambda: pool.n_waiting, lambda: pool.is_ready and not drain.has_begun)
        pool.start(list(STATEMENTS.values()))
        batches.start(BackgroundScorer(pool), n_workers=settings.batch_workers, count_rows=metrics.count_batch_rows)
        upkeep.start()
        feed.start()
        dispatcher = build_dispatcher(settings, database, count=metrics.count_delivery)
        dispatcher.start()
        if watch is not None:
            watch.start()
        try:
            yield {STATE_KEY: pool, SCORING_KEY: ScoringAccess(pool, metrics, settings), WATCH_KEY: watch}
        finally:
            if watch is not None:
                await run_in_threadpool(watch.close)
            await feed.close()
            await ring.close()
            await run_in_threadpool(dispatcher.close)
            upkeep.close()
            await run_in_threadpool(batches.close)
            pool.close()

    return lifespan
