"""How often a call is tried, what is raised when it fails, and how long to wait in between."""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from credence.errors import CredenceError

TRY_AGAIN: Final = frozenset({429, 503})
FIRST_ERROR: Final = 400


class CredenceApiError(CredenceError):
    """The service refused a request; the fields are those of its problem (RFC 9457).

    ``type`` is stable and says what kind of problem it is, ``detail`` what to do, ``pointer`` where in the request it
    is, ``request_id`` by which the service's log knows the request. None repeats a text that was sent.
    """

    def __init__(
        self, type: str, title: str, status: int, detail: str, pointer: str | None, request_id: str | None
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.type = type
        self.title = title
        self.status = status
        self.detail = detail
        self.pointer = pointer
        self.request_id = request_id

    @classmethod
    def from_answer(cls, status: int, content: Any, headers: Mapping[str, str]) -> "CredenceApiError":
        """Read a problem; an answer that is none, as a proxy gives it, gets the type ``about:blank``."""
        given = content if isinstance(content, dict) else {}
        pointer = given.get("pointer")
        return cls(
            str(given.get("type", "about:blank")),
            str(given.get("title", "The request failed")),
            status,
            str(given.get("detail", "The answer is not one of a Credence service.")),
            None if pointer is None else str(pointer),
            headers.get("x-request-id"),
        )


class ServiceUnreachableError(CredenceError):
    """No answer came, or only a part of one; whether the service did what was asked is not known."""


class UnexpectedAnswerError(CredenceError):
    """An answer is not what this version of the client knows."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long in all, a call is tried that may be repeated. ``max_attempts=1`` tries once.

    Without a ``Retry-After`` the waits double from ``first_wait_seconds`` on, up to ``max_wait_seconds``.
    """

    max_attempts: int = 5
    max_seconds: float = 60.0
    first_wait_seconds: float = 0.5
    max_wait_seconds: float = 8.0


class Attempts:
    """Counts the attempts of one call."""

    def __init__(
        self, policy: RetryPolicy, *, is_repeatable: bool, elapsed: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._is_repeatable = is_repeatable
        self._elapsed = elapsed
        self._started = elapsed()
        self._n_failed = 0

    def wait_after_fault(self) -> float | None:
        """Return how many seconds to wait before the next attempt, or null where there is none."""
        return self._next(None)

    def wait_after(self, status: int, headers: Mapping[str, str]) -> float | None:
        """Return the same after an answer; null where the answer is to be taken as it is."""
        return self._next(read_retry_after(headers.get("retry-after"))) if status in TRY_AGAIN else None

    def _next(self, asked_seconds: float | None) -> float | None:
        policy = self._policy
        self._n_failed += 1
        if not self._is_repeatable or self._n_failed >= policy.max_attempts:
            return None
        seconds = asked_seconds
        if seconds is None:
            longest = min(policy.first_wait_seconds * 2 ** (self._n_failed - 1), policy.max_wait_seconds)
            # Clients that failed together should not come back together.
            seconds = longest * random.uniform(0.5, 1.0)
        is_too_long = self._elapsed() - self._started + seconds > policy.max_seconds
        return None if is_too_long else seconds


def read_retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, or null where it cannot be read."""
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
