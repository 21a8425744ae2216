"""Users read as lists and by email: by which index."""

from collections.abc import Callable

import pytest
from flask import Flask

from support import population
from support.changes import ACTS, TERMINAL
from support.databases import execute, plans_of
from support.people import UNKNOWN_ID, make_user
from users import clock
from users.services import user_purge, user_queries


@pytest.mark.parametrize(
    "read",
    [
        user_queries.list_deleted_users,
        lambda: user_queries.list_deleted_users(after=population.middle_id(3_000)),
        lambda: user_queries.list_users(user_queries.ACTIVE),
        lambda: user_purge.count(clock.now()),
        lambda: user_purge._deleted(clock.now(), ""),
    ],
    ids=["deleted", "deleted after", "active", "to purge", "purged next"],
)
def test_list_uses_the_index_on_segments(app: Flask, database_url: str, read: Callable[[], object]) -> None:
    population.populate(database_url, 3_000)
    execute(app, "UPDATE users SET is_active = false WHERE id NOT IN (SELECT id FROM users ORDER BY id DESC LIMIT 30)")
    if database_url.startswith("postgres"):
        execute(app, "ANALYZE users")
    with app.app_context():
        (plan,) = plans_of(read)
    assert "ix_users_segment" in plan


def test_users_of_an_email(app: Flask) -> None:
    """The present user comes first, then the deleted ones, newest first, up to SAME_EMAIL."""

    def found(email: str) -> list[str]:
        with app.app_context():
            return list(user_queries.ids_of_email(email))

    made: list[str] = []
    for number in range(user_queries.SAME_EMAIL + 1):
        assert found("jo@example.com") == made[::-1][: user_queries.SAME_EMAIL]
        user = make_user(app, "jo@example.com")
        made.append(user.id)
        assert found(" JO@example.com") == made[::-1][: user_queries.SAME_EMAIL]
        if number < user_queries.SAME_EMAIL:
            with app.app_context():
                ACTS["delete"](user, TERMINAL)
    for other in ("jo2@example.com", "jo", "", "\0", UNKNOWN_ID):
        assert found(other) == []


def test_users_of_an_email_are_found_by_indexes(app: Flask, database_url: str) -> None:
    population.populate(database_url, 3_000)
    if database_url.startswith("postgres"):
        execute(app, "ANALYZE users")
    with app.app_context():
        present, deleted = plans_of(lambda: user_queries.ids_of_email("person1@example.com"))
    assert "uq_users_email_key" in present
    assert "ix_users_segment_email" in deleted
