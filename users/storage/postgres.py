"""Postgres: sessions set up once, waits that end at the deadline, and a new primary found."""

import os
import re
import time
from collections.abc import Collection, Mapping
from typing import Any

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from users.storage import causes
from users.storage.deadlines import BUDGET_SECONDS, deadline
from users.storage.driver_errors import not_in_utf8, read_only, unavailable
from users.storage.idle_connections import IdleConnections

CONNECT_SECONDS = 2  # for each IP address of a host, unless DATABASE_URL says more; psycopg accepts no less
UTF8 = "UTF8"
READ_ONLY_SECONDS = 1  # a connection to a read-only server is kept at least this long, and the pool with it
# What a new session is told, whatever the role or the database sets. Through a pooler nothing is: its sessions have
# other clients too, which would find the same values.
SESSION = {
    "default_transaction_isolation": "read committed",  # of reads; a transaction says it in its BEGIN
    "extra_float_digits": "1",  # floats are read as they were written
    "lock_timeout": "0",  # a wait for a lock ends with its statement
    "standard_conforming_strings": "on",
    # Otherwise a statement that waits for a lock would keep its session while the pool opens another one: 16
    # connections became 64 sessions in 16 s of a locked table.
    "statement_timeout": f"{BUDGET_SECONDS:.0f}s",
}
# A user who was acknowledged must be on disk. Every value but `off` waits for that or for more.
_DURABLE = "set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false)"
# What libpq sends while it connects, so that poolers apply it too. It takes these from the environment alone
# (https://www.postgresql.org/docs/current/libpq-envars.html).
STARTUP = {"PGDATESTYLE": "ISO, MDY", "PGTZ": "UTC"}

# The server converts all encodings to UTF8 but this one, and refuses to connect, in its own language.
_NOT_CONVERTED = re.compile(r"\bUTF8\b.*\b(MULE_INTERNAL)\b")
_TAKES_WRITES = text(
    "SELECT current_setting('transaction_read_only') = 'off', (SELECT bool_and(has_table_privilege(oid, 'INSERT')) "
    "FROM pg_class WHERE relname = ANY(CAST(:tables AS text[])) AND pg_table_is_visible(oid))"
)
_ROLE_SETTINGS = text(
    "SELECT format('ALTER ROLE %I SET %s = %L', session_user, name, value) "
    "FROM unnest(CAST(:names AS text[]), CAST(:values AS text[])) AS wanted (name, value) "
    "WHERE current_setting(name) <> value "
    "UNION ALL SELECT format('ALTER ROLE %I SET synchronous_commit = %L', session_user, 'on') "
    "WHERE current_setting('synchronous_commit') = 'off'"
)


def set_up(engine: Engine) -> None:
    """Set up every connection of `engine`."""
    os.environ.update(STARTUP)
    event.listen(engine, "do_connect", _Connector().connect)
    event.listen(engine, "connect", _note_connected)
    event.listen(engine, "handle_error", _leave_read_only)
    IdleConnections(engine)


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


class _Connector:
    """Connects to the hosts of DATABASE_URL in their order.

    If target_session_attrs chooses among them, the order does not matter, and a host that did not answer is tried last
    from then on: of three hosts, two that are switched off would take the whole budget of each request.
    """

    def __init__(self) -> None:
        self._first = 0  # counts up, also beyond the number of hosts

    def connect(self, _dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> Any:
        """Return a new connection whose session is set up."""
        start, end = time.monotonic(), deadline.get()
        if end is not None and start >= end:  # the pool connects again when its ping fails
            raise psycopg.OperationalError
        first = self._first
        seconds = _seconds_to_connect(options, end)
        options = {**_rotate_hosts(options, first), "connect_timeout": seconds, "client_encoding": UTF8}
        try:
            connection = DeadlineConnection.connect(*arguments, **options)
        except psycopg.OperationalError as error:
            if found := _NOT_CONVERTED.search(str(error)):
                raise not_in_utf8(found[1]) from None
            raise
        finally:
            if time.monotonic() - start >= CONNECT_SECONDS and "target_session_attrs" in options:
                self._first = first + 1
        try:
            _begin_session(connection)
        except BaseException:
            connection.close()
            raise
        return connection


def _seconds_to_connect(options: Mapping[str, Any], end: float | None) -> int:
    """Return the longest wait for one IP address. What DATABASE_URL says ends at the deadline, which is at `end`."""
    given = int(options.get("connect_timeout", CONNECT_SECONDS))  # 0 and less: without limit
    if end is None:
        return given
    left = max(CONNECT_SECONDS, int(end - time.monotonic()))
    return min(given, left) if given > 0 else left


def _rotate_hosts(options: Mapping[str, Any], first: int) -> dict[str, Any]:
    """Return libpq's options, with their lists of hosts and ports begun at number `first`."""
    rotated = dict(options)
    for name in ("host", "hostaddr", "port"):
        values = str(options.get(name, "")).split(",")
        begin = first % len(values)
        if begin:
            rotated[name] = ",".join(values[begin:] + values[:begin])
    return rotated


def _begin_session(connection: DeadlineConnection) -> None:
    """Tell the session what Enrol relies on, in one round trip; through a pooler prepare nothing and SET nothing.

    Raises Unavailable if the database is not in UTF8.
    """
    encoding = connection.info.parameter_status("server_encoding") or UTF8
    if encoding != UTF8:
        raise not_in_utf8(encoding)
    if not _set_if_direct(connection):
        connection.prepare_threshold = None


def _set_if_direct(connection: DeadlineConnection) -> bool:
    """Set SESSION if no pooler stands between; tell whether none does.

    A pooler gives its clients a process id of its own, which is not that of the session behind it. The transaction is
    for a standby: without it, a session whose default is SERIALIZABLE refuses every query there.
    """
    settings = [f"set_config('{name}', '{value}', false)" for name, value in SESSION.items()]
    query = f"SELECT {', '.join([*settings, _DURABLE])} WHERE pg_backend_pid() = {connection.info.backend_pid}"
    connection.autocommit = True
    cursor = connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {query}; COMMIT".encode())
    connection.autocommit = False
    cursor.nextset()
    return cursor.fetchone() is not None


def _note_connected(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info["connected_at"] = time.monotonic()


def _leave_read_only(context: ExceptionContext) -> None:
    """Let the pool connect anew if a server refused a write because it is read-only."""
    if context.connection and getattr(context.original_exception, "sqlstate", None) == "25006":
        context.is_disconnect = _may_be_left(context.connection)


def require_writable(connection: Connection, tables: Collection[str]) -> None:
    """Raise Unavailable if the server takes no writes, or not from this user to one of `tables`."""
    takes_writes, may_write = connection.execute(_TAKES_WRITES, {"tables": list(tables)}).one()
    if not takes_writes:
        leave_read_only(connection)
        raise read_only()
    if may_write is False:  # None: there is no table yet
        raise unavailable(causes.PRIVILEGES.found())


def leave_read_only(connection: Connection) -> None:
    """Let the pool connect anew after a look at a server that takes no writes."""
    if _may_be_left(connection):
        connection.invalidate()
        connection.engine.dispose()


def _may_be_left(connection: Connection) -> bool:
    """Tell whether to give up all connections to the read-only server that this one leads to.

    After a failover the pool may hold connections to the former primary, or to a standby behind a proxy that now leads
    elsewhere. While no server takes writes, this happens once in READ_ONLY_SECONDS, so reads keep their connections.
    """
    connected_at: float = connection.info["connected_at"]
    return time.monotonic() - connected_at >= READ_ONLY_SECONDS


def is_direct(connection: Connection) -> bool:
    """Tell whether no pooler stands between; only then Enrol prepares statements and has set SESSION."""
    driver: Any = connection.connection.driver_connection
    return driver.prepare_threshold is not None


def role_settings_to_change(connection: Connection) -> list[str]:
    """Return the statements that make the role set by itself what Enrol relies on, as far as it does not."""
    wanted = {**SESSION, "DateStyle": STARTUP["PGDATESTYLE"], "TimeZone": STARTUP["PGTZ"]}
    return list(connection.scalars(_ROLE_SETTINGS, {"names": list(wanted), "values": list(wanted.values())}))
