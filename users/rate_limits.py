"""Rate limits: token buckets in the memory of one process, so that a request needs no write for them.

The limits on wrong passwords are in `auth/throttles`: rows in the database, exact across processes.
"""

import math
import threading
from dataclasses import dataclass

from users import clock, forks
from users.errors import RateLimitExceeded


@dataclass(frozen=True)
class Rate:
    """At most `requests` in `seconds`. After a pause all of them may come at once."""

    requests: int
    seconds: int


# Wrong keys from one network. A key has 202 random bits, so it cannot be guessed: this limit protects the log and the
# look-ups. An exact count across processes would let callers without a key make the database write.
WRONG_KEYS = Rate(100, 60)

# Refusals of one key or one user that write an audit event. They come before the rate limit of the key is checked, so
# without this limit their writes would have none.
REFUSALS = Rate(60, 60)


@dataclass(frozen=True)
class Allowance:
    """The decision of a limit on one request: whether it is granted, and how many tokens are left."""

    rate: Rate
    granted: bool
    tokens: float
    wanted: int = 1

    def require(self) -> None:
        """Raise RateLimitExceeded unless the request is granted."""
        if not self.granted:
            raise RateLimitExceeded((self.wanted - self.tokens) * self.rate.seconds / self.rate.requests)

    def headers(self) -> dict[str, str]:
        """Return the rate limit headers of the response."""
        missing = self.rate.requests - self.tokens
        return {
            "x-ratelimit-limit-requests": str(self.rate.requests),
            "x-ratelimit-remaining-requests": str(math.floor(self.tokens)),
            "x-ratelimit-reset-requests": str(clock.whole_seconds(missing * self.rate.seconds / self.rate.requests)),
        }


class Buckets:
    """A token bucket for each key, refilled evenly at `rate`.

    Full buckets are removed once in `rate.seconds`, so the dictionary has only keys of the last `2 * rate.seconds`.
    """

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: dict[str, tuple[float, float]] = {}  # the tokens, and the time of that count
        self._swept_at = clock.monotonic()
        self._make_lock()
        forks.register(self, in_child=Buckets._make_lock)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()  # a new one in a child: a thread of the parent may hold the old one

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, wanted: int = 1, *, taken: int = 0) -> Allowance:
        """Take a token from the bucket of `key`, or the `wanted` ones if there are as many.

        `taken` are those that the same request has taken before, which are given back if the rest is not there. A
        bucket holds `rate.requests`, so no request costs more.
        """
        with self._lock:
            now = clock.monotonic()
            if now - self._swept_at >= self._rate.seconds:
                self._sweep(now)
            tokens = min(self._rate.requests, self._tokens(key, now) + taken)
            wanted = min(self._rate.requests, wanted)
            granted = tokens >= wanted
            tokens -= wanted if granted else 0
            self._buckets[key] = (tokens, now)
        return Allowance(self._rate, granted, tokens, wanted)

    def _tokens(self, key: str, now: float) -> float:
        tokens, at = self._buckets.get(key, (self._rate.requests, now))
        return min(self._rate.requests, tokens + (now - at) * self._rate.requests / self._rate.seconds)

    def _sweep(self, now: float) -> None:
        self._buckets = {
            key: bucket for key, bucket in self._buckets.items() if self._tokens(key, now) < self._rate.requests
        }
        self._swept_at = now
