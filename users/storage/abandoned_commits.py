"""Writes after a COMMIT that Enrol gave up on: one at a time, until one is committed. Reads go on.

A primary whose synchronous standby is gone waits in COMMIT for good, and does not see that its client has left. Each
abandoned COMMIT keeps its session, and the pool opens another one: 32, 86, 128, 178 and 197 connections in 25 s, then
the server had none left for anyone.
"""

import contextlib
import threading
import time
from collections.abc import Iterator

from flask import Flask, current_app, has_request_context
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from users.storage import causes
from users.storage.deadlines import deadline
from users.storage.driver_errors import translate_errors, unavailable

# A role sees what its own sessions wait for, also through a pooler. A COMMIT that a standby answers is younger.
_IS_WAITING = text(
    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = session_user AND wait_event = 'SyncRep' "
    "AND clock_timestamp() - query_start > '1 second')"
)
_HAS_WRITTEN = text("SELECT txid_current_if_assigned() IS NOT NULL")


class _Commits:
    """What this process knows of its COMMITs."""

    def __init__(self) -> None:
        self.abandoned = False  # the last one, if it ended at the deadline
        self.probe = threading.Lock()  # held by the only write that may go on meanwhile


def init_app(app: Flask) -> None:
    """Begin with no abandoned COMMIT, in a forked child too: a thread of the parent may hold the lock."""
    app.extensions["enrol.commits"] = _Commits()


@contextlib.contextmanager
def one_at_a_time(engine: Engine, *, wait: bool) -> Iterator[None]:
    """Let a write go on unless a COMMIT was abandoned; then only one that may wait, if no session waits any more.

    A command is a process of its own and knows of no COMMIT, so it asks before each write. Raises Unavailable if the
    write may not go on: nothing of it was begun.
    """
    commits = _current()
    if not commits.abandoned:
        if wait and not has_request_context() and engine.dialect.name == "postgresql":
            _require_no_waiting_session(engine)
        yield
        return
    if not (wait and commits.probe.acquire(blocking=False)):
        raise unavailable(causes.COMMITS.found())
    try:
        _require_no_waiting_session(engine)
        yield
    finally:
        commits.probe.release()


@contextlib.contextmanager
def noting(connection: Connection) -> Iterator[None]:
    """Note whether the COMMIT inside is given up at the deadline, or succeeds after others were.

    A COMMIT of nothing waits for no standby, so it shows nothing.
    """
    if connection.dialect.name != "postgresql":
        yield
        return
    commits = _current()
    is_proof = commits.abandoned and connection.scalar(_HAS_WRITTEN)
    try:
        yield
    except DBAPIError:
        commits.abandoned |= time.monotonic() >= (deadline.get() or float("inf"))
        raise
    if is_proof:
        commits.abandoned = False


def _current() -> _Commits:
    commits: _Commits = current_app.extensions["enrol.commits"]
    return commits


def _require_no_waiting_session(engine: Engine) -> None:
    with translate_errors(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if does_a_session_wait(connection):
            raise unavailable(causes.COMMITS.found())


def does_a_session_wait(connection: Connection) -> bool:
    """Tell whether a session of Enrol has waited for a synchronous standby for a second. Not on SQLite."""
    return connection.dialect.name == "postgresql" and bool(connection.scalar(_IS_WAITING))
