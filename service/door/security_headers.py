"""Tells browsers, with every answer, how little of it may be used elsewhere. Plain ASGI: nothing is held back."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (
        b"permissions-policy",
        b"accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), "
        b"microphone=(), midi=(), payment=(), usb=()",
    ),
)
_PAGE_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_DATA_POLICY: Final = b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HTTPS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")
_NEVER_KEPT: Final = (b"cache-control", b"no-store")
# Scores and what they are of must not stay in a cache, unless the route says how.
_API: Final = ("/v1", "/metrics")
_FIRST_ERROR: Final = 400


class SecurityHeaders:
    """Adds what an answer does not say itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _complete(scope, message)
            await send(message)

        await self._app(scope, receive, add)


def _complete(scope: Scope, message: Message) -> list[tuple[bytes, bytes]]:
    given = list(message.get("headers", []))
    present = {name.lower(): value for name, value in given}
    is_page = present.get(b"content-type", b"").startswith(b"text/html")
    wanted = [*_ALWAYS, (b"content-security-policy", _PAGE_POLICY if is_page else _DATA_POLICY)]
    if scope.get("scheme") == "https":
        wanted.append(_HTTPS_ONLY)
    if scope["path"].startswith(_API) or message["status"] >= _FIRST_ERROR:
        wanted.append(_NEVER_KEPT)
    return given + [(name, value) for name, value in wanted if name not in present]
