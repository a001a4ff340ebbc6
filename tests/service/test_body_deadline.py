import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.types import Message, Receive, Send
from starlette.types import Scope as Connection

from service.door.body_deadline import MIN_BYTES_PER_SECOND, BodyDeadline


def drip(parts: list[tuple[float, bytes]], *, seconds: float) -> list[Message]:
    """Send a body in parts, each after a pause, through the deadline, by a clock that only the pauses move."""
    sent: list[Message] = []

    async def application(scope: Connection, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def pauses() -> AsyncGenerator[Message]:
        for pause, part in parts:
            await asyncio.sleep(pause)
            yield {"type": "http.request", "body": part, "more_body": True}
        yield {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    async def work() -> None:
        stream = pauses()

        async def receive() -> Message:
            return await anext(stream)

        await BodyDeadline(application, seconds=seconds)({"type": "http"}, receive, send)
        await stream.aclose()

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(work())
    return sent


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands while there is something to do, and goes to the next timer when there is not."""

    def __init__(self) -> None:
        super().__init__()
        self._skipped = 0.0

    def time(self) -> float:
        return self._skipped

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled  # type: ignore[attr-defined]
        if not ready and scheduled:
            self._skipped = max(self._skipped, scheduled[0].when())
        super()._run_once()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([], 200),
        ([(15.0, b"x")], 200),
        ([(21.0, b"x")], 408),
        ([(5.0, b"x")] * 3, 200),
        ([(5.0, b"x")] * 5, 408),
        ([(5.0, b"x" * MIN_BYTES_PER_SECOND * 5)] * 50, 200),
        ([(0.0, b"x" * MIN_BYTES_PER_SECOND * 100), (21.0, b"x")], 408),
    ],
    ids=["none", "late but in time", "silent", "slow", "dripping", "long and steady", "fast and then silent"],
)
def test_a_client_that_drips_its_body_is_given_up(parts: list[tuple[float, bytes]], status: int) -> None:
    start, body = drip(parts, seconds=20)
    assert start["status"] == status
    if status == 408:
        assert b"urn:credence:problem:body-too-slow" in body["body"]
        assert (b"connection", b"close") in start["headers"]
