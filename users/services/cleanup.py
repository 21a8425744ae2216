"""What has ended goes away by itself: answers whose day is over, sessions that ran out, throttles, set-up links.

Whichever request comes next starts it, once a minute at most in each process, and waits for none of it: a thread of
its own deletes a few hundred rows at a time and leaves what somebody else is at to the next minute.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from flask import Flask
from sqlalchemy import ColumnElement, delete, func, literal_column, select

from users import clock, forks, logs
from users.auth import sessions
from users.errors import Unavailable
from users.services import idempotency, setup_link
from users.storage import database
from users.storage.models import AdminSession, IdempotencyRecord, SetupLink, Throttle

EVERY_SECONDS = 60
FIRST_AFTER_SECONDS = 10  # a command, or a process that ends at once, sweeps nothing
ROWS_AT_ONCE = 500  # in one transaction
PAUSE_SECONDS = 0.05  # between two, for other writers
REPEATS = 5  # of one delete: under full load 2 of 5 do not get SQLite's write lock at once


class _Sweeper:
    """Starts a sweep when one is due."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._due = clock.steady() + FIRST_AFTER_SECONDS
        self._begin()
        forks.register(self, in_child=_Sweeper._begin)

    def _begin(self) -> None:
        self._sweeping = threading.Lock()  # held while a sweep runs

    def start_if_due(self) -> None:
        """Start a sweep if one is due and none runs. Called before each request, which it never fails."""
        if clock.steady() >= self._due and self._sweeping.acquire(blocking=False):
            self._start()

    def _start(self) -> None:
        if clock.steady() < self._due:  # another request has started one meanwhile, which has ended
            self._sweeping.release()
            return
        self._due = clock.steady() + EVERY_SECONDS
        try:
            threading.Thread(target=self._run, name="sweep", daemon=True).start()
        except (RuntimeError, MemoryError):  # no thread can be had: the next minute may have one
            self._sweeping.release()

    def _run(self) -> None:
        try:
            with self._app.app_context():
                sweep()
        except Unavailable:
            logs.event("sweep_put_off")
        except Exception as error:
            logs.unexpected(error)
        finally:
            self._sweeping.release()


def init_app(app: Flask) -> None:
    """Let the requests to `app` start sweeps."""
    app.before_request(_Sweeper(app).start_if_due)


def sweep() -> None:
    """Delete all that has ended. Raises Unavailable when the database cannot be used, or others write to it now."""
    for model, ended in _ended(clock.now()):
        while _try_to_delete_some(model, ended) == ROWS_AT_ONCE:
            time.sleep(PAUSE_SECONDS)


def _ended(now: datetime) -> Iterator[tuple[type[Any], ColumnElement[bool]]]:
    yield AdminSession, sessions.has_run_out(now)
    yield IdempotencyRecord, IdempotencyRecord.created_at <= now - idempotency.KEPT
    yield SetupLink, SetupLink.created_at <= now - setup_link.LIFETIME
    yield Throttle, Throttle.refilled_at <= now


def _try_to_delete_some(model: type[Any], ended: ColumnElement[bool]) -> int:
    for _ in range(REPEATS - 1):
        with contextlib.suppress(Unavailable):
            return _delete_some(model, ended)
        time.sleep(PAUSE_SECONDS)
    return _delete_some(model, ended)


def _delete_some(model: type[Any], ended: ColumnElement[bool]) -> int:
    """Delete some rows that have ended, but for those that another transaction has locked, and return how many."""
    with database.writing(wait=False) as connection:
        on_sqlite = connection.dialect.name == "sqlite"
        # The place where a row lies names it in every table, whatever the primary key is made of.
        place: ColumnElement[Any] = literal_column("rowid" if on_sqlite else "ctid")
        found = select(place).select_from(model).where(ended).limit(ROWS_AT_ONCE).with_for_update(skip_locked=True)
        # On Postgres an array: a query inside IN may run more than once, and lock more rows each time.
        chosen = place.in_(found) if on_sqlite else place == func.any(func.array(found.scalar_subquery()))
        return connection.execute(delete(model.__table__).where(chosen)).rowcount
