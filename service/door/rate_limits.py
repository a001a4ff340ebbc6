"""How much a caller may ask for: a window of time for each key or address, counted in this process.

A request costs 1. One that scores costs as much as it holds: 1 for a statement, 1 for each 500 characters begun of a
document. A window begins with the first request in it and ends at a fixed time, so that what is said of it is true.
"""

import math
import time
from collections.abc import Callable
from threading import Lock
from typing import Final

from limits import parse
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter
from starlette.requests import Request

from service.errors import Fault, ProblemType
from service.setting_types import NO_LIMIT

QUOTA_KEY: Final = "quota"
MAX_WINDOWS: Final = 20_000
_CHARS_PER_UNIT: Final = 500


class QuotaExceededError(Exception):
    """A caller has asked for too much; ``headers`` say when there is more."""

    def __init__(self, fault: Fault, headers: dict[str, str]) -> None:
        super().__init__(fault.detail)
        self.fault = fault
        self.headers = headers


class WindowStorage(Storage):
    """Counts in memory by a clock that nobody sets, for so many callers at most: the oldest window makes room."""

    STORAGE_SCHEME = None

    def __init__(self, *, elapsed: Callable[[], float], max_windows: int) -> None:
        super().__init__()
        self._elapsed = elapsed
        self._max_windows = max_windows
        # In the order in which they began, and so, since all are as long, in which they end.
        self._windows: dict[str, tuple[int, float]] = {}

    @property
    def base_exceptions(self) -> type[Exception]:
        """Return what the library may take for a fault of the storage."""
        return RuntimeError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a window, which begins now where there is none, and return what it holds."""
        count = self.get(key)
        ends_at = self._windows[key][1] if key in self._windows else self._begin(expiry)
        self._windows[key] = (count + amount, ends_at)
        return count + amount

    def get(self, key: str) -> int:
        """Return what a window holds."""
        count, ends_at = self._windows.get(key, (0, 0.0))
        if ends_at <= self._elapsed():
            self._windows.pop(key, None)
            return 0
        return count

    def get_expiry(self, key: str) -> float:
        """Return when a window ends, by the clock."""
        return self._windows[key][1] if key in self._windows else self._elapsed()

    def check(self) -> bool:
        """Say that the storage works."""
        return True

    def reset(self) -> int:
        """Forget every window and return how many there were."""
        n_windows = len(self._windows)
        self._windows.clear()
        return n_windows

    def clear(self, key: str) -> None:
        """Forget a window."""
        self._windows.pop(key, None)

    def __len__(self) -> int:
        return len(self._windows)

    def _begin(self, seconds: int) -> float:
        if len(self._windows) >= self._max_windows:
            self._windows.pop(next(iter(self._windows)))
        return self._elapsed() + seconds


class Policy:
    """One limit, such as 300/minute, that holds for each of many callers."""

    def __init__(
        self,
        name: str,
        rate: str,
        *,
        elapsed: Callable[[], float] = time.monotonic,
        max_windows: int = MAX_WINDOWS,
    ) -> None:
        self.name = name
        self.elapsed = elapsed
        self.rate = rate
        self.limit = None if rate == NO_LIMIT else parse(rate)
        self.storage = WindowStorage(elapsed=elapsed, max_windows=max_windows)
        self.limiter = FixedWindowRateLimiter(self.storage)
        self.lock = Lock()

    def quota_of(self, caller: str) -> "Quota":
        """Return what is left to a caller."""
        return Quota(self, caller)


class Quota:
    """What one caller may still ask for."""

    def __init__(self, policy: Policy, caller: str) -> None:
        self._policy = policy
        self._caller = caller
        self._n_taken = 0

    def take(self, cost: int = 1) -> None:
        """Spend so much, or raise ``QuotaExceededError`` and spend nothing."""
        policy, limit = self._policy, self._policy.limit
        if limit is None:
            return
        # A request that is dearer than a whole window could never be paid for.
        cost = min(cost, limit.amount - self._n_taken)
        if cost <= 0:
            return
        with policy.lock:
            if not policy.limiter.test(limit, self._caller, cost=cost):
                raise self._refusal(cost)
            policy.limiter.hit(limit, self._caller, cost=cost)
        self._n_taken += cost

    def charge(self, cost: int) -> None:
        """Spend what a request costs in all, less what it has spent; raises ``QuotaExceededError``."""
        self.take(cost - self._n_taken)

    def to_headers(self) -> dict[str, str]:
        """Return what the limit is and what is left of it, as headers; without a limit there are none."""
        limit = self._policy.limit
        if limit is None:
            return {}
        remaining, seconds = self._state()
        return {
            "RateLimit-Policy": f'"{self._policy.name}";q={limit.amount};w={limit.get_expiry()}',
            "RateLimit": f'"{self._policy.name}";r={remaining};t={seconds}',
        }

    def _state(self) -> tuple[int, int]:
        assert self._policy.limit is not None, "only a limit has a window"
        window = self._policy.limiter.get_window_stats(self._policy.limit, self._caller)
        return window.remaining, max(0, math.ceil(window.reset_time - self._policy.elapsed()))

    def _refusal(self, cost: int) -> QuotaExceededError:
        remaining, seconds = self._state()
        seconds = max(1, seconds)
        detail = (
            f"The limit is {self._policy.rate}, {remaining} of it is left and this would cost {cost}; there is more in "
            f"{seconds} seconds. A statement costs 1, a document 1 for each {_CHARS_PER_UNIT} characters begun."
        )
        fault = Fault(ProblemType.RATE_LIMITED, detail)
        return QuotaExceededError(fault, {"Retry-After": str(seconds), **self.to_headers()})


def document_cost(text: str) -> int:
    """Return what a document costs."""
    return max(1, math.ceil(len(text) / _CHARS_PER_UNIT))


async def get_quota(request: Request) -> Quota:
    """Return the quota of the caller of a request, for routes that cost more than 1."""
    quota: Quota = getattr(request.state, QUOTA_KEY)
    return quota
