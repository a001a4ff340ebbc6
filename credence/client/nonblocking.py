"""The client for asyncio: the same methods, to be awaited, and iterators for ``async for``."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from types import TracebackType
from typing import Any, BinaryIO, Concatenate, Final, ParamSpec, Self, TypeVar, Unpack
from uuid import UUID

import httpx

from credence.client import calls
from credence.client.answers import Batch, BatchRow, Event, KeptScore
from credence.client.attempts import Attempts, RetryPolicy
from credence.client.calls import Call, EventLines, Filters
from credence.client.wire import (
    BLOCK_BYTES,
    check,
    client_options,
    is_error,
    parse_json,
    read_answer,
    read_content,
    request_options,
    unreachable,
)

_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def _method(
    build: Callable[_Arguments, Call[_Answer]],
) -> Callable[Concatenate["AsyncCredenceClient", _Arguments], Coroutine[Any, Any, _Answer]]:
    @wraps(build)
    async def method(
        self: "AsyncCredenceClient", /, *arguments: _Arguments.args, **options: _Arguments.kwargs
    ) -> _Answer:
        return await self._ask(build(*arguments, **options))

    return method


class AsyncCredenceClient:
    """As ``CredenceClient``, for asyncio."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout_seconds: float = 60.0,
        connect_seconds: float = 5.0,
        retries: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        options = client_options(base_url, api_key, timeout_seconds=timeout_seconds, connect_seconds=connect_seconds)
        self._http: Final = httpx.AsyncClient(**options, transport=transport)
        self._policy: Final = retries or RetryPolicy()
        self._sleep: Final = sleep

    score = _method(calls.score)
    score_document = _method(calls.score_document)
    model = _method(calls.model)
    read_score = _method(calls.read_score)
    lineage = _method(calls.lineage)
    feedback = _method(calls.feedback)
    timeseries = _method(calls.timeseries)
    summary = _method(calls.summary)
    submit_batch = _method(calls.submit_batch)
    batch = _method(calls.batch)
    cancel_batch = _method(calls.cancel_batch)
    delete_score = _method(calls.delete_score)
    delete_document = _method(calls.delete_document)
    delete_scores = _method(calls.delete_scores)

    async def list_scores(self, *, page_size: int = 500, **filters: Unpack[Filters]) -> AsyncIterator[KeptScore]:
        """Return all kept scores that the filters let through, the newest first; they are fetched page by page."""
        cursor, is_first = None, True
        while is_first or cursor is not None:
            page = await self._ask(calls.list_page(cursor, page_size, **filters))
            for row in page.rows:
                yield row
            cursor, is_first = page.next_cursor, False

    async def wait_batch(
        self, batch_id: UUID | str, *, poll_seconds: float = 2.0, timeout_seconds: float | None = None
    ) -> Batch:
        """Return a batch when it has ended. Raises ``TimeoutError`` where that takes too long."""
        started = time.monotonic()
        while not (batch := await self.batch(batch_id)).has_ended:
            if timeout_seconds is not None and time.monotonic() - started + poll_seconds > timeout_seconds:
                raise TimeoutError(f"the batch has not ended after {timeout_seconds:g} seconds")
            await self._sleep(poll_seconds)
        return batch

    async def batch_results(self, batch_id: UUID | str) -> AsyncIterator[BatchRow]:
        """Return the result of each row of a batch that has ended, in the order of its file, as they arrive."""
        response = await self._open(calls.fetch_results(batch_id))
        try:
            async for line in response.aiter_lines():
                yield read_content(BatchRow.from_json, parse_json(line))
        except httpx.TransportError as error:
            raise unreachable(error) from error
        finally:
            await response.aclose()

    async def events(
        self, kinds: Sequence[str] = (), *, label: str | None = None, last_event_id: str | None = None
    ) -> AsyncIterator[Event]:
        """Return what happens, without end: from now on, or after the event that was seen last.

        A connection that ends is made anew, and nothing is missed. Raises where it cannot be made anew.
        """
        while True:
            response = await self._open(calls.listen(kinds, label, last_event_id))
            lines = EventLines(last_event_id)
            try:
                async for line in response.aiter_lines():
                    event = read_content(lines.take, line)
                    last_event_id = lines.last_id
                    if event is not None:
                        yield event
            except httpx.TransportError:
                # What was cut off comes again.
                pass
            finally:
                await response.aclose()
            await self._sleep(lines.retry_seconds)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, call: Call[_Answer]) -> _Answer:
        return read_answer(call, (await self._open(call, is_whole=True)).content)

    async def _open(self, call: Call[_Answer], *, is_whole: bool = False) -> httpx.Response:
        attempts = Attempts(self._policy, is_repeatable=call.is_repeatable)
        while True:
            try:
                response = await self._attempt(call, is_whole=is_whole)
            except httpx.TransportError as error:
                seconds = attempts.wait_after_fault()
                if seconds is None:
                    raise unreachable(error) from error
            else:
                seconds = attempts.wait_after(response.status_code, response.headers)
                if seconds is None:
                    return check(response)
            await self._sleep(seconds)

    async def _attempt(self, call: Call[_Answer], *, is_whole: bool) -> httpx.Response:
        options = request_options(call, self._http.timeout)
        if call.upload is None:
            response = await self._http.send(self._http.build_request(**options), stream=True)
        else:
            with call.upload.open() as file:
                content = _read_blocks(file)
                response = await self._http.send(self._http.build_request(**options, content=content), stream=True)
        if is_whole or is_error(response):
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


async def _read_blocks(file: BinaryIO) -> AsyncIterator[bytes]:
    while block := await asyncio.to_thread(file.read, BLOCK_BYTES):
        yield block
