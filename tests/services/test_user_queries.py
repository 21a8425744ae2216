"""Users read as lists: by which index."""

from collections.abc import Callable

import pytest
from flask import Flask

from support import population
from support.databases import execute, plans_of
from users import clock
from users.services import user_purge, user_queries


@pytest.mark.parametrize(
    "read",
    [
        user_queries.list_deleted_users,
        lambda: user_queries.list_deleted_users(after=population.middle_id(3_000)),
        lambda: user_queries.list_users(active_only=True),
        lambda: user_purge.count(clock.now()),
        lambda: user_purge._deleted(clock.now(), ""),
    ],
    ids=["deleted", "deleted after", "active", "to purge", "purged next"],
)
def test_list_uses_the_index_on_status(app: Flask, database_url: str, read: Callable[[], object]) -> None:
    population.populate(database_url, 3_000)
    execute(app, "UPDATE users SET is_active = false WHERE id NOT IN (SELECT id FROM users ORDER BY id DESC LIMIT 30)")
    if database_url.startswith("postgres"):
        execute(app, "ANALYZE users")
    with app.app_context():
        (plan,) = plans_of(read)
    assert "ix_users_status" in plan
