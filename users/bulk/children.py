"""The children of a serving process, which work on jobs: started when work is due, ended with the server, collected.

A child has niceness 19 and a session of its own. Its standard input is a pipe that carries nothing: it ends when the
server has ended, however that happened.
"""

import atexit
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from weakref import WeakSet

from flask import Flask

from users import clock, forks, logs, settings
from users.errors import Unavailable

LOOK_EVERY_SECONDS = 5.0
MOST_PAUSE_SECONDS = 30.0  # between two children that fail one after another
END_SECONDS = 5.0  # for the steps in hand, when the server ends

PROGRAM = "import os; os.nice(19); from flask.cli import main; main()"
_DROPPED = ("FLASK_", "WERKZEUG_")  # what is said of the server, not of Enrol


class Children:
    """Starts the children of `app`, at most one at a time for each kind of work.

    `due` returns the kinds that are due now, and raises Unavailable.
    """

    def __init__(self, app: Flask, due: Callable[[], list[str]]) -> None:
        self._app = app
        self._due = due
        self._begin()
        forks.register(self, in_child=Children._begin)
        _all.add(self)

    def _begin(self) -> None:
        self._look_at = 0.0
        self._ending = threading.Event()
        self._lock = threading.Lock()  # of the two below
        self._asked: set[str] = set()  # kinds that were due at the last look
        self._running: dict[str, subprocess.Popen[bytes] | None] = {}  # None: between two children

    def look_if_time(self) -> None:
        """Look for due work, if the last look was a while ago. Called before each request; never raises."""
        if clock.monotonic() >= self._look_at:
            self.look()

    def look(self) -> None:
        """Look for due work beside this request, and start children for it. Never raises."""
        self._look_at = clock.monotonic() + LOOK_EVERY_SECONDS
        with contextlib.suppress(RuntimeError):  # the system has no thread now: the next look finds it
            threading.Thread(target=self._look, name="jobs", daemon=True).start()

    def end(self) -> None:
        """Let the steps in hand end, then the children. Called at the end of the process."""
        self._ending.set()
        with self._lock:
            children = [child for child in self._running.values() if child]
        for child in children:
            child.terminate()
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(END_SECONDS)

    def _look(self) -> None:
        self._begin_to_work(self._find_due())

    def _begin_to_work(self, kinds: Iterable[str]) -> None:
        for kind in kinds:
            with self._lock:
                self._asked.add(kind)
                if kind in self._running:
                    continue
                self._running[kind] = None
            try:
                threading.Thread(target=self._run, args=(kind,), name=f"jobs {kind}", daemon=True).start()
            except RuntimeError:  # the system has no thread now: the next look finds it
                with self._lock:
                    del self._running[kind]

    def _find_due(self) -> list[str]:
        try:
            with self._app.app_context():
                return self._due()
        except Unavailable:
            return []
        except Exception as error:  # the thread that asks must go on, or its kind of work would never be done again
            logs.unexpected(error)
            return []

    def _run(self, kind: str) -> None:
        """Let child after child work until nothing of this kind is due."""
        failures = 0
        while self._has_more(kind):
            failures = 0 if self._succeeds(kind) else failures + 1
            if failures:
                self._ending.wait(min(2.0**failures, MOST_PAUSE_SECONDS))

    def _has_more(self, kind: str) -> bool:
        with self._lock:
            self._asked.discard(kind)
        due = self._find_due()
        self._begin_to_work(other for other in due if other != kind)  # a file that is checked may be due to run
        with self._lock:
            if (kind in due or kind in self._asked) and not self._ending.is_set():
                return True
            del self._running[kind]
            return False

    def _succeeds(self, kind: str) -> bool:
        """Let one child work to its end, and tell whether that was in order."""
        try:
            with self._lock:
                if self._ending.is_set():
                    return True
                child = self._running[kind] = self._start(kind)
        except OSError as error:  # the system has no process now
            logs.unexpected(error)
            return False
        succeeded = child.wait() == 0
        if child.stdin:
            child.stdin.close()  # not before: its end tells the child that the server has ended
        return succeeded

    def _start(self, kind: str) -> "subprocess.Popen[bytes]":
        with self._app.app_context():
            style = settings.current().log_format
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
        root = self._app.root_path
        return subprocess.Popen(  # noqa: S603  (our own words)
            [sys.executable, "-c", PROGRAM, "jobs", "work", kind],
            cwd=root,
            env={**kept, "FLASK_APP": os.path.join(root, "app.py"), "ENROL_LOG_FORMAT": style},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


_all: WeakSet[Children] = WeakSet()


@atexit.register
def _end_all() -> None:
    for one in list(_all):
        one.end()
