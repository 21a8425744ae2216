"""The hash queue: how many passwords one process hashes at once, and how many may wait for that.

At the default parameters a hash takes 64 MiB and a tenth of a second of a core's time. Without a bound, a burst of
sign-ups would take all memory and keep everybody waiting.

No error may cost a slot or a place, not even a MemoryError. So nothing is counted up and down: a place is taken while
its object lives, and a slot while its thread holds it. And no lock is held from one line to the next: what several
threads share changes by single operations of the interpreter, such as `list.append` and `deque.popleft`.
"""

import _thread
import contextlib
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from users import forks
from users.errors import Overloaded

QUEUE = 16  # ENROL_HASH_QUEUE
# By which hashes stand back, so that reads go first while sign-ups take all cores. Measured on two shared cores at
# m=19456,t=2,p=1 with 8 sign-ups at a time: a read took 6.5 ms instead of 10.2, 36 instead of 49 in one of 100, and
# sign-ups were as many.
NICENESS = 10
END_SECONDS = 30.0  # at most, that the end of a process waits for hashes that run
WAIT_SECONDS = 5.0  # at most, in the queue: by then the caller has likely given up

R = TypeVar("R")


class Share(StrEnum):
    """Who asks for hashes: each share has its own bound, and none starves another, since they are served in turn."""

    CREATE = "create"  # a program with an API key: a new user, or a new password for one
    KNOWN = "known"  # a person who is signed in, or whose browser or network is known for the account
    TYPED = "typed"  # anybody else who typed a password, at a page or at another application


class HashQueue:
    """Runs `slots` pieces of work at once. In each share `queue` more wait, first come, first served."""

    def __init__(self, slots: int, queue: int = QUEUE) -> None:
        self._slots = slots
        self._places_of_a_share = slots + queue  # one share alone can use all slots
        self._begin()
        forks.register(self, in_child=HashQueue.begin_in_child)

    def _begin(self) -> None:
        self._places = {share: _Claims(self._places_of_a_share) for share in Share}
        self.workers = _Workers(self._slots)
        self._end = weakref.finalize(self, self.workers.end)  # also at the end of the process

    def begin_in_child(self) -> None:
        """Begin empty after a fork: the child has neither the threads nor the callers of its parent."""
        self._end.detach()
        self._begin()

    def require_place(self, share: Share) -> None:
        """Raise Overloaded if the share has no place now."""
        if self._places[share].is_full():
            raise Overloaded

    @contextlib.contextmanager
    def place(self, share: Share) -> Iterator["Place"]:
        """Take a place, and give it back at the end.

        Raises Overloaded at once when the share has no place, and when the system has no memory or no thread for it.
        """
        place = Place(self, share)
        try:
            self._let_in(place)
            yield place
        finally:
            self._places[share].remove(place)

    def _let_in(self, place: "Place") -> None:
        self.require_place(place.share)
        try:
            if not self._places[place.share].add(place):
                raise Overloaded
            self.workers.start_one(wanted=sum(map(len, self._places.values())))
        except MemoryError:
            raise Overloaded from None


class Place:
    """A place in the queue, for one piece of work after another."""

    def __init__(self, queue: HashQueue, share: Share) -> None:
        self._queue = queue
        self.share = share

    def run(self, work: Callable[[], R]) -> R:
        """Return what `work` returns or raise what it raises, when a slot has done it.

        Raises Overloaded when there is no memory or thread for it, and when it has not begun after WAIT_SECONDS.
        """
        try:
            task, workers = _Task(work), self._queue.workers
            workers.start_one(wanted=1)  # those there were may have died since the place was taken
            workers.do(task, self.share)
            return task.outcome()
        except MemoryError:
            raise Overloaded from None


class _Task(Generic[R]):
    """One piece of work, for which a caller waits. Nothing done is held on to: it has a password."""

    __slots__ = ("_done", "_error", "_result", "_work")

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._result: R
        self._error: BaseException | None = None
        try:
            self._done = threading.Lock()
        except RuntimeError:  # "can't allocate lock"
            raise MemoryError from None
        self._done.acquire()  # until it is

    def do(self) -> None:
        """Do the work and wake the caller."""
        try:
            self._result = self._work()
            self._done.release()
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Wake the caller with this error. It takes no memory."""
        traceback = error.__traceback__  # begins with the frame that caught the error and holds it: a circle
        self._error = error.with_traceback(traceback.tb_next if traceback else None)
        self._done.release()

    def wait(self, seconds: float = -1) -> bool:
        """Wait for the end of the work, by default as long as it takes, and tell whether it came."""
        return self._done.acquire(timeout=seconds)

    def outcome(self) -> R:
        """Return what the work returned or raise what it raised, once."""
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: a circle


class _Claims:
    """Objects of which so many count at a time, each while it lives: an error cannot leave one behind."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._living: list[weakref.ref[object]] = []

    def __len__(self) -> int:
        return len(self._living)

    def is_full(self) -> bool:
        """Tell whether no more would count."""
        return len(self) >= self._limit

    def add(self, claim: object) -> bool:
        """Add one and tell whether it counts: of those that come at the same moment, the first ones do."""
        reference = weakref.ref(claim, self._living.remove)
        self._living.append(reference)
        return self._living.index(reference) < self._limit

    def remove(self, claim: object) -> None:
        """Let one go before its life ends."""
        with contextlib.suppress(ValueError):
            self._living.remove(weakref.ref(claim))

    def __iter__(self) -> Iterator[Any]:
        return filter(None, [reference() for reference in tuple(self._living)])


class _Slot:
    """What a hash thread holds while it lives. `thread` is 0 before it serves and after that."""

    thread = 0


class _Workers:
    """The threads of one queue, and the tasks that wait for them. It does not know the queue, with which it ends.

    An executor of the standard library would do, but for a system without memory or threads to give: it keeps work
    that nobody waits for, forgets that a thread is missing, and `Thread.start` waits for ever for a thread that had no
    memory to begin.
    """

    def __init__(self, slots: int) -> None:
        self.ended = False
        self.slots = _Claims(slots)
        self._waiting: dict[Share, deque[_Task[Any]]] = {share: deque() for share in Share}
        self._served = dict.fromkeys(Share, 0.0)  # when, last
        self._wake: SimpleQueue[None] = SimpleQueue()  # one for each task

    def start_one(self, *, wanted: int) -> None:
        """Start a thread if fewer live than are wanted, or make do with those. Raises Overloaded if there is none."""
        if len(self.slots) >= wanted or self.slots.is_full():
            return
        slot = _Slot()
        with contextlib.suppress(MemoryError, RuntimeError):  # "can't start new thread"
            if self.slots.add(slot):
                _thread.start_new_thread(_serve, (self, slot))
        del slot  # a thread has it, if one was started: that can be so after an error, too
        if not self.slots:
            raise Overloaded

    def do(self, task: _Task[Any], share: Share) -> None:
        """Return when the task has been done. Raises Overloaded when it has not begun after WAIT_SECONDS."""
        try:
            self._waiting[share].append(task)
            self._wake.put(None)
            if task.wait(WAIT_SECONDS):
                return
        except BaseException:
            self._withdraw(task, share)
            raise
        if self._withdraw(task, share):
            raise Overloaded
        task.wait()  # what has begun is never given up

    def _withdraw(self, task: _Task[Any], share: Share) -> bool:
        """Take back a task whose caller waits no more, and tell whether it was still there."""
        try:
            self._waiting[share].remove(task)
        except ValueError:
            return False
        return True

    def serve(self) -> None:
        """Do one task after another, until the end. What goes wrong beside the work is told to the caller, too."""
        while not self.ended:
            task = None
            try:
                task = self._next()
                if task:
                    task.do()
                else:
                    self._wake.get()
            except BaseException as error:
                if task:
                    task.fail(error)

    def _next(self) -> _Task[Any] | None:
        """Return the task whose turn it is: the first one of the share that was not served for the longest time."""
        for share in sorted(self._served, key=self._served.__getitem__):
            if self._waiting[share]:
                self._served[share] = time.monotonic()
                try:
                    return self._waiting[share].popleft()
                except IndexError:  # another thread has it
                    continue
        return None

    def end(self) -> None:
        """Let the threads end, and wait for them: the memory that a hash fills must not go before it is done."""
        self.ended = True
        for _ in range(len(self.slots)):
            self._wake.put(None)
        # A slot may outlive its thread in garbage that is not collected yet: what counts is that it serves.
        until = time.monotonic() + END_SECONDS
        while any(slot.thread not in (0, threading.get_ident()) for slot in self.slots) and time.monotonic() < until:
            time.sleep(0.001)


def _serve(workers: _Workers, slot: _Slot) -> None:
    """Be the thread of this slot until the end, whatever happens."""
    with contextlib.suppress(BaseException):
        _step_back()
    while True:
        with contextlib.suppress(BaseException):
            slot.thread = threading.get_ident()
            workers.serve()
            slot.thread = 0
            return


def _step_back() -> None:
    """Give this thread a lower priority, which on Linux a thread has for itself (sched(7), "The nice value")."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # forbidden: hashes then run beside requests
            os.nice(NICENESS)
