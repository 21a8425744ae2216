"""Tasks that run until a test ends them, and the threads that give them to the hash queue."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pytest

from users.passwords.hash_queue import HashQueue, Share

R = TypeVar("R")


class Work:
    """A task that runs until the test ends it, and notes which numbers began."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._end = threading.Event()

    def __call__(self, number: int) -> int:
        with self._lock:
            self.begun.append(number)
            self._now += 1
            self.most = max(self.most, self._now)
        assert self._end.wait(20)
        with self._lock:
            self._now -= 1
        return number

    def end(self) -> None:
        """End all tasks."""
        self._end.set()

    def wait_for(self, count: int) -> None:
        """Wait until `count` tasks have begun."""
        limit = time.monotonic() + 10
        while len(self.begun) < count:
            assert time.monotonic() < limit
            time.sleep(0.002)


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    """More threads than any queue here accepts."""
    with ThreadPoolExecutor(64) as pool:
        yield pool


@pytest.fixture
def work(callers: ThreadPoolExecutor) -> Iterator[Work]:
    """A task that ends before the threads that wait for it."""
    made = Work()
    yield made
    made.end()


def run(queue: HashQueue, work: Callable[..., R], *arguments: object, share: Share = Share.CREATE) -> R:
    """Take a place in the queue and do the work there."""
    with queue.place(share) as place:
        return place.run(partial(work, *arguments))


def waiting(queue: HashQueue) -> int:
    """Return how many tasks wait for a slot."""
    return sum(map(len, queue.workers._waiting.values()))


def taken(queue: HashQueue) -> int:
    """Return how many places are taken."""
    return sum(map(len, queue._places.values()))


def ask(
    callers: ThreadPoolExecutor, queue: HashQueue, work: Work, number: int, share: Share = Share.CREATE
) -> "Future[int]":
    """Give the work to the queue from a thread; return when it is accepted or refused."""

    def let_in() -> int:
        return len(work.begun) + waiting(queue)

    before = let_in()
    asked = callers.submit(run, queue, work, number, share=share)
    limit = time.monotonic() + 10
    while let_in() == before and not asked.done():
        assert time.monotonic() < limit
        time.sleep(0.002)
    return asked
