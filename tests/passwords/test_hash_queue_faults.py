"""Errors at each place in the hash queue: no slot and no place is lost, and no caller waits for ever."""

import _thread
import gc
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from faults.injection import Tracer, attempt, in_new_threads, in_this_thread, insist_that_all_is_usable
from support.crowd import Work, ask, run, waiting
from support.servers import REPOSITORY
from users.errors import Overloaded
from users.passwords import hash_queue, hashing
from users.passwords.argon2id import HashParameters
from users.passwords.hash_queue import HashQueue, Share
from users.passwords.hashing import Hasher, WrongPassword

SLOTS, WAITING = 2, 1
CHEAP = HashParameters(memory=8, time=1, lanes=1)


@pytest.fixture(autouse=True)
def _quick_and_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_queue, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)  # for threads that fail at their start


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """Fail a test in which a caller waits for ever."""

    def give_up(*_: object) -> NoReturn:
        raise AssertionError("a caller waits for ever")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def crowd() -> Iterator[ThreadPoolExecutor]:
    """The threads of the callers, made once for all runs."""
    with ThreadPoolExecutor(SLOTS * len(Share)) as pool:
        yield pool


def work_twice(queue: HashQueue) -> None:
    """Do two tasks in one place, as for a hash with old parameters."""
    with queue.place(Share.TYPED) as place:
        assert place.run(partial(str, 1)) == "1"
        assert place.run(partial(str, 2)) == "2"


def fail(queue: HashQueue) -> None:
    """Do work that fails."""
    run(queue, int, "no number")


def wait_in_vain(queue: HashQueue) -> None:
    """Wait for a slot that never becomes free, and give up."""
    with queue.place(Share.TYPED) as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(hash_queue, "WAIT_SECONDS", 0.001)
        patch.setattr(queue.workers, "_next", lambda: None)
        place.run(str)


def come_in_vain(queue: HashQueue) -> None:
    """Take place after place, until none is left."""
    with queue.place(Share.TYPED):
        come_in_vain(queue)


HERE = [(in_this_thread, scenario) for scenario in (work_twice, fail, wait_in_vain, come_in_vain)]
THERE = [(in_new_threads, scenario) for scenario in (work_twice, fail)]


@pytest.mark.parametrize(("where", "scenario"), [*HERE, *THERE])
def test_error_at_any_line(
    crowd: ThreadPoolExecutor,
    where: Callable[[Tracer], AbstractContextManager[None]],
    scenario: Callable[[HashQueue], None],
) -> None:
    """An error at any line of the queue loses no slot and no place."""
    at, fired = 0, True
    while fired:
        at += 1
        queue, tracer = HashQueue(SLOTS, WAITING), Tracer(hash_queue, at)
        with where(tracer):
            attempt(partial(scenario, queue), ValueError)
            fired = tracer.fired
        insist_that_all_is_usable(queue, crowd, SLOTS)
    assert at > 30, "so many lines and calls were tried"  # a thread comes to 40 before it wakes the caller


def test_error_at_any_line_of_the_hasher(crowd: ThreadPoolExecutor) -> None:
    """An error at any line of the hasher loses no slot and no place."""
    queue = HashQueue(SLOTS, WAITING)
    hasher, dearer = Hasher(CHEAP, queue), Hasher(HashParameters(memory=16, time=1, lanes=1), queue)

    def change_password(old: str) -> None:
        with dearer.place(Share.TYPED) as place:
            place.verify(old, "correct horse battery")
            place.hash("another horse battery")
            place.verify(None, "wrong horse battery")

    with hasher.place(Share.CREATE) as place:
        old = place.hash("correct horse battery")
    at, fired = 0, True
    while fired:
        at += 1
        tracer = Tracer(hashing, at)
        with in_this_thread(tracer):
            attempt(partial(change_password, old), WrongPassword)
            fired = tracer.fired
        insist_that_all_is_usable(queue, crowd, SLOTS)
    assert at > 30


class NoRoom(deque[Any]):
    """A queue of tasks on a system without memory for another one."""

    def append(self, _: object) -> NoReturn:
        """Fail."""
        raise MemoryError


def refuse(error: Callable[[], BaseException], *_: object) -> NoReturn:
    """Fail as a part of the queue can."""
    raise error()


def break_waking(workers: Any, failure: Callable[..., NoReturn], patch: pytest.MonkeyPatch) -> None:
    """Make the wake-up of threads fail."""
    patch.setattr(workers, "_wake", SimpleNamespace(put=failure, get=workers._wake.get))


def break_sleeping(workers: Any, failure: Callable[..., NoReturn], patch: pytest.MonkeyPatch) -> None:
    """Make threads fail while they wait for work."""
    patch.setattr(workers, "_wake", SimpleNamespace(put=workers._wake.put, get=failure))


def break_waiting(workers: Any, _failure: Callable[..., NoReturn], patch: pytest.MonkeyPatch) -> None:
    """Make it fail to put a task in the queue."""
    patch.setattr(workers, "_waiting", {share: NoRoom() for share in Share})


def break_starting(_workers: Any, failure: Callable[..., NoReturn], patch: pytest.MonkeyPatch) -> None:
    """Make the start of threads fail."""
    patch.setattr(_thread, "start_new_thread", failure)


def break_thread(_workers: Any, failure: Callable[..., NoReturn], patch: pytest.MonkeyPatch) -> None:
    """Make threads fail at their start."""
    patch.setattr(hash_queue, "_serve", failure)


def break_lock(_workers: Any, failure: Callable[..., NoReturn], patch: pytest.MonkeyPatch) -> None:
    """Make the creation of locks fail."""
    patch.setattr(hash_queue.threading, "Lock", failure)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("break_part", "error"),
    [
        (break_waking, MemoryError),
        (break_sleeping, MemoryError),
        (break_sleeping, SystemExit),
        (break_waiting, MemoryError),
        (break_starting, MemoryError),
        (break_starting, partial(RuntimeError, "can't start new thread")),
        (break_thread, MemoryError),
        (break_lock, MemoryError),
        (break_lock, partial(RuntimeError, "can't allocate lock")),
    ],
)
@pytest.mark.parametrize("warm", [False, True])
def test_failing_parts(
    crowd: ThreadPoolExecutor, break_part: Callable[..., None], error: Callable[[], BaseException], warm: bool
) -> None:
    """A part that fails loses no slot and no place."""
    queue = HashQueue(SLOTS, WAITING)
    if warm:
        run(queue, str)
    for scenario in (work_twice, fail):
        with pytest.MonkeyPatch.context() as patch:
            break_part(queue.workers, partial(refuse, error), patch)
            attempt(partial(scenario, queue), ValueError)
        insist_that_all_is_usable(queue, crowd, SLOTS)


def test_work_of_a_failed_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work of a caller who failed is not done."""
    queue, done = HashQueue(1, 0), list[int]()
    with monkeypatch.context() as patch:
        break_waking(queue.workers, partial(refuse, KeyError), patch)
        with pytest.raises(KeyError):
            run(queue, done.append, 1)
    assert waiting(queue) == 0
    run(queue, done.append, 2)
    assert done == [2]


def test_thread_fails_at_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that fails at its start begins again."""
    monkeypatch.setattr(hash_queue, "WAIT_SECONDS", 20)
    errors: list[type[BaseException]] = [MemoryError, SystemExit]

    def lower_priority() -> None:
        if errors:
            raise errors.pop()

    monkeypatch.setattr(hash_queue, "_lower_priority", lower_priority)
    start = time.monotonic()
    assert run(HashQueue(1, 0), str, 5) == "5"
    assert time.monotonic() - start < 10


def test_caller_fails_before_the_work(crowd: ThreadPoolExecutor) -> None:
    """A caller who fails before the work gives the place back."""
    queue = HashQueue(SLOTS, WAITING)
    for _ in range(10):
        with pytest.raises(KeyError), queue.place(Share.TYPED):
            raise KeyError
    insist_that_all_is_usable(queue, crowd, SLOTS)


class Secret(str):
    """A password with weak references, which show when it is freed."""


def ends(secret: "weakref.ref[Secret]") -> bool:
    """Tell whether the secret is freed; the thread that worked with it may need a moment."""
    limit = time.monotonic() + 5
    while secret() is not None and time.monotonic() < limit:
        time.sleep(0.001)
    return secret() is None


def quote(secret: Secret) -> NoReturn:
    """Raise an error with the secret in a frame of the traceback and in the error."""
    raise ValueError(secret)


def exhaust(_secret: Secret) -> NoReturn:
    """Raise MemoryError with the secret in a frame of the traceback."""
    raise MemoryError


@pytest.mark.parametrize("work", [Secret, str, quote, exhaust])
def test_password_is_released(work: Callable[[Secret], object]) -> None:
    queue = HashQueue(1, 1)
    gc.disable()
    try:
        secret = Secret("correct horse battery")
        watched = weakref.ref(secret)
        attempt(partial(run, queue, work, secret), ValueError)
        del secret
        assert ends(watched), "without the garbage collector's help"
    finally:
        gc.enable()


def test_password_that_waited_is_released(callers: ThreadPoolExecutor, work: Work) -> None:
    queue = HashQueue(1, 1)
    ask(callers, queue, work, 0)
    secret = Secret("correct horse battery")
    watched = weakref.ref(secret)
    with pytest.raises(Overloaded):
        run(queue, str, secret)
    del secret
    assert ends(watched)


FORK = """
import os, sys, threading, warnings
from functools import partial
from users.passwords.hash_queue import HashQueue, Share

warnings.simplefilter("ignore")  # about a fork beside threads: the subject of this test
queue, begun, end = HashQueue(2, 0), threading.Barrier(3), threading.Event()

def work():
    begun.wait(5)
    end.wait(5)

def run(work):
    with queue.place(Share.CREATE) as place:
        return place.run(work)

callers = [threading.Thread(target=run, args=(work,)) for _ in range(2)]
for caller in callers:
    caller.start()
begun.wait(5)
with queue.place(Share.TYPED) as place:
    child = os.fork()
    if child == 0:
        assert place.run(partial(str, 5)) == "5"
if child == 0:
    together = threading.Barrier(2)
    both = [threading.Thread(target=run, args=(partial(together.wait, 5),)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(5)
    assert not together.broken
    assert len(queue.workers.slots) == 2
    sys.exit()
end.set()
for caller in callers:
    caller.join(5)
assert run(partial(str, 6)) == "6"
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_forked_child_has_its_own_queue() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_slot_in_garbage() -> None:
    """The process may end during a garbage collection, and once waited for ever for a slot in the garbage."""
    queue = HashQueue(1, 0)
    run(queue, str)
    kept = list(queue.workers.slots)
    start = time.monotonic()
    ended = threading.Thread(target=queue.workers.end, daemon=True)
    ended.start()
    ended.join(10)
    assert not ended.is_alive()
    assert time.monotonic() - start < 5
    assert len(kept) == 1
