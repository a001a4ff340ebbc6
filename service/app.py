"""Builds the application: everything is made here and passed in."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from service.api_description import complete_description
from service.door.description import describe_door
from service.door.door import install_door, install_front
from service.draining import Drain
from service.errors import install_handlers
from service.event_stream import EventFeed
from service.lifespan import build_lifespan
from service.middleware import BodyGuard, RequestLog
from service.models.holder import ModelHolder
from service.models.source import ServedModel
from service.models.supply import ModelSupply
from service.parts import Parts
from service.perspective.errors import describe_google_errors, install_google_errors
from service.routes.batches import UPLOAD_ROUTE, build_batches_router
from service.routes.documents import build_documents_router
from service.routes.events import build_events_router
from service.routes.feedback import build_feedback_router
from service.routes.health import build_health_router
from service.routes.history import build_history_router
from service.routes.metrics import build_metrics_router
from service.routes.model import build_model_router
from service.routes.model_exchange import build_exchange_router
from service.routes.page import ASSETS_PATH, build_assets, build_page_router
from service.routes.perspective import build_perspective_router
from service.routes.perspective_discovery import build_discovery_router
from service.routes.score import build_score_router
from service.routes.stats import build_stats_router
from service.routes.texts import FILE_ROUTE, build_texts_router
from service.routes.webhooks import build_webhooks_router
from service.settings import Settings
from service.store.aggregates import AggregateStore
from service.store.comment_search import CommentSearch
from service.store.database import Database
from service.store.webhook_store import WebhookStore


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
        """Return the OpenAPI document, which is made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            complete_description(document, self._settings)
            describe_door(document, self._settings)
            describe_google_errors(document)
            self.openapi_schema = document
        return self.openapi_schema


def create_app(
    settings: Settings, served_model: ServedModel, database: Database, supply: ModelSupply | None = None
) -> CredenceApi:
    """Return an application that serves a loaded model and keeps what it scores in a migrated database.

    Where there is a supply of models, another one can take over. It starts its threads when its lifespan begins. The
    database stays the caller's to close.
    """
    parts = Parts.build(settings, served_model, database, supply)
    app = CredenceApi(
        settings,
        parts.holder,
        parts.feed,
        parts.drain,
        title="Credence",
        version=version("credence"),
        summary="How a news statement is put, with calibrated confidence, in English, Ukrainian and Russian.",
        lifespan=build_lifespan(parts),
        # The framework's pages load scripts from other hosts, and its telemetry exports exception messages.
        docs_url=None,
        redoc_url=None,
        telemetry=TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False),
        redirect_slashes=False,
    )
    _install_guards(app, parts)
    _include_routers(app, parts)
    app.mount(ASSETS_PATH, build_assets())
    return app


def _install_guards(app: FastAPI, parts: Parts) -> None:
    settings = parts.settings
    install_handlers(app, max_statements=settings.max_statements)
    # The last one that is added is the first to see a request.
    app.add_middleware(
        BodyGuard,
        max_body_bytes=settings.max_body_bytes,
        streamed=frozenset({UPLOAD_ROUTE}),
        files=frozenset({FILE_ROUTE}),
    )
    install_door(app, settings, parts.ring)
    app.add_middleware(RequestLog, metrics=parts.metrics, tracing=parts.tracing)
    install_front(app, settings)
    install_google_errors(app)


def _include_routers(app: FastAPI, parts: Parts) -> None:
    settings, keeper, database, holder = parts.settings, parts.keeper, parts.database, parts.holder
    for router in (
        build_score_router(settings, keeper),
        build_documents_router(settings, keeper, parts.scores),
        build_history_router(parts.scores, holder),
        build_stats_router(AggregateStore(database)),
        build_batches_router(settings, parts.batches),
        build_feedback_router(parts.feedback),
        build_events_router(parts.feed),
        build_webhooks_router(settings, WebhookStore(database)),
        build_model_router(holder),
        build_exchange_router(settings, holder),
        build_health_router(parts.drain),
        build_metrics_router(parts.metrics),
        build_texts_router(),
        build_perspective_router(settings, keeper, CommentSearch(database), parts.feedback),
        build_discovery_router(),
        build_page_router(settings, holder),
    ):
        app.include_router(router)
