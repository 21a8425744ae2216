"""The audit page, asked about people: by the email of present, deleted and unknown users, with a few queries."""

from collections.abc import Callable

import pytest
from flask import Flask

from support.audit_events import add_event
from support.changes import ACTS, TERMINAL
from support.databases import rows, statements
from support.people import UNKNOWN_ID, Cast, make_key, make_user
from support.visitors import Visitor, signed_in
from users.roles import Permission
from users.services.user_queries import SAME_EMAIL

AUDIT = "/admin/audit"


@pytest.fixture
def vera(app: Flask, cast: Cast) -> Visitor:
    """Vera the auditor, signed in."""
    return signed_in(app, cast.vera)


@pytest.fixture
def deleted(app: Flask) -> Callable[[], str]:
    """A function that creates jo@example.com, deletes that user and returns the id."""

    def create_and_delete() -> str:
        user = make_user(app, "jo@example.com")
        with app.app_context():
            ACTS["delete"](user, TERMINAL)
        return user.id

    return create_and_delete


def test_deleted_user(vera: Visitor, deleted: Callable[[], str]) -> None:
    """The email of a deleted user finds their events."""
    user_id = deleted()
    page = vera.get(AUDIT, query_string={"user": "Jo@example.com"}).text
    assert page.count('<td class="who">') == 2
    assert page.count(f'href="/admin/users/{user_id}"') == 2
    assert "have or had" not in page


def test_several_users(app: Flask, vera: Visitor, deleted: Callable[[], str]) -> None:
    """The email of several users finds the events of all, and the page says so."""
    users = [deleted(), deleted(), make_user(app, "jo@example.com").id]
    for number, actor in enumerate(users):
        add_event(app, number, actor=actor, target=users[0])
    page = vera.get(f"{AUDIT}?user=jo@example.com").text
    assert page.count('<td class="who">') == 2 + 2 + 1 + 3
    had = "users, deleted ones included, who have or had the email address <bdi>jo@example.com</bdi>.</p>"
    assert f"This looks for the events of the 3 {had}" in page
    assert vera.get(f"{AUDIT}?user=jo@example.com&actor=jo@example.com").text.count('<td class="who">') == 3


def test_too_many_users(vera: Visitor, deleted: Callable[[], str]) -> None:
    """Of many users of one email, the events of the newest are found, and the page says so."""
    users = [deleted() for _ in range(SAME_EMAIL + 1)]
    page = vera.get(f"{AUDIT}?user=jo@example.com").text
    assert f"the events of the newest {SAME_EMAIL} users," in page
    assert "Find those of another user by ID." in page
    assert [f'href="/admin/users/{user_id}"' in page for user_id in users] == [False] + [True] * SAME_EMAIL


@pytest.mark.parametrize("unknown", ["nobody@example.com", "nobody", "%00", "%ED%A0%80", "a@" + "b" * 300])
def test_unknown_email(vera: Visitor, unknown: str) -> None:
    """An email of no user finds nothing, which is no error."""
    for name in ("actor", "user"):
        page = vera.get(f"{AUDIT}?{name}={unknown}")
        assert page.status_code == 200
        assert "Nothing found" in page.text
        assert "and no deleted user had it." in page.text
        assert '<td class="who">' not in page.text
    both = vera.get(f"{AUDIT}?actor=vera@example.com&user={unknown}")
    assert '<td class="who">' not in both.text


def queries(app: Flask, visitor: Visitor, path: str) -> int:
    """Return how many queries the page at `path` sends."""
    with statements(app) as sent:
        assert visitor.get(path).status_code == 200
    return len([one for one in sent if one.startswith("SELECT")])


def test_query_count(app: Flask, vera: Visitor, cast: Cast, deleted: Callable[[], str]) -> None:
    """The number of queries of a page does not depend on the number of events, users and keys."""
    deleted()
    event_id = add_event(app, 99, actor=cast.ada.id, target=cast.sam.id)
    paths = [
        AUDIT,
        f"{AUDIT}?before={event_id}",
        f"{AUDIT}?after={event_id}",
        f"{AUDIT}?user=jo@example.com",
        f"{AUDIT}?user=jo@example.com&actor=ada@example.com&action=user.create",
        f"/admin/users/{cast.sam.id}",
    ]
    few = [queries(app, vera, path) for path in paths]
    keys = [make_key(app, Permission.USERS_READ, owner=cast.ada, name="CI") for _ in range(3)]
    key_ids = [key_id for (key_id,) in rows(app, "SELECT id FROM api_keys")]
    users = [deleted() for _ in range(3)] + [make_user(app, f"user{number}@example.com").id for number in range(9)]
    for number, user_id in enumerate([*users, UNKNOWN_ID]):
        add_event(app, number, actor=user_id, key=key_ids[number % len(keys)], target=cast.sam.id)
        add_event(app, 100 + number, actor=cast.ada.id, target=user_id)
    assert [queries(app, vera, path) for path in paths] == few
