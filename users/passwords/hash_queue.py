"""The hash queue: how many passwords one process hashes at once, and how many may wait.

With the default parameters a hash takes 64 MiB and a tenth of a second of one core. Without a limit, a burst of
sign-ups would use up the memory and delay all other requests.

No error may lose a slot or a place, not even a MemoryError. Therefore the module keeps no counters: a place is taken
while its object lives, and a slot while its thread holds it. No lock is held from one line to the next: threads change
shared state only by single operations of the interpreter, such as `list.append` and `deque.popleft`.
"""

import _thread
import contextlib
import itertools
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
from users.passwords.weak_sets import BoundedWeakSet

QUEUE = 16  # ENROL_HASH_QUEUE
# Added to the niceness of the hash threads, so that reads run first while sign-ups use all cores. Measured on two
# shared cores at m=19456,t=2,p=1 with 8 sign-ups at a time: a read took 6.5 ms instead of 10.2, the slowest 1 of 100
# took 36 ms instead of 49, and the number of sign-ups was the same.
NICENESS = 10
END_SECONDS = 30.0  # the longest time that the end of a process waits for running hashes
WAIT_SECONDS = 5.0  # the longest wait in the queue: after that the caller has probably given up

R = TypeVar("R")


class Share(StrEnum):
    """Who asks for hashes. Each share has its own limit, and shares that wait are served in turn.

    When there was one queue, 8 wrong sign-ins a second reduced creation from 35 users in 5 seconds to 2 in 8 seconds.
    """

    CREATE = "create"  # a program with an API key: a new user, or a new password for a user
    KNOWN = "known"  # a person who is signed in, has an open link, or whose browser or network is known for the account
    TYPED = "typed"  # any other person who typed a password, at a page or at another application
    BULK = "bulk"  # many new users at once: they have fewer places, and one turn after three of another share


class HashQueue:
    """Runs `slots` tasks at once. In each share `queue` more wait, first come, first served."""

    def __init__(self, slots: int, queue: int = QUEUE) -> None:
        self._slots = slots
        self._queue = queue
        self._start()
        forks.register(self, in_child=HashQueue.restart_in_child)

    def _start(self) -> None:
        self._places = {share: BoundedWeakSet(self.places_of(share)) for share in Share}
        self.workers = _Workers(self._slots)
        self._end = weakref.finalize(self, self.workers.end)  # also at the end of the process

    def restart_in_child(self) -> None:
        """Start empty after a fork: the child has neither the threads nor the callers of its parent."""
        self._end.detach()
        self._start()

    def places_of(self, share: Share) -> int:
        """Return how many places the share has. One share alone can use all slots."""
        # A place of BULK is for many passwords, one after another: each place holds a thread of the server for seconds.
        return self._slots + (self._queue // 4 if share == Share.BULK else self._queue)

    def require_place(self, share: Share) -> None:
        """Raise Overloaded if the share has no place now."""
        if self._places[share].is_full():
            raise Overloaded

    @contextlib.contextmanager
    def place(self, share: Share) -> Iterator["Place"]:
        """Take a place, and give it back at the end.

        Raises Overloaded at once when the share has no free place or the system has no memory or thread for it.
        """
        place = Place(self, share)
        try:
            self._admit(place)
            yield place
        finally:
            self._places[share].remove(place)

    def _admit(self, place: "Place") -> None:
        self.require_place(place.share)
        try:
            if not self._places[place.share].add(place):
                raise Overloaded
            self.workers.start_one(wanted=sum(map(len, self._places.values())))
        except MemoryError:
            raise Overloaded from None


class Place:
    """A place in the queue, for one task after another."""

    def __init__(self, queue: HashQueue, share: Share) -> None:
        self._queue = queue
        self.share = share

    def run(self, work: Callable[[], R]) -> R:
        """Do `work` in a slot, and return its result or raise its error.

        Raises Overloaded when there is no memory or thread for it, or when it has not begun after WAIT_SECONDS.
        """
        try:
            task, workers = _Task(work), self._queue.workers
            workers.start_one(wanted=1)  # all threads may have died since the place was taken
            workers.do(task, self.share)
            return task.outcome()
        except MemoryError:
            raise Overloaded from None


class _Task(Generic[R]):
    """Work for which a caller waits. It keeps no reference to finished work, which holds a password."""

    __slots__ = ("_done", "_error", "_result", "_work")

    def __init__(self, work: Callable[[], R]) -> None:
        self._work = work
        self._result: R
        self._error: BaseException | None = None
        try:
            self._done = threading.Lock()
        except RuntimeError:  # "can't allocate lock"
            raise MemoryError from None
        self._done.acquire()  # released when the work is done

    def do(self) -> None:
        """Do the work, then wake the caller."""
        try:
            self._result = self._work()
            self._done.release()
        except BaseException as error:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Wake the caller with this error. Needs no memory."""
        traceback = error.__traceback__  # its first frame caught the error and holds it: a reference cycle
        self._error = error.with_traceback(traceback.tb_next if traceback else None)
        self._done.release()

    def wait(self, seconds: float = -1) -> bool:
        """Wait for the end of the work, by default without a limit. Tell whether it ended."""
        return self._done.acquire(timeout=seconds)

    def outcome(self) -> R:
        """Return the result of the work or raise its error, once."""
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # its traceback holds this frame: a reference cycle


class _Slot:
    """Held by a hash thread while it lives. `thread` is 0 before it serves and after it has ended."""

    thread = 0


class _Workers:
    """The threads of one queue and the tasks that wait for them. It holds no reference to the queue, and ends with it.

    ThreadPoolExecutor fails where the system has no memory or threads left: it keeps work for which no caller waits,
    forgets that a thread is missing, and `Thread.start` waits for ever for a thread that had no memory to begin.
    """

    def __init__(self, slots: int) -> None:
        self.ended = False
        self.slots = BoundedWeakSet(slots)
        self._waiting: dict[Share, deque[_Task[Any]]] = {share: deque() for share in Share}
        self._turns = itertools.count(1)
        self._served_at = dict.fromkeys(Share, 0)  # the last turn
        self._wake: SimpleQueue[None] = SimpleQueue()  # an item for each task

    def start_one(self, *, wanted: int) -> None:
        """Start a thread if fewer live than `wanted`. Raises Overloaded if none lives and none can be started."""
        if len(self.slots) >= wanted or self.slots.is_full():
            return
        slot = _Slot()
        with contextlib.suppress(MemoryError, RuntimeError):  # "can't start new thread"
            if self.slots.add(slot):
                _thread.start_new_thread(_serve, (self, slot))
        del slot  # only its thread holds it now; a thread may have started even after an error
        if not self.slots:
            raise Overloaded

    def do(self, task: _Task[Any], share: Share) -> None:
        """Wait until the task is done. Raises Overloaded when it has not begun after WAIT_SECONDS."""
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
        task.wait()  # a task that has begun is always finished

    def _withdraw(self, task: _Task[Any], share: Share) -> bool:
        """Remove a task whose caller stops waiting, and tell whether it was still in the queue."""
        try:
            self._waiting[share].remove(task)
        except ValueError:
            return False
        return True

    def serve(self) -> None:
        """Do one task after another, until the end. An error outside of the work goes to the caller too."""
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
        """Return the next task: the first of the share that was served least recently."""
        for share in sorted(self._served_at, key=self._served_at.__getitem__):
            if self._waiting[share]:
                # As if two turns later: while another share waits, it has three turns for each of BULK.
                self._served_at[share] = next(self._turns) + (2 if share == Share.BULK else 0)
                try:
                    return self._waiting[share].popleft()
                except IndexError:  # another thread took it
                    continue
        return None

    def end(self) -> None:
        """End the threads and wait for them: the memory that a hash writes to must not go before the hash is done."""
        self.ended = True
        for _ in range(len(self.slots)):
            self._wake.put(None)
        # A slot in garbage that is not collected yet may outlive its thread, so look at `thread`.
        until = time.monotonic() + END_SECONDS
        while any(slot.thread not in (0, threading.get_ident()) for slot in self.slots) and time.monotonic() < until:
            time.sleep(0.001)


def _serve(workers: _Workers, slot: _Slot) -> None:
    """Serve in the thread of this slot until the end, also after errors."""
    with contextlib.suppress(BaseException):
        _lower_priority()
    while True:
        with contextlib.suppress(BaseException):
            slot.thread = threading.get_ident()
            workers.serve()
            slot.thread = 0
            return


def _lower_priority() -> None:
    """Lower the priority of this thread. On Linux each thread has its own (sched(7), "The nice value")."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # not permitted: hashes then compete with requests
            os.nice(NICENESS)
