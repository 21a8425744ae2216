"""Postgres: connections whose waits end at the deadline, and a ping only after an idle time."""

import select
import time
from functools import partial
from typing import Any

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from users.storage.deadlines import deadline

CONNECT_SECONDS = 2  # for each IP address of the host; psycopg accepts no less
IDLE_SECONDS = 1  # a connection to Postgres that was idle for longer is pinged before its next use


def set_up(engine: Engine, statement_seconds: float) -> None:
    """Set up every connection of `engine`. Postgres ends a statement after `statement_seconds`."""
    event.listen(engine, "do_connect", _connect)
    event.listen(engine, "connect", partial(_limit_statements, statement_seconds))
    event.listen(engine, "checkin", _note_idle)
    event.listen(engine, "checkout", partial(_ping_if_idle, engine.dialect))


class DeadlineConnection(psycopg.Connection[Any]):
    """A psycopg connection that gives up and closes itself when the request's budget is used up.

    A frozen server (SIGSTOP) fires none of its time-outs, and the pool's ping hangs too: with all time-outs set, a
    query hung for more than 25 s. With this class the request gets its 503 within 5 s.
    """

    def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server for as long as the budget allows."""
        end = deadline.get()
        if end is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, max(0.0, end - time.monotonic()))
        except psycopg.OperationalError:
            if time.monotonic() >= end:
                self.close()
            raise


def _connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
    end = deadline.get()
    if end is not None and time.monotonic() >= end:  # the pool connects again when its ping fails
        raise psycopg.OperationalError
    options.setdefault("connect_timeout", CONNECT_SECONDS)
    return DeadlineConnection.connect(*arguments, **options)


def _limit_statements(seconds: float, connection: Any, _record: object) -> None:
    """Let the server end statements that Enrol no longer waits for.

    Otherwise a statement that waits for a lock would keep its session while the pool opens another one: 16 connections
    became 64 sessions in 16 s of a locked table. A statement sets the limit: PgBouncer refuses it as an option of the
    connection.
    """
    connection.autocommit = True
    connection.execute(f"SET statement_timeout = {seconds * 1000:.0f}")
    connection.autocommit = False


def _note_idle(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _ping_if_idle(
    dialect: Dialect, connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Let the pool replace a connection that was lost while idle.

    SQLAlchemy's `pool_pre_ping` makes one more round trip before each use. Here a connection that was idle for less
    than IDLE_SECONDS is pinged only if its socket has data or was closed.
    """
    since = record.info.get("idle_since")
    # A new connection is not pinged: the pool takes two losses in a row for an error of the program.
    if since is None:
        return
    try:
        if time.monotonic() - since >= IDLE_SECONDS or not _is_quiet(connection):
            dialect.do_ping(connection)
    except psycopg.Error:
        raise DisconnectionError from None


def _is_quiet(connection: Any) -> bool:
    readable = select.poll()  # unlike epoll it needs no file descriptor, and all may be in use
    readable.register(connection, select.POLLIN)
    return not readable.poll(0)
