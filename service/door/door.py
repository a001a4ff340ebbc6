"""Puts together what stands between the network and the routes, in its order, and says whether it may be opened."""

from typing import Final

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from credence.errors import CredenceError
from service.door.addresses import is_loopback
from service.door.auth import Doorkeeper
from service.door.body_deadline import BodyDeadline
from service.door.browser_guard import BrowserGuard
from service.door.key_ring import KeyRing
from service.door.rate_limits import QuotaExceededError
from service.door.security_headers import SecurityHeaders
from service.errors import ProblemResponse
from service.settings import Settings
from service.store.key_store import KeyStore

_READABLE_HEADERS: Final = (
    "ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "Server-Timing", "X-Credence-Disclaimer", "X-Request-Id",
)  # fmt: skip


class OpenDoorError(CredenceError):
    """The service would be open to others, or closed to everybody; the message says what to do."""


def install_door(app: FastAPI, settings: Settings, ring: KeyRing) -> None:
    """Put before what was put before the routes so far: browsers, callers, and the patience with a body."""

    async def answer_quota(request: Request, error: QuotaExceededError) -> ProblemResponse:
        return ProblemResponse([error.fault], error.headers)

    app.exception_handler(QuotaExceededError)(answer_quota)
    # The last one that is added is the first to see a request.
    app.add_middleware(BodyDeadline, seconds=settings.body_timeout_seconds)
    app.add_middleware(Doorkeeper, settings=settings, ring=ring)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_READABLE_HEADERS,
        )
    app.add_middleware(BrowserGuard, settings=settings)


def install_front(app: FastAPI, settings: Settings) -> None:
    """Put first of all what is about every answer, and who is really asking."""
    app.add_middleware(SecurityHeaders)
    if settings.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies))


def check_door(settings: Settings, keys: KeyStore) -> None:
    """Raise ``OpenDoorError`` where others than this machine could connect and neither a key nor a setting is there."""
    if is_loopback(settings.host):
        return
    way_out = "or say --allow-open (CREDENCE_ALLOW_OPEN=true) if whoever can connect may do everything"
    if settings.keys_are_required:
        if not keys.has_usable():
            raise OpenDoorError(
                f"others can connect to {settings.host}, and there is no usable key; make one with "
                f"credence keys create NAME --scope score --scope read, {way_out}"
            )
    elif not settings.allow_open:
        raise OpenDoorError(
            f"others can connect to {settings.host}, and CREDENCE_REQUIRE_KEYS is false; leave it out, {way_out}"
        )
