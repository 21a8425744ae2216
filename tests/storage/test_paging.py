"""Long lists: with 20,000 API keys a page costs no more than with few."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, insert

from support.api import Answer
from support.databases import execute, plans_of
from support.people import Cast, make_key
from support.visitors import Visitor
from users import clock
from users.cli import first_run
from users.roles import Permission
from users.services import api_keys
from users.storage import paging
from users.storage.models import ApiKey, User, db

MANY = 20_000
LIST = "/admin/keys"


def add_keys(app: Flask, number: int, owner: User, *, revoked: bool = True) -> None:
    """Insert keys, each a second younger than the one before."""
    start = clock.now() - timedelta(days=1)
    made = [
        {
            "id": f"akid_{n:032x}",
            "prefix": "ak_00000",
            "key_hash": n.to_bytes(32, "big"),
            "name": f"key {n}",
            "scopes": ["users:read"],
            "owner_id": owner.id,
            "created_at": start + timedelta(seconds=n),
            "deactivated_at": start if revoked else None,
        }
        for n in range(number)
    ]
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(insert(ApiKey), made)
    if app.config["SQLALCHEMY_DATABASE_URI"].startswith("postgres"):
        execute(app, "ANALYZE api_keys")


def names_on(page: Answer) -> list[str]:
    """Return the names in the table."""
    assert page.status_code == 200
    return re.findall(r'<th scope="row"><bdi dir="auto">([^<]+)<', page.text)


def link(page: Answer, name: str) -> str:
    """Return the target of the link `name`, "" if there is none."""
    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>{name}\b', page.text)
    return html.unescape(found[1]) if found else ""


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """Record all statements that are executed meanwhile."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield asked
    event.remove(engine, "before_cursor_execute", note)


def test_20000_revoked_keys(app: Flask, ada: Visitor, cast: Cast) -> None:
    """They are a page like any other."""
    add_keys(app, 1, cast.omar)
    ada.get(LIST)
    with statements(app) as few:
        assert "1 API key, newest first" in ada.get(LIST).text
    execute(app, "DELETE FROM api_keys")
    add_keys(app, MANY, cast.omar)
    with statements(app) as many:
        page = ada.get(LIST)
    assert len(page.data) < 40_000
    assert len(many) == len(few)
    assert "1,000+ API keys, newest first" in page.text
    assert names_on(page) == [f"key {n}" for n in range(MANY - 1, MANY - 26, -1)]


def test_links_between_pages(app: Flask, ada: Visitor, cast: Cast) -> None:
    add_keys(app, 60, cast.omar)
    first = ada.get(LIST)
    second = ada.get(link(first, "Next"))
    third = ada.get(link(second, "Next"))
    everybody = [f"key {n}" for n in reversed(range(60))]
    assert names_on(first) + names_on(second) + names_on(third) == everybody
    assert (link(first, "Previous"), link(third, "Next")) == ("", "")
    assert names_on(ada.get(link(third, "Previous"))) == names_on(second)
    assert names_on(ada.get(link(second, "Previous"))) == names_on(first)
    assert "60 API keys, newest first" in third.text


@pytest.mark.parametrize("query", ["before=x", "after=%00", "before=usr_" + "0" * 32, "after=akid_" + "0" * 32])
def test_invalid_position(app: Flask, ada: Visitor, cast: Cast, query: str) -> None:
    """A position that is no key still shows a page."""
    add_keys(app, 1, cast.omar)
    page = ada.get(f"{LIST}?{query}")
    assert page.status_code == 200
    assert "No API keys yet" not in page.text


def test_page_beyond_the_last(app: Flask, ada: Visitor, cast: Cast) -> None:
    """It links back."""
    add_keys(app, 1, cast.omar)
    page = ada.get(f"{LIST}?before=akid_{'0' * 32}")
    assert "There are no API keys on this page." in page.text
    assert link(page, "Go to the newest") == LIST
    assert "Create an API key" in page.text


def test_revoked_key_of_another_page(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The message names it."""
    add_keys(app, 60, cast.omar, revoked=False)
    page = ada.get(ada.post(f"{LIST}/akid_{3:032x}/revoke").location)
    assert "key 3" not in names_on(page)
    assert '<bdi dir="auto">key 3</bdi> (<code>ak_00000…</code>) never works again.' in page.text


def test_queries_use_an_index(app: Flask, cast: Cast) -> None:
    """Each query uses an index and reads a limited number of rows."""
    add_keys(app, MANY, cast.omar)
    middle = f"akid_{MANY // 2:032x}"
    with app.app_context():
        places: list[dict[str, str]] = [{}, {"before": middle}, {"after": middle}]
        for place in places:
            plans = plans_of(partial(api_keys.find_keys, **place), "api_keys")
            assert len(plans) == 2
            for plan in plans:
                assert not re.search(r"Seq Scan on api_keys|SCAN api_keys(?! USING)|TEMP B-TREE|Sort", plan)
    with statements(app) as asked, app.app_context():
        api_keys.find_keys(before=middle)
    assert all("LIMIT" in one for one in asked if "api_keys" in one)


def test_start_looks_for_few_keys(app: Flask, ada: Visitor, cast: Cast, capfd: pytest.CaptureFixture[str]) -> None:
    """The start asks only whether there is a key, and the first steps look at one page of them."""
    add_keys(app, 2_000, cast.omar)
    with statements(app) as asked:
        first_run.print_first_steps(app)
        page = ada.get("/admin/start").text
    about_keys = [one for one in asked if "FROM api_keys" in one]
    assert len(about_keys) == 3
    assert all("LIMIT" in one for one in about_keys)
    assert "No API key yet" not in capfd.readouterr().err
    assert page.count('<span class="tag good">Done</span>') == 2


def test_start_without_a_key(app: Flask, cast: Cast, capfd: pytest.CaptureFixture[str]) -> None:
    first_run.print_first_steps(app)
    assert "No API key yet. Run: flask keys create" in capfd.readouterr().err


@pytest.mark.parametrize("at_once", [1, 2, 5, 6, 1000])
def test_list_is_read_in_batches(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    add_keys(app, 6, cast.omar)
    monkeypatch.setattr(paging, "BATCH_SIZE", at_once)
    with app.app_context(), statements(app) as asked:
        assert [key.name for key in paging.oldest_first(ApiKey)] == [f"key {n}" for n in range(6)]
    assert len([one for one in asked if "FROM api_keys" in one]) == -(-6 // at_once) + 1  # the last finds nothing
    assert all("LIMIT" in one for one in asked if "FROM api_keys" in one)
    with app.app_context():
        assert [key.name for key in paging.oldest_first(ApiKey, after=f"akid_{3:032x}")] == ["key 4", "key 5"]


def test_key_made_meanwhile(app: Flask, cast: Cast) -> None:
    """It comes last."""
    add_keys(app, 3, cast.omar)
    with app.app_context():
        reading = paging.oldest_first(ApiKey)
        next(reading)
        make_key(app, Permission.USERS_READ, name="newest")
        names = [key.name for key in reading]
    assert names == ["key 1", "key 2", "newest"]
