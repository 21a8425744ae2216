"""Limits that guard a budget: token buckets in the memory of one process, which cost no request a write.

What guards a password is in `throttles`, exact across processes.
"""

import math
import threading
from dataclasses import dataclass

from users import clock, forks
from users.errors import RateLimitExceeded, whole_seconds


@dataclass(frozen=True)
class Rate:
    """So many `requests` in so many `seconds`, and as many at once after a pause."""

    requests: int
    seconds: int


# Wrong keys from one address. Each has 202 random bits, so nobody guesses one: what this guards is the log and the
# look-ups. A count that is exact across processes would let whoever has no key make the database write.
WRONG_KEYS = Rate(100, 60)

# Refusals of one key or one user that leave an audit row: each is a write, which a request that is refused before its
# rate is judged would otherwise have for nothing.
REFUSALS = Rate(60, 60)


@dataclass(frozen=True)
class Allowance:
    """What a limit says of one request: whether it is granted, what is left, and the seconds until all is there."""

    rate: Rate
    granted: bool
    tokens: float

    def require(self) -> None:
        """Raise RateLimitExceeded unless the request is granted."""
        if not self.granted:
            raise RateLimitExceeded((1 - self.tokens) * self.rate.seconds / self.rate.requests)

    def headers(self) -> dict[str, str]:
        """Return the headers that tell a client how it stands (SPEC, Errors)."""
        missing = self.rate.requests - self.tokens
        return {
            "x-ratelimit-limit-requests": str(self.rate.requests),
            "x-ratelimit-remaining-requests": str(math.floor(self.tokens)),
            "x-ratelimit-reset-requests": str(whole_seconds(missing * self.rate.seconds / self.rate.requests)),
        }


class Buckets:
    """A token bucket for each key that asks, filled evenly at `rate`.

    Buckets that are full again are forgotten once in `rate.seconds`, so that there are never more than the keys that
    asked within twice that time.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._kept: dict[str, tuple[float, float]] = {}  # tokens, and when there were so many
        self._swept_at = clock.steady()
        self._make_lock()
        forks.register(self, in_child=Buckets._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()  # a child's own: a thread of its parent may hold the parent's

    def __len__(self) -> int:
        return len(self._kept)

    def take(self, key: str) -> Allowance:
        """Take a token from the bucket of `key` if there is one."""
        with self._lock:
            now = clock.steady()
            if now - self._swept_at >= self._rate.seconds:
                self._sweep(now)
            tokens = self._tokens(key, now)
            granted = tokens >= 1
            tokens -= granted
            self._kept[key] = (tokens, now)
        return Allowance(self._rate, granted, tokens)

    def _tokens(self, key: str, now: float) -> float:
        tokens, at = self._kept.get(key, (self._rate.requests, now))
        return min(self._rate.requests, tokens + (now - at) * self._rate.requests / self._rate.seconds)

    def _sweep(self, now: float) -> None:
        self._kept = {key: kept for key, kept in self._kept.items() if self._tokens(key, now) < self._rate.requests}
        self._swept_at = now
