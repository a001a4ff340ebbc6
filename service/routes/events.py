"""``GET /v1/events``: what happens, as it happens."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ConfigDict, Field

from credence.labels import LABELS
from service.api_description import problem_responses
from service.errors import Fault, ProblemType, RefusedRequestError
from service.event_stream import EVENT_KINDS, EventChoice, EventFeed, TooManyStreamsError
from service.schemas import StrictRequest
from service.store.records import NO_LABEL

FULL_RETRY_SECONDS: Final = 10
_MAX_ID_DIGITS: Final = 18
_ONE_KIND: Final = "|".join(EVENT_KINDS)
_FULL: Final = "As many clients listen to events as this service lets listen at a time; try again later."
_NO_ID: Final = "Last-Event-ID must be the id of an event that was sent here, or be left out."


class EventsQuery(StrictRequest):
    """Which events are asked for, in the query."""

    # In a query everything is a string.
    model_config = ConfigDict(strict=False)

    kinds: str | None = Field(
        None, pattern=f"^({_ONE_KIND})(,({_ONE_KIND}))*$", description=f"Some of {', '.join(EVENT_KINDS)}, by commas."
    )
    label: str | None = Field(
        None,
        pattern=f"^({'|'.join((*LABELS, NO_LABEL))})$",
        description="Of scores only those with this label; `none`: those without one.",
    )
    last_event_id: str | None = Field(
        None, pattern=f"^[0-9]{{1,{_MAX_ID_DIGITS}}}$", description="As the header Last-Event-ID, which goes before it."
    )

    def to_choice(self) -> EventChoice:
        """Return what is to be heard."""
        kinds = EVENT_KINDS if self.kinds is None else self.kinds.split(",")
        return EventChoice(frozenset(kinds), self.label)


LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="The id of the last event seen: what came after it is sent first."),
]


def build_events_router(feed: EventFeed) -> APIRouter:
    """Return the route of server-sent events."""
    router = APIRouter(tags=["events"])

    # The place is taken here and not in the stream, so that it is free again as soon as the client has gone.
    async def hold_stream(
        query: Annotated[EventsQuery, Query()], last_event_id: LastEventId = None
    ) -> AsyncIterator[AsyncGenerator[ServerSentEvent]]:
        last_seen = _read_id(last_event_id) if last_event_id else None
        if last_seen is None and query.last_event_id is not None:
            last_seen = int(query.last_event_id)
        try:
            with feed.take_place():
                async with aclosing(await feed.open_stream(query.to_choice(), last_seen)) as stream:
                    yield stream
        except TooManyStreamsError:
            fault = Fault(ProblemType.TOO_MANY_STREAMS, _FULL)
            raise RefusedRequestError([fault], retry_after_seconds=FULL_RETRY_SECONDS) from None

    @router.get(
        "/v1/events",
        summary="Listen to events",
        response_class=EventSourceResponse,
        responses=problem_responses(
            ProblemType.UNKNOWN_FIELD,
            ProblemType.INVALID_FIELD,
            ProblemType.INVALID_HEADER,
            ProblemType.TOO_MANY_STREAMS,
            ProblemType.STORAGE_UNAVAILABLE,
            ProblemType.INTERNAL_ERROR,
        ),
    )
    async def stream_events(
        stream: Annotated[AsyncGenerator[ServerSentEvent], Depends(hold_stream)],
    ) -> AsyncIterator[ServerSentEvent]:
        """Send server-sent events without end: what happens from now on, or from `Last-Event-ID` on.

        First comes `hello`, then `gap` if events have been missed for good. `scores` carries the scores that were
        kept, without their texts; `batch` says that a batch has ended, `feedback` that somebody disputes a score.
        """
        async for event in stream:
            yield event

    return router


def _read_id(value: str) -> int:
    if value.isascii() and value.isdecimal() and len(value) <= _MAX_ID_DIGITS:
        return int(value)
    raise RefusedRequestError([Fault(ProblemType.INVALID_HEADER, _NO_ID)])
