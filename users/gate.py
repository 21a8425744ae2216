"""The hashing gate: how many passwords one process hashes at once, and how many may wait for it.

At the default parameters a hash takes 64 MiB and a tenth of a second of a core's time. Without a bound, a burst of
sign-ups would take all memory and keep everybody waiting.
"""

import contextlib
import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from users.errors import Overloaded

QUEUE = 16  # ENROL_HASH_QUEUE
# By which hashes stand back, so that reads go first while sign-ups take all cores. Measured on two shared cores at
# m=19456,t=2,p=1 with 8 sign-ups at a time: a read took 6.5 ms instead of 10.2, 36 instead of 49 in one of 100, and
# sign-ups were as many.
NICENESS = 10
WAIT_SECONDS = 5.0  # at most, in the queue: by then whoever asked has likely given up

OWN_GROUP, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")  # cgroups(7)

P = ParamSpec("P")
R = TypeVar("R")


class Gate:
    """Lets `slots` pieces of work run at once, first come first served, and `queue` more wait."""

    def __init__(self, slots: int, queue: int = QUEUE) -> None:
        self._threads = ThreadPoolExecutor(slots, "hash", initializer=_step_back)
        self._lock = threading.Lock()
        self._places = slots + queue  # that are free

    def require_place(self) -> None:
        """Raise Overloaded if there is no place now: whoever is sure to be refused can be so before all else."""
        if not self._places:
            raise Overloaded

    def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what `work` returns or raise what it raises.

        Raises Overloaded at once when the queue is full, when the system has no thread or no memory for the work,
        and when the work has not begun after WAIT_SECONDS.
        """
        place = self._take_place()
        try:
            future = self._threads.submit(self._do, place, work, *args, **kwargs)
        except (MemoryError, RuntimeError):  # "can't start new thread"; the work stays queued, without its place
            self._give_back(place)
            raise Overloaded from None
        try:
            return future.result(WAIT_SECONDS)
        except TimeoutError:
            if not future.cancel():  # the work has begun
                return future.result()
            self._give_back(place)
            raise Overloaded from None
        finally:
            del future  # it holds the error that is raised, whose traceback holds this frame: a circle

    def _do(self, place: list[None], work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do the work and free its place before whoever waits for it can come back with more."""
        if not place:
            raise Overloaded  # which nobody hears
        try:
            return work(*args, **kwargs)
        except MemoryError:
            raise Overloaded from None
        finally:
            self._give_back(place)

    def _take_place(self) -> list[None]:
        """Return a place: what can be given back once."""
        with self._lock:
            self.require_place()
            self._places -= 1
        return [None]

    def _give_back(self, place: list[None]) -> None:
        with self._lock:
            self._places += len(place)
            place.clear()


def _step_back() -> None:
    """Give this thread a lower priority, which on Linux a thread has for itself (sched(7), "The nice value")."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # forbidden: hashes then run beside requests
            os.nice(NICENESS)


def usable_cores() -> int:
    """Return how many cores this process may use: a container of half a core on a machine of 64 has one."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min([cores, *_quotas()])


def _quotas() -> Iterator[int]:
    """Yield the cores, rounded up, that each control group around this process leaves it (cgroup v2, "cpu.max")."""
    try:
        own = next(line[3:] for line in OWN_GROUP.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    group = Path(own.strip("/"), "cpu.max")
    for folder in group.parents:
        with contextlib.suppress(OSError, ValueError):  # it is not there, or "max"
            quota, period = map(int, (GROUPS / folder / group.name).read_text().split())
            yield math.ceil(quota / period)
