"""The children of a server: which are started, when again, and how a failure stops none of them for good."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from support.import_jobs import wait_until
from users.bulk import children
from users.bulk.children import Children
from users.errors import Unavailable

pytestmark = pytest.mark.one_database
Outcome = list[str] | Exception


class Told:
    """Says what is due, look after look; then nothing is."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)

    def __call__(self) -> list[str]:
        """Return the kinds that are due, or raise."""
        found = self.outcomes.pop(0) if self.outcomes else []
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of which a child was started; each child only ends in order, or fails if its kind is `bad`."""
    begun: list[str] = []

    def start(_self: Children, kind: str) -> "subprocess.Popen[bytes]":
        begun.append(kind)
        return subprocess.Popen([sys.executable, "-S", "-c", f"raise SystemExit({kind == 'bad'})"])

    monkeypatch.setattr(Children, "_start", start)
    return begun


def run(app: Flask, due: Callable[[], list[str]]) -> Children:
    """Look once, and return when no child and no thread is left."""
    made = Children(app, due)
    made.look()
    wait_until(lambda: not any(thread.name.startswith("jobs") for thread in threading.enumerate()))
    return made


def test_one_kind_after_another(app: Flask, started: list[str]) -> None:
    """What became due by the work of a child is done without another request."""
    run(app, Told(["checks"], ["checks"], ["imports"], ["imports"]))
    assert started == ["checks", "imports"]


def test_nothing_is_due(app: Flask, started: list[str]) -> None:
    run(app, Told([]))
    assert started == []


@pytest.mark.parametrize("error", [Unavailable("nowhere"), OSError(5, "no disk"), ZeroDivisionError()])
def test_error_of_a_look(app: Flask, started: list[str], error: Exception, events: list[Any]) -> None:
    """Another look finds the work; what was not expected is in the log."""
    made = run(app, Told(error))
    assert [record.levelno for record in events] == ([] if isinstance(error, Unavailable) else [logging.ERROR])
    made._due = Told(["checks"], ["checks"])
    made.look()
    wait_until(lambda: started == ["checks"])
    made.end()


def test_failing_child(app: Flask, started: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started again after a pause, and other kinds go on meanwhile."""
    monkeypatch.setattr(children, "MOST_PAUSE_SECONDS", 0.3)
    begin = time.monotonic()
    run(app, Told(["bad"], ["bad"], ["bad"], []))
    assert started == ["bad", "bad"]
    assert time.monotonic() - begin > 0.5


def test_end_of_the_server(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The children get SIGTERM and are collected; none is started after that."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(_self: Children, _kind: str) -> "subprocess.Popen[bytes]":
        begun.append(subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE))
        return begun[-1]

    monkeypatch.setattr(Children, "_start", start)
    made = Children(app, lambda: ["checks"])
    made.look()
    wait_until(lambda: made._running.get("checks"))
    made.end()
    made.look()
    wait_until(lambda: not any(thread.name.startswith("jobs") for thread in threading.enumerate()))
    assert [child.returncode for child in begun] == [-15]
    with pytest.raises(ChildProcessError):
        os.waitpid(begun[0].pid, 0)
