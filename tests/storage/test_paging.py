"""Long lists: with 20,000 API keys a page costs no more than with few."""

import html
import re
from datetime import timedelta
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import insert

from support.api import Answer
from support.databases import execute, plans_of, statements
from support.page_forms import key_names_on
from support.people import Cast, make_key
from support.visitors import Visitor
from users import clock
from users.cli import first_run
from users.roles import Permission
from users.services import key_queries
from users.storage.lists import paging
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


def link(page: Answer, name: str) -> str:
    """Return the target of the link `name`, "" if there is none."""
    found = re.search(rf'<a [^>]*href="([^"]+)"[^>]*>{name}\b', page.text)
    return html.unescape(found[1]) if found else ""


@pytest.mark.parametrize("state", key_queries.SHOWN)
def test_20000_revoked_keys(app: Flask, ada: Visitor, cast: Cast, state: str) -> None:
    """A page of them costs as many queries as a page of one key, and so does a page that finds none among them."""
    here = f"{LIST}?state={state}"
    add_keys(app, 1, cast.omar, revoked=state == "ended")
    ada.get(here)
    with statements(app) as few:
        assert len(key_names_on(ada.get(here).text)) == 1
    execute(app, "DELETE FROM api_keys")
    add_keys(app, MANY, cast.omar)
    with statements(app) as many:
        page = ada.get(here)
    assert len(page.data) < 80_000
    assert len(many) == len(few)
    expected = [f"key {n}" for n in range(MANY - 1, MANY - 51, -1)] if state == "ended" else []
    assert key_names_on(page.text) == expected
    assert "5,000 ended API keys among the 5,000 newest" in page.text or not expected


def test_keys_that_were_not_read(app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list says nothing about keys that it did not read, and its pages lead to all of them."""
    monkeypatch.setattr(key_queries, "READ", 20)
    add_keys(app, 65, cast.omar)
    for n in (3, 30):
        execute(app, "UPDATE api_keys SET deactivated_at = NULL WHERE id = :id", id=f"akid_{n:032x}")
    page, seen, pages = ada.get(LIST), list[str](), 1
    assert "None of the 20 keys that were read for this page is current." in page.text
    assert "have ended" not in page.text
    assert "Current</a>" in page.text  # without a number
    while older := link(page, "Next"):
        page, pages = ada.get(older), pages + 1
        seen += key_names_on(page.text)
    assert (seen, pages) == (["key 30", "key 3"], 4)
    while newer := link(page, "Previous"):
        page = ada.get(newer)
        seen += key_names_on(page.text)
    assert seen == ["key 30", "key 3", "key 30"]
    assert "20 ended API keys among the 20 newest, newest first" in ada.get(f"{LIST}?state=ended").text


def test_exactly_as_many_as_are_read(app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_queries, "READ", 20)
    add_keys(app, 20, cast.omar)
    page = ada.get(LIST)
    assert "<h2>All API keys have ended</h2>" in page.text
    assert link(page, "Next") == ""


def test_links_between_pages(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Each page has 50 keys, and its links keep the filter."""
    add_keys(app, 120, cast.omar)
    first = ada.get(f"{LIST}?state=ended")
    second = ada.get(link(first, "Next"))
    third = ada.get(link(second, "Next"))
    pages = [key_names_on(page.text) for page in (first, second, third)]
    assert [len(names) for names in pages] == [50, 50, 20]
    assert [*pages[0], *pages[1], *pages[2]] == [f"key {n}" for n in reversed(range(120))]
    assert (link(first, "Previous"), link(third, "Next")) == ("", "")
    assert key_names_on(ada.get(link(third, "Previous")).text) == pages[1]
    assert key_names_on(ada.get(link(second, "Previous")).text) == pages[0]
    assert "120 ended API keys, newest first" in third.text
    assert "state=ended" in link(second, "Next")


@pytest.mark.parametrize("query", ["before=x", "after=%00", "before=usr_" + "0" * 32, "after=akid_" + "0" * 32])
def test_invalid_position(app: Flask, ada: Visitor, cast: Cast, query: str) -> None:
    """A position that is no key still shows a page."""
    add_keys(app, 1, cast.omar, revoked=False)
    page = ada.get(f"{LIST}?{query}")
    assert page.status_code == 200
    assert "No API keys yet" not in page.text


def test_page_beyond_the_last(app: Flask, ada: Visitor, cast: Cast) -> None:
    """It links back, with the filter."""
    add_keys(app, 1, cast.omar)
    page = ada.get(f"{LIST}?state=ended&before=akid_{'0' * 32}")
    assert "There are no API keys on this page." in page.text
    assert link(page, "Go to the newest") == f"{LIST}?state=ended"
    assert "Create an API key" in page.text


def test_revoked_key_of_another_page(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The message names it."""
    add_keys(app, 60, cast.omar, revoked=False)
    page = ada.get(ada.post(f"{LIST}/akid_{3:032x}/revoke").location)
    assert "key 3" not in key_names_on(page.text)
    assert '<bdi dir="auto">key 3</bdi></a> (<code>ak_00000…</code>) never works again.' in page.text


def test_queries_use_an_index(app: Flask, cast: Cast) -> None:
    """Each query uses an index and reads a limited number of rows."""
    add_keys(app, MANY, cast.omar)
    middle = f"akid_{MANY // 2:032x}"
    with app.app_context():
        places: list[dict[str, str]] = [{}, {"before": middle}, {"after": middle}]
        for place in places:
            for shown in key_queries.SHOWN:
                plans = plans_of(partial(key_queries.find, shown, **place), "api_keys")
                assert len(plans) == 3
                for plan in plans:
                    assert not re.search(r"Seq Scan on api_keys|SCAN api_keys(?! USING)|TEMP B-TREE|Sort", plan)
    with statements(app) as asked, app.app_context():
        key_queries.find(before=middle)
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
