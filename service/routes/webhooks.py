"""``/v1/webhooks``: who is told of what happens, and what was delivered."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query
from starlette.concurrency import run_in_threadpool

from service.api_description import problem_responses
from service.errors import Fault, ProblemType, RefusedRequestError, missing_record
from service.settings import Settings
from service.store.webhook_records import TEST_PING
from service.store.webhook_store import MAX_WEBHOOKS, TooManyWebhooksError, WebhookStore
from service.webhooks.announcer import build_ping
from service.webhooks.schemas import (
    DeliveriesQuery,
    DeliveryPage,
    DeliveryRow,
    NewWebhookAnswer,
    WebhookList,
    WebhookRequest,
    WebhookRow,
    admit_webhook,
)
from service.webhooks.signing import new_secret

_LIST_PROBLEMS: Final = (ProblemType.STORAGE_UNAVAILABLE, ProblemType.INTERNAL_ERROR)
_ID_PROBLEMS: Final = (ProblemType.NO_SUCH_RECORD, ProblemType.INVALID_FIELD, *_LIST_PROBLEMS)
_WRITE_PROBLEMS: Final = (
    ProblemType.INVALID_JSON,
    ProblemType.INVALID_ENCODING,
    ProblemType.BODY_TOO_LARGE,
    ProblemType.UNSUPPORTED_MEDIA_TYPE,
    ProblemType.MISSING_FIELD,
    ProblemType.UNKNOWN_FIELD,
    ProblemType.INVALID_FIELD,
    ProblemType.TEXT_CONTROL_CHARACTER,
    ProblemType.TEXT_LONE_SURROGATE,
    ProblemType.WEBHOOK_URL,
    ProblemType.TOO_MANY_WEBHOOKS,
    *_LIST_PROBLEMS,
)


def build_webhooks_router(settings: Settings, store: WebhookStore) -> APIRouter:
    """Return the routes of webhooks."""
    router = APIRouter(tags=["webhooks"])
    _add_webhooks(router, store, allow_private=settings.webhook_allow_private)
    _add_deliveries(router, store)
    return router


def _add_webhooks(router: APIRouter, store: WebhookStore, *, allow_private: bool) -> None:
    @router.post(
        "/v1/webhooks",
        summary="Register a webhook",
        status_code=201,
        responses=problem_responses(*_WRITE_PROBLEMS),
    )
    async def create_webhook(request: Annotated[WebhookRequest, Body()]) -> NewWebhookAnswer:
        """Have what happens from now on posted to a URL, signed after Standard Webhooks, and tried again for days.

        The secret is in this answer and in no other.
        """
        admit_webhook(request, allow_private=allow_private)
        given = (request.url, new_secret(), request.to_kinds(), request.to_threshold())
        try:
            return NewWebhookAnswer.from_stored(await run_in_threadpool(store.create_webhook, *given))
        except TooManyWebhooksError:
            detail = f"There are {MAX_WEBHOOKS} webhooks already: delete one that is no longer needed."
            raise RefusedRequestError([Fault(ProblemType.TOO_MANY_WEBHOOKS, detail)]) from None

    @router.get("/v1/webhooks", summary="List webhooks", responses=problem_responses(*_LIST_PROBLEMS))
    async def list_webhooks() -> WebhookList:
        """Return all webhooks, without their secrets."""
        found = await run_in_threadpool(store.list_webhooks)
        return WebhookList(rows=[WebhookRow.from_stored(webhook) for webhook in found])

    @router.get("/v1/webhooks/{webhook_id}", summary="Show a webhook", responses=problem_responses(*_ID_PROBLEMS))
    async def show_webhook(webhook_id: Annotated[UUID, Path()]) -> WebhookRow:
        """Return one webhook, without its secret."""
        found = await run_in_threadpool(store.read_webhook, webhook_id)
        if found is None:
            raise missing_record("webhook")
        return WebhookRow.from_stored(found)

    @router.delete(
        "/v1/webhooks/{webhook_id}",
        summary="Delete a webhook",
        status_code=204,
        responses=problem_responses(*_ID_PROBLEMS),
    )
    async def delete_webhook(webhook_id: Annotated[UUID, Path()]) -> None:
        """Delete a webhook, with whatever waits to be delivered to it."""
        if not await run_in_threadpool(store.delete_webhook, webhook_id):
            raise missing_record("webhook")


def _add_deliveries(router: APIRouter, store: WebhookStore) -> None:
    @router.post(
        "/v1/webhooks/{webhook_id}/test",
        summary="Try a webhook",
        status_code=202,
        responses=problem_responses(*_ID_PROBLEMS),
    )
    async def test_webhook(webhook_id: Annotated[UUID, Path()]) -> DeliveryRow:
        """Queue a `test.ping` for a webhook, whatever it is told of otherwise."""
        queued = await run_in_threadpool(store.queue_delivery, webhook_id, TEST_PING, build_ping)
        if queued is None:
            raise missing_record("webhook")
        return DeliveryRow.from_stored(queued)

    @router.get(
        "/v1/webhooks/{webhook_id}/deliveries",
        summary="List the deliveries of a webhook",
        responses=problem_responses(ProblemType.UNKNOWN_FIELD, *_ID_PROBLEMS),
    )
    async def list_deliveries(
        webhook_id: Annotated[UUID, Path()], query: Annotated[DeliveriesQuery, Query()]
    ) -> DeliveryPage:
        """Return what a webhook was told and is to be told, newest first; `state=dead` is the dead-letter list."""
        # One more than fits says whether there is a next page.
        found = await run_in_threadpool(
            store.list_deliveries, webhook_id, query.state, limit=query.limit + 1, before_seq=query.before_seq
        )
        if found is None:
            raise missing_record("webhook")
        return DeliveryPage.from_stored(found, limit=query.limit)

    @router.post(
        "/v1/webhooks/deliveries/{delivery_id}/retry",
        summary="Deliver again",
        status_code=202,
        responses=problem_responses(*_ID_PROBLEMS),
    )
    async def retry_delivery(delivery_id: Annotated[UUID, Path()]) -> DeliveryRow:
        """Queue a delivery once more, under the same id and with all its attempts before it."""
        queued = await run_in_threadpool(store.retry_delivery, delivery_id)
        if queued is None:
            raise missing_record("delivery")
        return DeliveryRow.from_stored(queued)
