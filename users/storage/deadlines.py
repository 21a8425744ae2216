"""The time at which all waits for the database end, and the time at which a wait for a lock ends."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

BUDGET_SECONDS = 4.0  # of one request: waiting for a connection, connecting, and all statements
SHORT_WAIT_SECONDS = 0.02  # the longest wait for a lock of a write that may be left out

deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # by `time.monotonic`


def give_up_at(*, wait: bool) -> float:
    """Return the time, by `time.monotonic`, at which to stop waiting for a lock."""
    soon = time.monotonic() + SHORT_WAIT_SECONDS
    return deadline.get() or soon if wait else soon


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Let the waits for the database end after `seconds`, or at the deadline if that is earlier."""
    soon = time.monotonic() + seconds
    token = deadline.set(min(deadline.get() or soon, soon))
    try:
        yield
    finally:
        deadline.reset(token)
