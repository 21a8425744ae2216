"""Lists of users: what each filter, order and text leaves, page by page, as a plain model in Python says."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert

from support import population
from support.databases import execute, plans_of, statements
from users.roles import Role
from users.rules import search_keys
from users.services.lists import bounded, user_search
from users.services.lists.asked import SHOWN, Asked, Sort
from users.storage.lists import paging
from users.storage.models import User, db

NUMBER = 120
DAYS = [date(2026, 3, day) for day in range(1, 6)]
FORMS: list[tuple[Any, ...]] = [(None, None), ("Ann", None), ("Ann", "Lee"), ("José", "O’Neil"), ("Lee", "Ann")]
TEXTS = ["", "", "", "ann", "lee ann", "jose", "example.org", "eu.example.org", "a1", "u5@", "nobody"]


def people() -> list[dict[str, Any]]:
    """Return the columns of users of all kinds, several with one name, on few days."""
    draw = random.Random(7)  # noqa: S311  (no secret)
    made = []
    for n in range(NUMBER):
        at = datetime.combine(draw.choice(DAYS), datetime.min.time(), UTC) + draw.choice(
            [timedelta(0), timedelta(hours=9), timedelta(days=1, microseconds=-1)]
        )
        user_id = f"usr_{int((at - timedelta(seconds=2)).timestamp() * 1000):012x}7000800000000000{n:04x}"
        email = f"{draw.choice(['a', 'u', 'ann'])}{n}@{draw.choice(['example.org', 'eu.example.org', 'example.com'])}"
        first, last = draw.choice(FORMS)
        status = draw.choice(["active", "active", "deactivated", "deleted"])
        made.append(
            {
                "id": user_id,
                "email": email,
                "email_key": email,
                "first_name": first,
                "last_name": last,
                "password_hash": draw.choice(["", "hash"]),
                "is_active": status == "active",
                "deleted_at": at if status == "deleted" else None,
                "last_verified": draw.choice([None, at]),
                "last_login": draw.choice([None, at]),
                "global_role_id": draw.choice([None, None, Role.MEMBER, Role.OPERATOR]),
                "created_at": at,
                "updated_at": at,
                "password_change_required": False,
                **search_keys.keys(user_id, email, first, last),
            }
        )
    return made


def expected(made: list[dict[str, Any]], asked: Asked, shown: str) -> list[str]:
    """Return the ids of the whole list, in its order."""

    def is_in(user: dict[str, Any]) -> bool:
        status = "deleted" if user["deleted_at"] else "active" if user["is_active"] else "deactivated"
        day = user["created_at"].date()
        return (
            (status == shown or (shown == "all" and status != "deleted"))
            and asked.verified in (None, user["last_verified"] is not None)
            and asked.has_password in (None, user["password_hash"] != "")
            and asked.role in (None, user["global_role_id"])
            and not (asked.never_signed_in and user["last_login"])
            and (asked.since or day) <= day <= (asked.until or day)
            and (not asked.text or is_found(user, search_keys.query_key(asked.text)))
        )

    rows = sorted(filter(is_in, made), key=lambda user: (user[asked.sort.key], user["id"]))
    return [user["id"] for user in (reversed(rows) if asked.sort.is_down else rows)]


def is_found(user: dict[str, Any], key: str) -> bool:
    """Tell whether the search finds the user."""
    domain = user["email"].partition("@")[2]
    names = (user["search_name"], user["search_last_name"] or "")
    return (
        user["id"] == key
        or any(text.startswith(key) for text in (user["search_email"], domain, *names))
        or ("." in key and domain.endswith(f".{key}"))
    )


def requests(number: int) -> Iterator[Asked]:
    """Yield different lists to ask for, always the same."""
    draw = random.Random(11)  # noqa: S311  (no secret)
    for _ in range(number):
        yield Asked(
            text=draw.choice(TEXTS),
            shown=draw.choice(list(SHOWN)),
            verified=draw.choice([None, None, True, False]),
            has_password=draw.choice([None, None, True, False]),
            role=draw.choice([None, None, None, Role.MEMBER]),
            never_signed_in=draw.random() < 0.25,
            since=draw.choice([None, None, DAYS[1], DAYS[2]]),
            until=draw.choice([None, None, DAYS[2], DAYS[4]]),
            sort=draw.choice(list(Sort)),
        )


def pages(asked: Asked, limit: int, *, back: str | None = None) -> Iterator[user_search.Found]:
    """Yield the pages of a list from the first on, or those before the user `back`."""
    place: dict[str, Any] = {"after": back} if back else {}
    while True:
        found = user_search.find(asked, **place, limit=limit)
        yield found
        following = found.page.newer if back else found.page.older
        if following is None:
            return
        place = {"after" if back else "before": following}


@pytest.fixture
def made(app: Flask) -> list[dict[str, Any]]:
    """The users, in the database."""
    users = people()
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(insert(User), users)
    return users


def test_every_list_is_as_the_model_says(app: Flask, made: list[dict[str, Any]]) -> None:
    with app.app_context():
        for asked in requests(150):
            wanted = expected(made, asked, asked.shown)
            found = list(pages(asked, 13))
            assert [user.id for one in found for user in one.page.rows] == wanted, asked
            assert {name: expected(made, asked, name) for name in SHOWN} == {
                name: expected(made, asked, name)[: count.number if count else 0]
                for name, count in found[0].counts.items()
            }, asked
            assert found[0].first == (1 if wanted else None)
            assert not found[0].is_partial
            if len(wanted) > 1:
                back = list(pages(asked, 13, back=wanted[-1]))
                assert [user.id for one in reversed(back) for user in one.page.rows] == wanted[:-1], asked


def test_ids_of_whole_lists(app: Flask, made: list[dict[str, Any]]) -> None:
    with app.app_context():
        for asked in requests(60):
            found, is_partial = user_search.find_ids(asked, limit=NUMBER)
            assert (sorted(found), is_partial) == (sorted(expected(made, asked, asked.shown)), False), asked
        assert len(user_search.find_ids(Asked(), limit=7)[0]) == 7


@pytest.mark.parametrize("sort", Sort)
def test_place_of_a_user_who_is_gone(app: Flask, made: list[dict[str, Any]], sort: Sort) -> None:
    gone = "usr_" + "0" * 32 if sort == Sort.OLDEST else "usr_" + "f" * 32
    with app.app_context():
        for asked in (Asked(sort=sort), Asked(sort=sort, never_signed_in=True)):
            first, again = (user_search.find(asked, before=place).page.rows for place in (None, gone))
            assert [user.id for user in again] == [user.id for user in first]


def test_what_is_not_read_is_not_denied(
    app: Flask, made: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "READ", 20)
    monkeypatch.setattr(bounded, "FOUND", 5)
    asked = Asked(text="example.org", since=date(2026, 3, 20))
    with app.app_context():
        found = user_search.find(asked)
        assert (found.page.rows, found.is_partial) == ([], True)
        assert found.counts == {"all": None, "active": None, "deactivated": None, "deleted": None}
        some = user_search.find(Asked(text="example.org"))
        assert some.counts["active"] == paging.Count(20, many=True)
        nobody = user_search.find(Asked(text="nobody"))
        assert (nobody.page.rows, nobody.is_partial, nobody.counts["all"]) == ([], False, paging.Count(0))


KINDS = [
    *(Asked(sort=sort) for sort in Sort),
    *(Asked(sort=sort, verified=False, has_password=True) for sort in Sort),
    *(Asked(shown="deactivated", sort=sort) for sort in Sort),
    Asked(role=Role.MEMBER),
    Asked(since=date(2020, 1, 2), until=date(2020, 1, 3)),
    Asked(role=Role.MEMBER, since=date(2020, 1, 2), sort=Sort.OLDEST),
    Asked(role=Role.MEMBER, sort=Sort.NAME),
    Asked(since=date(2020, 1, 2), sort=Sort.EMAIL),
    Asked(never_signed_in=True),
    Asked(never_signed_in=True, sort=Sort.NAME_DOWN),
    Asked(text="name"),
    Asked(text="example.net", never_signed_in=True, sort=Sort.EMAIL),
]


def test_every_list_uses_indexes(app: Flask, database_url: str) -> None:
    """Two queries for each page, without a walk through the table, and none for a range is sorted as a whole."""
    population.populate(database_url, 3_000)
    execute(app, "ANALYZE users")
    read: Callable[[], object]
    for asked in KINDS:
        for place in ({}, {"before": population.middle_id(3_000)}):
            read = partial(user_search.find, asked, **place, limit=20)
            with app.app_context():
                plans = plans_of(read)
            assert len(plans) == 2, asked
            for plan in plans:
                assert not any(
                    line.strip().startswith(("Seq Scan on users", "SCAN users")) for line in plan.splitlines()
                )
                assert "segment" in plan or plan is plans[1], asked


def test_number_of_statements(app: Flask, made: list[dict[str, Any]]) -> None:
    for asked in KINDS:
        with app.app_context():
            user_search.find(asked)
        with statements(app) as asked_for, app.app_context():
            user_search.find(asked, before=made[5]["id"])
        assert len([one for one in asked_for if "FROM users" in one]) == 2, asked
