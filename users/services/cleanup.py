"""Clean-up: deletes expired sessions, answers kept for Idempotency-Keys, throttles, set-up links, unfinished factors.

It also gives search keys to users whom a server of the version before made, and counts the makes of password hashes. A
request starts it, at most once a minute in each process, and does not wait for it: a thread of its own changes a few
hundred rows at a time. Rows that another transaction has locked wait for the next minute.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from flask import Flask
from sqlalchemy import ColumnElement, delete, func, literal_column, select

from users import clock, forks, logs
from users.auth import decoys, sessions
from users.auth.factors import held
from users.errors import Unavailable
from users.services import idempotency
from users.services.links import setup_link
from users.storage import database
from users.storage.lists import search_fill
from users.storage.models import AdminSession, IdempotencyRecord, SecondFactor, SetupLink, Throttle, User

T = TypeVar("T")

EVERY_SECONDS = 60
FIRST_AFTER_SECONDS = 10  # so a command, or a process that ends at once, does no clean-up
ROWS_AT_ONCE = 500  # in one transaction
PAUSE_SECONDS = 0.05  # between two transactions, for other writers
REPEATS = 5  # of one delete: under full load 2 of 5 do not get SQLite's write lock at once


class _Scheduler:
    """Starts a clean-up when one is due."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._due = clock.monotonic() + FIRST_AFTER_SECONDS
        self._begin()
        forks.register(self, in_child=_Scheduler._begin)

    def _begin(self) -> None:
        self._running = threading.Lock()  # held while a clean-up runs

    def start_if_due(self) -> None:
        """Start a clean-up if one is due and none runs. Called before each request; never raises."""
        if clock.monotonic() >= self._due and self._running.acquire(blocking=False):
            self._start()

    def _start(self) -> None:
        if clock.monotonic() < self._due:  # another request has started one meanwhile, and it has ended
            self._running.release()
            return
        self._due = clock.monotonic() + EVERY_SECONDS
        try:
            threading.Thread(target=self._run, name="cleanup", daemon=True).start()
        except (RuntimeError, MemoryError):  # the system has no thread now: try again in a minute
            self._running.release()

    def _run(self) -> None:
        try:
            with self._app.app_context():
                decoys.refresh()
                delete_expired()
                fill_search_keys()
                for act in self._app.extensions["enrol.cleanups"]:
                    act()
        except Unavailable:
            logs.event("sweep_put_off")
        except Exception as error:
            logs.unexpected(error)
        finally:
            self._running.release()


def init_app(app: Flask) -> None:
    """Let the requests to `app` start clean-ups."""
    app.extensions["enrol.cleanups"] = []
    app.before_request(_Scheduler(app).start_if_due)


def add(app: Flask, act: Callable[[], None]) -> None:
    """Let each clean-up of `app` call `act` too, which may raise Unavailable. Folders above this one have such acts."""
    app.extensions["enrol.cleanups"].append(act)


def delete_expired() -> None:
    """Delete all expired rows. Raises Unavailable if the database cannot be used, or other writers keep it locked."""
    for model, expired in _expired(clock.now()):
        while _try(partial(_delete_some, model, expired)) == ROWS_AT_ONCE:
            time.sleep(PAUSE_SECONDS)


def fill_search_keys() -> None:
    """Give all users their search keys. Raises Unavailable like `delete_expired`."""
    unfilled = select(User.id).where(User.search_parents.is_(None)).limit(1)
    last = "" if database.find(unfilled) else None  # without SQLite's write lock: most often there is none
    while last is not None:
        last = _try(partial(_fill_some, last))
        time.sleep(PAUSE_SECONDS)


def _expired(now: datetime) -> Iterator[tuple[type[Any], ColumnElement[bool]]]:
    yield AdminSession, sessions.is_expired(now)
    yield IdempotencyRecord, idempotency.is_expired(now)
    yield SetupLink, setup_link.is_expired(now)
    yield Throttle, Throttle.refilled_at <= now
    yield SecondFactor, held.is_abandoned(now)


def _try(act: Callable[[], T]) -> T:
    for _ in range(REPEATS - 1):
        with contextlib.suppress(Unavailable):
            return act()
        time.sleep(PAUSE_SECONDS)
    return act()


def _fill_some(after: str) -> str | None:
    with database.writing(wait=False) as connection:
        return search_fill.fill_some(connection, after=after, some=ROWS_AT_ONCE)


def _delete_some(model: type[Any], expired: ColumnElement[bool]) -> int:
    """Delete up to ROWS_AT_ONCE expired rows that no other transaction has locked, and return how many."""
    with database.writing(wait=False) as connection:
        on_sqlite = connection.dialect.name == "sqlite"
        # The row's physical id works for every table, whatever its primary key.
        row_id: ColumnElement[Any] = literal_column("rowid" if on_sqlite else "ctid")
        found = select(row_id).select_from(model).where(expired).limit(ROWS_AT_ONCE).with_for_update(skip_locked=True)
        # On Postgres an array: a query inside IN may run more than once, and lock more rows each time.
        chosen = row_id.in_(found) if on_sqlite else row_id == func.any(func.array(found.scalar_subquery()))
        return connection.execute(delete(model.__table__).where(chosen)).rowcount
