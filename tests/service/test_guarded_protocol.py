"""Speaks to a real server, byte by byte."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import uvicorn
from starlette.types import Receive, Send
from starlette.types import Scope as Connection

from service.door.guarded_protocol import MAX_HEAD_BYTES, GuardedProtocol

REQUEST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


class HastyProtocol(GuardedProtocol):
    head_seconds = 0.05


async def application(scope: Connection, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def ask(talk: Talk, protocol: type[GuardedProtocol] = GuardedProtocol) -> bytes:
    """Serve, connect, and return what came back until the connection was closed by either side."""

    async def work() -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(
                application, http=protocol, lifespan="off", log_config=None, access_log=False, timeout_keep_alive=30
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server._serve([listener]))
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            answer = b""
            # Where the client still sends, the answer can be lost with the connection.
            with suppress(ConnectionError):
                answer = await talk(reader, writer)
            writer.close()
            server.should_exit = True
            await serving
        return answer

    return asyncio.run(asyncio.wait_for(work(), timeout=30))


async def read_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def test_requests_are_answered_one_after_another_on_one_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        answers = b""
        for _ in range(3):
            writer.write(REQUEST)
            answers += await read_head(reader)
        return answers

    assert ask(talk).count(b"200 OK") == 3


def test_a_request_in_small_parts_is_answered() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for byte in REQUEST:
            writer.write(bytes([byte]))
            await writer.drain()
        return await read_head(reader)

    assert b"200 OK" in ask(talk)


def test_endless_headers_are_cut_off() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        answer = asyncio.create_task(reader.read())
        n_sent = 0
        while not answer.done() and n_sent < 100 * MAX_HEAD_BYTES:
            with suppress(ConnectionError):
                writer.write(b"X-Endless: " + b"a" * 4096 + b"\r\n")
                await writer.drain()
            n_sent += 4096
            await asyncio.sleep(0)
        assert n_sent < 100 * MAX_HEAD_BYTES, "the server took it all"
        return await answer

    answer = ask(talk)
    assert answer == b"" or b"431" in answer


@pytest.mark.parametrize(
    ("sent", "expected"),
    [(b"", b""), (b"\r\n", b""), (b"GET / HTTP/1.1\r\nHost: loc", b"408 Request Timeout")],
    ids=["nothing", "an empty line", "half a request"],
)
def test_a_client_that_sends_no_whole_request_is_given_up(sent: bytes, expected: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(sent)
        return await reader.read()

    answer = ask(talk, HastyProtocol)
    assert expected in answer
    assert bool(answer) is bool(expected)


def test_whoever_has_been_answered_and_then_dawdles_is_given_up_too() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REQUEST)
        await read_head(reader)
        writer.write(b"\r\n")
        return await reader.read()

    assert ask(talk, HastyProtocol) == b""


def test_a_body_may_take_longer_than_a_head() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(REQUEST[:-1])
        await asyncio.sleep(HastyProtocol.head_seconds * 3)
        writer.write(REQUEST[-1:])
        return await read_head(reader)

    assert b"200 OK" in ask(talk, HastyProtocol)
