"""Gives up on a client that drips its body, so that it does not hold a place for ever. Plain ASGI."""

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Fault, ProblemResponse, ProblemType

# A client that keeps up this pace may take as long as it needs: eight kilobytes a second are a poor mobile connection.
MIN_BYTES_PER_SECOND: Final = 8 * 1024
# A connection on which half a body is left cannot be used again.
_CLOSE: Final = {"Connection": "close"}


class BodyDeadline:
    """Answers 408 where the next part of a body, or the body at its pace, is waited for too long.

    Only waiting for the client counts, not what is done with its body meanwhile.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on, as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _TimedBody(receive, self._seconds, asyncio.get_running_loop().time)
        is_begun = False

        async def pass_on(message: Message) -> None:
            nonlocal is_begun
            # Whatever the route makes of half a body, the client is told why it was only half.
            if not body.is_late or is_begun:
                is_begun = True
                await send(message)

        try:
            await self._app(scope, body.receive, pass_on)
        except Exception:
            if not body.is_late:
                raise
        if body.is_late and not is_begun:
            detail = (
                f"The rest of the body did not come within {self._seconds:g} seconds, nor {MIN_BYTES_PER_SECOND} bytes "
                "a second; send it again, in smaller parts where the connection is slow."
            )
            await ProblemResponse([Fault(ProblemType.BODY_TOO_SLOW, detail)], _CLOSE)(scope, receive, send)


class _LateBodyError(Exception):
    """The client did not send the rest of its body in time."""


class _TimedBody:
    def __init__(self, receive: Receive, seconds: float, elapsed: Callable[[], float]) -> None:
        self._receive = receive
        self._seconds = seconds
        self._elapsed = elapsed
        self._n_bytes = 0
        self._waited = 0.0
        self._is_complete = False
        self.is_late = False

    async def receive(self) -> Message:
        """Return the next message; raises ``_LateBodyError`` where a part of the body does not come in time."""
        if self._is_complete:
            return await self._receive()
        began_at = self._elapsed()
        left = self._seconds + self._n_bytes / MIN_BYTES_PER_SECOND - self._waited
        try:
            async with asyncio.timeout(max(0.0, min(left, self._seconds))):
                message = await self._receive()
        except TimeoutError:
            self.is_late = True
            raise _LateBodyError from None
        self._waited += self._elapsed() - began_at
        self._n_bytes += len(message.get("body", b""))
        self._is_complete = not message.get("more_body", False)
        return message
