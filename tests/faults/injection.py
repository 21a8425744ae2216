"""A MemoryError at any line, at any call or at any allocation, one for each run of a scenario."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType, ModuleType
from typing import Any

import pytest

from support.crowd import run
from users.errors import Overloaded
from users.passwords import hash_queue
from users.passwords.hash_queue import HashQueue, Share

PATIENCE = 10  # seconds: a thread that waits longer waits for ever


class Tracer:
    """Raises a MemoryError at the `at`-th line or call of `module` in the threads that it is set for, once."""

    def __init__(self, module: ModuleType, at: int) -> None:
        self._file = module.__file__
        self._left = at
        self.fired = False

    def __call__(self, frame: FrameType, event: str, _argument: object) -> Any:
        if frame.f_code.co_filename != self._file or self.fired:
            return None
        if event in ("call", "line"):
            self._left -= 1
            if self._left == 0:
                self.fired = True
                raise MemoryError
        return self


@contextlib.contextmanager
def in_this_thread(tracer: Tracer) -> Iterator[None]:
    """Let the tracer fail in this thread."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        yield
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def in_new_threads(tracer: Tracer) -> Iterator[None]:
    """Let the tracer fail in the threads that a queue starts meanwhile."""
    serve = hash_queue._serve

    def traced(*arguments: Any) -> None:
        sys.settrace(tracer)
        serve(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_queue, "_serve", traced)
        yield
    tracer.fired = True  # whatever they do later


def attempt(scenario: Callable[[], object], *expected: type[BaseException]) -> None:
    """Run the scenario, which may succeed, be overloaded, lack memory or raise an expected error."""
    with contextlib.suppress(Overloaded, MemoryError, *expected):
        scenario()


def insist_that_all_is_usable(queue: HashQueue, callers: ThreadPoolExecutor, slots: int) -> None:
    """Assert that exactly all places can be taken, that all slots work in parallel, and that nothing is left over."""
    until = time.monotonic() + PATIENCE
    while any(queue._places.values()) and time.monotonic() < until:
        time.sleep(0.001)  # a hash thread that raised an error holds it, and with it the place, for a moment longer
    for share in Share:
        with contextlib.ExitStack() as places:
            for _ in range(queue.places_of(share)):
                places.enter_context(queue.place(share))
            with contextlib.suppress(Overloaded):
                places.enter_context(queue.place(share))
                raise AssertionError("more places than there are")
    together = threading.Barrier(slots)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_queue, "WAIT_SECONDS", PATIENCE)  # a busy machine may keep a thread from running for a while
        at_once = [callers.submit(run, queue, together.wait, PATIENCE, share=share) for share in list(Share) * slots]
        done = [one.result(PATIENCE) for one in at_once]
    assert sorted(map(str, done)) == sorted(str(number) for number in [*range(slots)] * len(Share))
    assert not any(queue.workers._waiting.values())
    assert not any(queue._places.values())
