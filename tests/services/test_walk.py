"""A walk through all users whom a list asks for: each once, by id, whatever the filters, on both databases."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert

from support.databases import execute
from users import clock, ids
from users.clock import rfc3339
from users.roles import Role
from users.rules import search_keys
from users.services.lists import bounded, walk
from users.services.lists.asked import SHOWN, Asked
from users.storage import database
from users.storage.models import Status, User
from users.storage.models.segments import segment_of

NUMBER = 40
DOMAINS = ("example.org", "bücher.test", "bucher.test", "sub.example.org")


@pytest.fixture
def everybody(app: Flask) -> list[dict[str, Any]]:
    """Many users in the order of their ids: a tenth deleted, a tenth deactivated."""
    rows = []
    for number in range(NUMBER):
        at = clock.now().replace(microsecond=0) - timedelta(days=NUMBER - number)
        user_id, domain = ids.first("usr", at), DOMAINS[number % 4]
        email, name = f"user{number}@{domain}", ("Ann", "Bob", None)[number % 3]
        key = f"user{number}@{domain.encode('idna').decode()}"
        state = {3: Status.DELETED, 7: Status.DEACTIVATED}.get(number % 10, Status.ACTIVE)
        verified, password_hash = number % 2 == 0, "" if number % 5 == 0 else "hash"
        rows.append(
            {
                "id": user_id,
                "email": email,
                "email_key": key,
                "first_name": name,
                "last_name": None,
                "password_hash": password_hash,
                "is_active": state is Status.ACTIVE,
                "last_verified": at if verified else None,
                "last_login": at if number % 6 == 0 else None,
                "global_role_id": Role.MEMBER if number % 4 == 0 else None,
                "created_at": at,
                "updated_at": at,
                "deleted_at": at if state is Status.DELETED else None,
                "segment": segment_of(state, verified=verified, has_password=bool(password_hash)),
                **search_keys.keys(user_id, email, name, None),
            }
        )
    with app.app_context(), database.transaction() as session:
        session.execute(insert(User), rows)
    return rows


@pytest.fixture(params=[1000, 3])
def _page_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All on one page, or on many."""
    with monkeypatch.context() as patch:
        patch.setattr(walk, "PAGE_SIZE", request.param)
        walk._next.cache_clear()
        yield
    walk._next.cache_clear()


def is_shown(row: dict[str, Any], asked: Asked) -> bool:
    """Tell, by the row alone, whether a list shows the user."""
    status = Status.DELETED if row["deleted_at"] else Status.ACTIVE if row["is_active"] else Status.DEACTIVATED
    day = row["created_at"].date()
    return (
        status in SHOWN[asked.shown]
        and asked.verified in (None, row["last_verified"] is not None)
        and asked.has_password in (None, bool(row["password_hash"]))
        and asked.role in (None, row["global_role_id"])
        and not (asked.never_signed_in and row["last_login"])
        and (asked.since is None or day >= asked.since)
        and (asked.until is None or day <= asked.until)
        and (row["first_name"] or "").lower().startswith(asked.text)
    )


@pytest.mark.parametrize("is_much", [False, True], ids=["few found", "many found"])
@pytest.mark.usefixtures("_page_size")
def test_walk_is_the_list(
    app: Flask, everybody: list[dict[str, Any]], is_much: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a walk yields is what the filters say of each row, also where a text finds too much for its index."""
    if is_much:
        monkeypatch.setattr(bounded, "READ", 2)
        bounded._statement.cache_clear()
    days = [row["created_at"].date() for row in everybody]
    lists = [
        *[Asked(shown=shown) for shown in SHOWN],
        Asked(verified=True, has_password=False),
        Asked(role=Role.MEMBER, never_signed_in=True),
        Asked(since=days[5], until=days[30]),
        Asked(text="ann"),
        Asked(text="bob", shown="active", verified=False, until=days[20]),
        Asked(text="nobody"),
    ]
    with app.app_context():
        for asked in lists:
            expected = [row["id"] for row in everybody if is_shown(row, asked)]
            found = [row["id"] for page in walk.pages(asked, ["id", "email"]) for row in page]
            assert found == expected, asked
            half = everybody[NUMBER // 2]["id"]
            rest = [row["id"] for page in walk.pages(asked, ["id"], after=half) for row in page]
            assert rest == [one for one in expected if one > half], asked
    bounded._statement.cache_clear()


@pytest.mark.parametrize("is_much", [False, True], ids=["few", "many"])
@pytest.mark.parametrize(
    ("text", "domain"),
    [("Example.ORG", 0), ("@example.org", 0), ("bücher.test", 1), ("xn--bcher-kva.test", 1), ("bucher.test", 2)],
)
def test_domain(
    app: Flask,
    everybody: list[dict[str, Any]],
    text: str,
    domain: int,
    is_much: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In any spelling, without the domains below it, and without others of the same search key."""
    monkeypatch.setattr(bounded, "READ", 2 if is_much else 5_000)
    walk._of_domain.cache_clear()
    ending = f"@{DOMAINS[domain]}"
    expected = [row["id"] for row in everybody if row["email"].endswith(ending) and not row["deleted_at"]]
    with app.app_context():
        found = [row["id"] for page in walk.pages(Asked(), ["id"], domain=walk.Domain(text)) for row in page]
    walk._of_domain.cache_clear()
    assert found == expected


@pytest.mark.one_database
@pytest.mark.parametrize("text", ["", "@", "no domain", "a@b.test", "x" * 300])
def test_no_domain(text: str) -> None:
    with pytest.raises(walk.NoDomain):
        walk.Domain(text)


def test_times_are_texts(app: Flask, everybody: list[dict[str, Any]]) -> None:
    with app.app_context():
        (first, *_), *_ = walk.pages(Asked(), ["created_at", "last_verified", "last_login", "is_active"])
        _, second, *_ = next(walk.pages(Asked(), ["last_verified"]))
    at = rfc3339(everybody[0]["created_at"])
    assert list(first.values()) == [at, at, at, True]
    assert second == {"last_verified": None}


def test_users_of_meanwhile_come_at_the_end(app: Flask, everybody: list[dict[str, Any]]) -> None:
    """A user who is made while a text's few are read is not left out, and one who is deleted meanwhile is."""
    anns = [row for row in everybody if row["first_name"] == "Ann" and not row["deleted_at"]]
    made_at = clock.now()
    row = {**anns[0], "id": ids.new_id("usr"), "email_key": "late@example.org", "created_at": made_at}
    with app.app_context():
        pages = walk.pages(Asked(text="ann"), ["id"])
        first = next(pages)
        with database.transaction() as session:
            session.execute(insert(User), [row])
        assert [one["id"] for one in first] == [one["id"] for one in anns]
        assert [one["id"] for page in pages for one in page] == [row["id"]]
        execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=row["id"])
        found = [one["id"] for page in walk.pages(Asked(text="ann"), ["id"]) for one in page]
    assert found == [one["id"] for one in anns]
