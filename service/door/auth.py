"""The door: who asks, whether a key opens what is asked for, and how much is left to the caller. Plain ASGI.

It stands before the body is read, so that whoever may not come in sends none. Which scope opens what is written in
``service/door/scope_table.py``.
"""

import logging
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from service.door.addresses import is_loopback, to_caller
from service.door.api_keys import Scope, Token
from service.door.key_ring import KeyRefusedError, KeyRing
from service.door.rate_limits import QUOTA_KEY, Policy, Quota, QuotaExceededError
from service.door.scope_table import Rule, find_rule
from service.errors import STORAGE_RETRY_SECONDS, Fault, ProblemResponse, ProblemType
from service.setting_types import NO_LIMIT
from service.settings import Settings
from service.store.database import StorageUnavailableError

CALLER_KEY: Final = "caller"
_FORWARDED: Final = ("forwarded", "x-forwarded-for")
_TOKEN_BEGIN: Final = "cred_"
_REALM: Final = 'Bearer realm="credence"'
_EVENT_STREAM: Final = "text/event-stream"
_MISSING: Final = Fault(ProblemType.API_KEY_MISSING, "Send the header Authorization: Bearer and a key of this service.")
_MALFORMED: Final = Fault(
    ProblemType.API_KEY_INVALID, "This is not a key: one looks like cred_1a2b3c4d_ and 64 more characters."
)
_HIDDEN: Final = Fault(ProblemType.NOT_FOUND, "Check the path; /openapi.json lists those that exist.")
_LOGGER: Final = logging.getLogger("service")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what is open to them: all, where the service needs no keys and none was sent."""

    key_prefix: str | None
    scopes: frozenset[Scope]
    address: str


async def get_caller(request: Request) -> Caller:
    """Return who sent a request."""
    caller: Caller = getattr(request.state, CALLER_KEY)
    return caller


class _RefusedError(Exception):
    def __init__(self, fault: Fault, headers: dict[str, str]) -> None:
        super().__init__(fault.problem.slug)
        self.fault = fault
        self.headers = headers


class Doorkeeper:
    """Lets requests through that carry what they need."""

    def __init__(self, app: ASGIApp, *, settings: Settings, ring: KeyRing) -> None:
        self._app = app
        self._ring = ring
        self._keys_are_required = settings.keys_are_required
        self._warns_of_proxies = not settings.keys_are_required and not settings.allow_open
        self._limits_loopback = settings.limit_loopback
        self._of_key = Policy("key", settings.rate_limit)
        self._of_address = Policy("address", settings.open_rate_limit)
        self._of_feedback = Policy("feedback", settings.feedback_rate_limit)
        self._no_limit = Policy("none", NO_LIMIT)

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer a request or pass it on, as ASGI asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        rule = find_rule(scope["method"], scope["path"])
        address = scope["client"][0] if scope.get("client") else ""
        try:
            caller = await self._find_caller(scope, rule, address)
            quota = self._find_quota(caller, rule)
            quota.take()
        except (_RefusedError, QuotaExceededError) as refusal:
            await ProblemResponse([refusal.fault], refusal.headers)(scope, receive, send)
            return
        scope.setdefault("state", {}).update({CALLER_KEY: caller, QUOTA_KEY: quota})
        await _Visit(self._ring, caller, quota, send).run(self._app, scope, receive)

    async def _find_caller(self, scope: Connection, rule: Rule | None, address: str) -> Caller:
        if rule is not None and rule.scope is None:
            return Caller(None, frozenset() if self._keys_are_required else frozenset(Scope), address)
        headers = Headers(scope=scope)
        given = headers.getlist("authorization")
        if not given and rule is not None and rule.takes_key_in_query:
            given = [f"Bearer {key}" for key in parse_qs(scope["query_string"].decode("latin-1")).get("key", [])]
        scheme, _, text = given[0].strip().partition(" ") if given else ("", "", "")
        is_key = scheme.lower() == "bearer" and text.strip().startswith(_TOKEN_BEGIN)
        if is_key or self._keys_are_required:
            try:
                return await self._find_key(given, text.strip() if is_key else "", rule, address)
            except _RefusedError as refusal:
                if refusal.fault.problem.status == ProblemType.API_KEY_MISSING.status:
                    self._quota_of_address(address).take()
                raise
        self._warn_of_proxy(headers)
        return Caller(None, frozenset(Scope), address)

    async def _find_key(self, given: list[str], text: str, rule: Rule | None, address: str) -> Caller:
        if not given:
            raise _RefusedError(_MISSING, {"WWW-Authenticate": _REALM})
        token = Token.parse(text) if len(given) == 1 else None
        if token is None:
            raise _invalid(_MALFORMED)
        try:
            key = await self._ring.admit(token)
        except KeyRefusedError as refusal:
            raise _invalid(refusal.fault) from None
        except StorageUnavailableError as error:
            fault = Fault(ProblemType.STORAGE_UNAVAILABLE, f"{str(error).capitalize()}. Try again.")
            raise _RefusedError(fault, {"Retry-After": str(STORAGE_RETRY_SECONDS)}) from None
        needed = Scope.ADMIN if rule is None or rule.scope is None else rule.scope
        if needed not in key.scopes:
            raise _RefusedError(_HIDDEN, {}) if rule is None else _closed(needed)
        return Caller(key.prefix, key.scopes, address)

    def _find_quota(self, caller: Caller, rule: Rule | None) -> Quota:
        if rule is not None and rule.scope is None:
            return self._no_limit.quota_of(caller.address)
        is_feedback = rule is not None and rule.is_feedback
        if caller.key_prefix is not None:
            return (self._of_feedback if is_feedback else self._of_key).quota_of(f"key {caller.key_prefix}")
        return self._quota_of_address(caller.address, is_feedback=is_feedback)

    def _quota_of_address(self, address: str, *, is_feedback: bool = False) -> Quota:
        if is_loopback(address) and not self._limits_loopback:
            return self._no_limit.quota_of(address)
        return (self._of_feedback if is_feedback else self._of_address).quota_of(to_caller(address))

    def _warn_of_proxy(self, headers: Headers) -> None:
        if self._warns_of_proxies and any(name in headers for name in _FORWARDED):
            self._warns_of_proxies = False
            _LOGGER.warning(
                "a request came through a proxy and the service needs no key, so whoever reaches the proxy reaches "
                "all of it; set CREDENCE_REQUIRE_KEYS=true and make keys with credence keys create"
            )


class _Visit:
    """Passes on one request that was let in, and says with the answer what is left to the caller.

    A stream of events ends soon after its key no longer opens anything.
    """

    def __init__(self, ring: KeyRing, caller: Caller, quota: Quota, send: Send) -> None:
        self._ring = ring
        self._key_prefix = caller.key_prefix
        self._quota = quota
        self._send = send
        self._is_watched = False
        self._is_ended = False

    async def run(self, app: ASGIApp, scope: Connection, receive: Receive) -> None:
        try:
            await app(scope, receive, self._pass_on)
        except Exception:
            if not self._is_ended:
                raise

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in self._quota.to_headers().items():
                headers.setdefault(name, value)
            self._is_watched = self._key_prefix is not None and headers.get("content-type", "").startswith(
                _EVENT_STREAM
            )
        elif self._is_watched and not await self._ring.still_admits(self._key_prefix or ""):
            self._is_ended = True
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            raise ConnectionAbortedError("the key no longer opens this stream")
        await self._send(message)


def _invalid(fault: Fault) -> _RefusedError:
    return _RefusedError(fault, {"WWW-Authenticate": f'{_REALM}, error="invalid_token"'})


def _closed(needed: Scope) -> _RefusedError:
    fault = Fault(ProblemType.SCOPE_MISSING, f"This needs a key with the scope {needed}.")
    return _RefusedError(fault, {"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{needed}"'})
