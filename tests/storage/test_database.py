"""Access to both databases: writers wait for each other, and the budget of a request holds."""

import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from flask import Flask, g
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from support.people import make_user
from users.actors import terminal
from users.errors import Unavailable
from users.services import user_changes
from users.storage import database
from users.storage.models import User, db


def _deactivate(app: Flask, user: User) -> bool:
    with app.app_context():
        return user_changes.deactivate_user(user.id, actor=terminal("req_test00000000")).is_active


def test_writers_that_read_first(app: Flask) -> None:
    """Acts that read before they write wait for each other."""
    users = [make_user(app, f"jo{number}@example.com") for number in range(8)]
    together = threading.Barrier(len(users))

    def deactivate(user: User) -> bool:
        together.wait()
        return _deactivate(app, user)

    with ThreadPoolExecutor(len(users)) as pool:
        assert list(pool.map(deactivate, users)) == [False] * len(users)


def test_no_time_left(app: Flask) -> None:
    """A request without time left does not wait for a connection."""
    with app.test_request_context():
        g.database_seconds = -0.1
        with pytest.raises(Unavailable), mock.patch.object(db.engine, "connect") as connect, database.reading():
            pass
    assert not connect.called


def test_error_in_a_statement(app: Flask) -> None:
    """An error in a statement does not mean that the database is away."""
    with app.app_context(), pytest.raises(DBAPIError), database.reading() as session:
        session.execute(text("SELECT 1 +"))
