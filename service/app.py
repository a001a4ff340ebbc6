"""Builds the application: everything is made here and passed in."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from service.api_description import complete_description
from service.errors import install_handlers
from service.examples import STATEMENTS
from service.keeping import Keeper
from service.middleware import BodyGuard, RequestLog
from service.model_source import ServedModel
from service.routes.documents import build_documents_router
from service.routes.health import build_health_router
from service.routes.model import build_model_router
from service.routes.score import build_score_router
from service.scoring_pool import STATE_KEY, ScoringPool
from service.settings import Settings
from service.store.database import Database
from service.store.score_store import ScoreStore


class CredenceApi(FastAPI):
    """The framework's application, with an OpenAPI document that states the limits in force."""

    def __init__(self, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self._settings = settings

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        complete_description(document, self._settings)
        return document


def create_app(settings: Settings, served_model: ServedModel, database: Database) -> FastAPI:
    """Return an application that serves a loaded model and keeps what it scores in a migrated database.

    It starts its threads when its lifespan begins. The database stays the caller's to close.
    """
    keeper = Keeper(ScoreStore(database), keeps_by_default=settings.store_by_default)
    app = CredenceApi(
        settings,
        title="Credence",
        version=version("credence"),
        summary="How a news statement is put, with calibrated confidence, in English, Ukrainian and Russian.",
        lifespan=_build_lifespan(settings, served_model),
        # The framework's pages load scripts from other hosts, and its telemetry exports exception messages.
        docs_url=None,
        redoc_url=None,
        telemetry=TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False),
        redirect_slashes=False,
    )
    install_handlers(app, max_statements=settings.max_statements)
    app.add_middleware(BodyGuard, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(RequestLog)
    app.include_router(build_score_router(settings, keeper))
    app.include_router(build_documents_router(settings, keeper))
    app.include_router(build_model_router(served_model))
    app.include_router(build_health_router())
    return app


def _build_lifespan(
    settings: Settings, served_model: ServedModel
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        pool = ScoringPool(served_model.scorer, threads=settings.scoring_threads)
        pool.warm_up(list(STATEMENTS.values()))
        try:
            yield {STATE_KEY: pool}
        finally:
            pool.close()

    return lifespan
