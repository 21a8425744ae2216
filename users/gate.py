"""The hashing gate: how many passwords one process hashes at once, and how many may wait for it.

At the default parameters a hash takes 64 MiB and a tenth of a second of a core's time. Without a bound, a burst of
sign-ups would take all memory and keep everybody waiting.
"""

import contextlib
import math
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
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
    """Lets `slots` pieces of work run at once, first come first served, and `queue` more wait.

    Each slot is a thread, started when there is work for it. An executor of the standard library would do, but for a
    system that has no thread to give: it keeps work that nobody waits for, and forgets that the thread is missing.
    """

    def __init__(self, slots: int, queue: int = QUEUE) -> None:
        self._slots = slots
        self._places = slots + queue
        self._taken = 0  # places
        self._lock = threading.Lock()
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        weakref.finalize(self, _end, self._threads, self._work)  # also at the end of the process

    def require_place(self) -> None:
        """Raise Overloaded if there is no place now: whoever is sure to be refused can be so before all else."""
        if self._taken == self._places:
            raise Overloaded

    def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what `work` returns or raise what it raises.

        Raises Overloaded at once when the queue is full, when the system has no thread or no memory for the work,
        and when the work has not begun after WAIT_SECONDS.
        """
        future: Future[R] = Future()
        self._take_place()
        self._work.put(partial(self._do, future, work, *args, **kwargs))
        try:
            return future.result(WAIT_SECONDS)
        except TimeoutError:
            if not future.cancel():  # the work has begun
                return future.result()
            self._give_back()
            raise Overloaded from None
        finally:
            del future  # it holds the error that is raised, whose traceback holds this frame: a circle

    def _do(self, future: "Future[R]", work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Do the work, unless nobody waits for it, and free its place before whoever does can come back with more."""
        if not future.set_running_or_notify_cancel():
            return
        try:
            try:
                result = work(*args, **kwargs)
            finally:
                self._give_back()
        except MemoryError:
            future.set_exception(Overloaded())
        except BaseException as error:
            future.set_exception(error)
            del future  # a circle, as in `run`
        else:
            future.set_result(result)

    def _take_place(self) -> None:
        with self._lock:
            self.require_place()
            if len(self._threads) < self._slots and len(self._threads) <= self._taken:
                self._start_thread()
            self._taken += 1

    def _start_thread(self) -> None:
        """Start a thread, or make do with those there are."""
        thread = threading.Thread(target=_do_in_turn, args=(self._work,), name="hash", daemon=True)
        try:
            thread.start()
        except (MemoryError, RuntimeError):  # "can't start new thread"
            if not self._threads:
                raise Overloaded from None
        else:
            self._threads.append(thread)

    def _give_back(self) -> None:
        with self._lock:
            self._taken -= 1


def _do_in_turn(work: "SimpleQueue[Callable[[], None] | None]") -> None:
    """Do what comes until None does. Nothing done is held on to: it has a password."""
    _step_back()
    while one := work.get():
        one()
        del one


def _end(threads: list[threading.Thread], work: "SimpleQueue[Callable[[], None] | None]") -> None:
    """Let the threads end, and wait for them: the memory that a hash fills must not go before it is done."""
    for _ in threads:
        work.put(None)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join()


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
