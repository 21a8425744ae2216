"""Idle connections to Postgres: pinged before their next use, and closed after a minute without use."""

import contextlib
import select
import threading
import time
from typing import Any

import psycopg
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from users import forks
from users.storage.deadlines import at_most

PING_AFTER_SECONDS = 1
# The longest wait for a ping. Of the 4 s of a request it leaves 2 to find out that the first host is frozen too, and 1
# to connect to the second.
PING_SECONDS = 1
CLOSE_AFTER_SECONDS = 60


class IdleConnections:
    """The idle connections of an engine, which a timer closes one by one. There is no timer while there are none."""

    def __init__(self, engine: Engine) -> None:
        self._dialect: Dialect = engine.dialect
        self._begin()
        event.listen(engine, "checkin", self._note)
        event.listen(engine, "checkout", self._use)
        event.listen(engine, "engine_disposed", self._forget)
        forks.register(self, in_child=IdleConnections._begin)

    def _begin(self) -> None:
        # Reentrant: the garbage collector may give a connection back while its thread holds the lock.
        self._lock = threading.RLock()
        self._since: dict[ConnectionPoolEntry, float] = {}
        self._timer: threading.Timer | None = None

    def _note(self, connection: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
        if connection is None:  # it was lost
            return
        with self._lock:
            self._since[record] = time.monotonic()
            if not self._timer:
                self._start_timer()

    def _start_timer(self) -> None:
        """Let the longest idle connection be closed when it is due."""
        due = min(self._since.values()) + CLOSE_AFTER_SECONDS
        timer = threading.Timer(max(0, due - time.monotonic()), self._close_due)
        timer.name, timer.daemon = "idle connections", True
        with contextlib.suppress(RuntimeError, MemoryError):  # no thread can start now: the next use tries again
            timer.start()
            self._timer = timer

    def _close_due(self) -> None:
        with self._lock:
            self._timer = None
            last = time.monotonic() - CLOSE_AFTER_SECONDS
            for record in [record for record, since in list(self._since.items()) if since <= last]:
                del self._since[record]
                record.close()  # the pool keeps the record, and connects again when it uses it
            if self._since:
                self._start_timer()

    def _forget(self, _engine: Engine) -> None:
        with self._lock:
            self._since.clear()
            if self._timer:
                self._timer.cancel()
            self._timer = None

    def _use(self, connection: Any, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection) -> None:
        """Let the pool replace a connection that was lost while idle, and all older ones.

        SQLAlchemy's `pool_pre_ping` makes one more round trip before each use. Here a connection that was idle for
        less than PING_AFTER_SECONDS is pinged only if its socket has data or was closed.
        """
        with self._lock:
            since = self._since.pop(record, None)
        if connection.closed:  # by the timer, a moment ago
            raise DisconnectionError
        # A new connection is not pinged: the pool takes two losses in a row for an error of the program.
        if since is None:
            return
        try:
            if time.monotonic() - since >= PING_AFTER_SECONDS or not _is_quiet(connection):
                with at_most(PING_SECONDS):
                    self._dialect.do_ping(connection)
        except psycopg.Error:
            raise InvalidatePoolError from None


def _is_quiet(connection: Any) -> bool:
    readable = select.poll()  # unlike epoll it needs no file descriptor, and all may be in use
    readable.register(connection, select.POLLIN)
    return not readable.poll(0)
