"""The user search: matches, order, counts and cost."""

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from flask import Flask

from support import population
from support.databases import execute, plans_of, rows
from support.people import Cast, make_user
from users.services.lists import user_search
from users.services.lists.asked import SHOWN, Asked
from users.storage import database
from users.storage.lists import paging
from users.storage.models import User

PEOPLE: dict[str, Any] = {
    "ann.smith@example.com": ("Ann", "Smith"),
    "smithson@firm.example.net": ("José", "García Márquez"),
    "100%_sure*@example.org": ("Per%cent", "Under_score"),
    "jo@müller-bücher.de": ("Åsa", "O'Neil"),
    "سام@example.org": ("سام", "محمد"),
    "plain@mail.example.com": (None, None),
    "back-slash@example.org": ("Back\\slash", "\U0001f469\u200d\U0001f680"),
}
# fmt: off
NO_MATCHES = [
    "%", "_", "*", "%smith", "a%", "a_n", "ann*", "\\", "nn", "mith", "com", "usr_", "usr_" + "0" * 32, "' OR 1=1 --",
    "\0", "a\0", "\x01", "\ud800", "ann\ud800", "\U0010ffff", "x" * 100_000,
]
# fmt: on


@pytest.fixture
def people(app: Flask) -> dict[str, User]:
    """Some users, by email."""
    named: dict[str, Any] = {email: {"first_name": first, "last_name": last} for email, (first, last) in PEOPLE.items()}
    return {email: make_user(app, email, **names) for email, names in named.items()}


def found(app: Flask, text: str, shown: str = "all", **more: Any) -> list[str]:
    """Return the emails on the first page of a search."""
    with app.app_context():
        return [user.email for user in user_search.find(Asked(text=text, shown=shown), **more).page.rows]


# Each text, and the local parts of the emails that it finds.
BEGINNINGS = {
    "ann": {"ann.smith"},
    "ANN.SMITH@EXAMPLE.COM": {"ann.smith"},
    "smith": {"ann.smith", "smithson"},
    "ann smith": {"ann.smith"},
    "  ann  SM ": {"ann.smith"},
    "jose\u0301": {"smithson"},
    "JOSÉ GARCÍA": {"smithson"},
    "garcía m": {"smithson"},
    "example.org": {"100%_sure*", "سام", "back-slash"},
    "@example.org": {"100%_sure*", "سام", "back-slash"},
    "example.c": {"ann.smith"},
    "müll": {"jo"},
    "jo@mü": {"jo"},
    "jo@xn--mller-bcher-thbg.de": {"jo"},
    "jo@Müller-Bücher.DE": {"jo"},
    "سا": {"سام"},
    "محمد": {"سام"},
    "100%": {"100%_sure*"},
    "per%": {"100%_sure*"},
    "under_s": {"100%_sure*"},
    "back\\": {"back-slash"},
    "\U0001f469": {"back-slash"},
    "o'neil": {"jo"},
}


def test_beginnings(app: Flask, people: dict[str, User]) -> None:
    assert {text: {email.partition("@")[0] for email in found(app, text)} for text in BEGINNINGS} == BEGINNINGS


def test_no_match(app: Flask, people: dict[str, User]) -> None:
    assert [text for text in NO_MATCHES if found(app, text)] == []


def test_last_character_of_unicode(app: Flask) -> None:
    make_user(app, "last@example.com", first_name="\U0010ffff\U0010ffff")
    make_user(app, "first@example.com", first_name="\U0010fffe")
    assert found(app, "\U0010fffe") == ["first@example.com"]
    assert found(app, "\U0010ffff") == []  # no query holds it


@pytest.mark.parametrize("name", ["\ufdfa" * 255, "".join(chr(0x20000 + 97 * n) for n in range(255))])
def test_longest_names(app: Flask, name: str) -> None:
    make_user(app, "long@example.com", first_name=name, last_name=name)
    assert found(app, name) == ["long@example.com"]


def test_ids(app: Flask, people: dict[str, User]) -> None:
    user = people["plain@mail.example.com"]
    assert found(app, f" {user.id.upper()} ") == [user.email]
    assert found(app, user.id[:-1]) == []


def test_empty_search(app: Flask, people: dict[str, User]) -> None:
    assert found(app, " ") == list(reversed(people))


@pytest.mark.parametrize("text", ["", "example.com"])
def test_statuses(app: Flask, cast: Cast, text: str) -> None:
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.omar.id)
    execute(app, "UPDATE users SET is_active = false, deleted_at = created_at WHERE id = :id", id=cast.sam.id)
    assert found(app, text, "all") == ["vera@example.com", "omar@example.com", "ada@example.com"]
    assert found(app, text, "active") == ["vera@example.com", "ada@example.com"]
    assert found(app, text, "deactivated") == ["omar@example.com"]
    assert found(app, text, "deleted") == ["sam@example.com"]
    with app.app_context():
        counts = user_search.find(Asked(text=text, shown="active")).counts
    assert {name: str(count) for name, count in counts.items()} == {
        "all": "3",
        "active": "2",
        "deactivated": "1",
        "deleted": "1",
    }


def test_changed_user(app: Flask, cast: Cast) -> None:
    with app.app_context():
        with database.transaction() as session:
            user = session.get_one(User, cast.sam.id)
            user.email = "samuel@other.example.net"
        with database.transaction() as session:
            user = session.get_one(User, cast.sam.id)
            user.first_name, user.last_name = "Samuel", "Jones"
        with database.transaction() as session:
            session.get_one(User, cast.sam.id).last_name = None
    for text in ("sam", "samuel@", "other.example", "Samuel"):
        assert found(app, text) == ["samuel@other.example.net"]
    for text in ("sam@", "jones", "samuel jones"):
        assert found(app, text) == []


def pages(app: Flask, *asked: Any, back: bool = False) -> Iterator[list[str]]:
    """Yield the ids of each page, from the newest to the oldest or the other way."""
    place: dict[str, str] = {"after": "usr_"} if back else {}
    while True:
        with app.app_context():
            page = user_search.find(Asked(*asked), **place, limit=7).page
        yield [user.id for user in page.rows]
        following = page.newer if back else page.older
        if following is None:
            return
        place = {"after": following} if back else {"before": following}


@pytest.mark.parametrize("asked", [(), ("example.com",), ("", "active"), ("example.com", "all")])
def test_paging_both_ways(app: Flask, cast: Cast, asked: tuple[str, ...]) -> None:
    ids = [make_user(app, f"jo{number}@example.com").id for number in range(20)]
    for user_id in ids[::3]:
        execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=user_id)
    wanted = [cast.ada.id, cast.omar.id, cast.vera.id, cast.sam.id, *ids]
    wanted = [user_id for user_id in wanted if asked[1:] != ("active",) or user_id not in ids[::3]]
    forth, back = list(pages(app, *asked)), list(pages(app, *asked, back=True))
    assert [user_id for page in forth for user_id in page] == sorted(wanted, reverse=True)
    assert [user_id for page in back for user_id in reversed(page)] == sorted(wanted)
    assert {len(page) for page in forth[:-1]} == {7}


@pytest.fixture
def crowd(app: Flask, database_url: str) -> Flask:
    """The application with more users than are counted."""
    population.populate(database_url, 3_000)
    return app


def test_too_many_to_count(crowd: Flask) -> None:
    with crowd.app_context():
        everybody, one_domain, many_names = (
            user_search.find(Asked(text=text, shown="deleted")).counts for text in ("", "gmail.com", "name")
        )
    assert [str(everybody[shown]) for shown in SHOWN] == ["1,000+", "1,000+", "30", "15"]
    ((number,),) = rows(crowd, "SELECT count(*) FROM users WHERE email LIKE '%@gmail.com' AND is_active")
    assert one_domain["active"] == paging.Count(number, many=False)
    assert str(many_names["active"]) == "300+"


def test_too_many_matches(crowd: Flask) -> None:
    found = [user_id for page in pages(crowd, "name") for user_id in page]
    matching = rows(crowd, "SELECT id FROM users WHERE first_name LIKE 'Name%' AND deleted_at IS NULL")
    assert found == sorted((user_id for (user_id,) in matching), reverse=True)


def test_found_twice(app: Flask) -> None:
    for _ in range(2):
        make_user(app, "ann@ann.example.com", first_name="Ann", last_name="Annson")
        execute(app, "UPDATE users SET is_active = false, deleted_at = created_at")
    with app.app_context():
        found = user_search.find(Asked(text="ann", shown="deleted"))
    assert (len(found.page.rows), found.counts["deleted"]) == (2, paging.Count(2))


@pytest.mark.parametrize("text", ["", "m", "example.com", "xenia", "nobody at all"])
def test_queries_use_indexes(crowd: Flask, text: str) -> None:
    for shown in SHOWN:
        with crowd.app_context():
            plans = plans_of(
                partial(user_search.find, Asked(text=text, shown=shown), before=population.middle_id(3_000))
            )
        assert len(plans) == 2
        for plan in plans:
            assert not re.search(r"Seq Scan on users|SCAN users(?! USING)", plan), shown
