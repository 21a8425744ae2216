"""The list of users, sorted, filtered and paged by its URL."""

import re
from dataclasses import replace

import pytest
from flask import Flask

from support.databases import execute
from support.list_pages import LIST, caption, chips, emails_on, headers, link, words
from support.people import Cast, make_user
from support.visitors import Visitor, problems_in, summary_in
from users.services.lists import bounded, user_search
from users.services.lists.asked import Asked
from users.storage.lists.paging import Count

NAMED = [f"{name}@example.com" for name in ("ada", "omar", "sam", "vera")]


def test_headers_sort(ada: Visitor) -> None:
    """Each header leads to its order and, once it is in use, to the opposite."""
    page = ada.get(LIST)
    assert headers(page) == {
        "Email": ("", f"{LIST}?sort=email"),
        "Name": ("", f"{LIST}?sort=name"),
        "Created": ("descending", f"{LIST}?sort=created"),
    }
    by_email = ada.get(headers(page)["Email"][1])
    assert emails_on(by_email) == NAMED
    assert caption(by_email) == "4 users, by email, A to Z"
    assert headers(by_email)["Email"] == ("ascending", f"{LIST}?sort=-email")
    assert 'aria-label="Email: sort by email, Z to A"' in by_email.text
    assert emails_on(ada.get(headers(by_email)["Email"][1])) == NAMED[::-1]
    assert headers(by_email)["Created"] == ("", LIST)
    oldest_first = ada.get(headers(page)["Created"][1])
    assert emails_on(oldest_first) == emails_on(page)[::-1]
    assert caption(oldest_first) == "4 users, oldest first"


def test_by_name(app: Flask, ada: Visitor) -> None:
    """Users without a name come after all others."""
    make_user(app, "zoe@example.com", first_name="Alan", last_name="Turing")
    assert emails_on(ada.get(f"{LIST}?sort=name"))[:2] == ["ada@example.com", "zoe@example.com"]
    assert emails_on(ada.get(f"{LIST}?sort=-name"))[-2:] == ["zoe@example.com", "ada@example.com"]


@pytest.mark.parametrize(
    ("query", "found", "said"),
    [
        ("role=role_auditor", ["vera"], "Role: Auditor"),
        ("verified=true", ["sam"], "Email address: Verified"),
        ("verified=false", ["vera", "ada", "omar"], "Email address: Not verified"),
        ("has_password=false", ["omar"], "Password: None yet"),
        ("has_password=true", ["sam", "vera", "ada"], "Password: Set"),
        ("never_signed_in=true", ["sam", "vera", "omar"], "Last sign-in: Never"),
        ("since=2026-01-31", ["sam", "vera", "ada"], "Created from: 31 Jan 2026"),
        ("until=2025-07-01", ["omar"], "Created until: 1 Jul 2025"),
    ],
)
def test_each_filter(app: Flask, ada: Visitor, cast: Cast, query: str, found: list[str], said: str) -> None:
    """A filter finds its own, is said in words, and can be taken away."""
    made = "'2025-07-01 23:59:59'"
    # An id tells the time of the creation: Omar's is of 2025-07-01T23:59:59Z.
    execute(app, f"UPDATE users SET password_hash = '', created_at = {made} WHERE id = :omar", omar=cast.omar.id)
    earlier = f"usr_0197c8441718{cast.omar.id[16:]}"
    execute(app, "UPDATE users SET id = :earlier WHERE id = :omar", earlier=earlier, omar=cast.omar.id)
    execute(app, "UPDATE users SET last_verified = created_at WHERE id = :sam", sam=cast.sam.id)
    page = ada.get(f"{LIST}?{query}")
    assert emails_on(page) == [f"{name}@example.com" for name in found]
    assert chips(page) == {said: LIST, "Clear all": LIST}
    plural = "user that matches" if len(found) == 1 else "users that match"
    assert caption(page) == f"{len(found)} {plural} the filters, newest first"


def test_everything_is_kept(ada: Visitor) -> None:
    """Tabs, headers, chips, both forms and the links to users keep what the list was asked for."""
    page = ada.get(f"{LIST}?q=example&status=active&role=role_admin&verified=false&sort=email")
    assert emails_on(page) == ["ada@example.com"]
    assert link(page, "All") == f"{LIST}?q=example&role=role_admin&verified=false&sort=email"
    assert headers(page)["Created"][1] == f"{LIST}?q=example&status=active&role=role_admin&verified=false"
    assert chips(page) == {
        "Role: Administrator": f"{LIST}?q=example&status=active&verified=false&sort=email",
        "Email address: Not verified": f"{LIST}?q=example&status=active&role=role_admin&sort=email",
        "Clear all": f"{LIST}?q=example&status=active&sort=email",
    }
    searching, filtering = re.findall(r'<form[^>]* role="search".*?</form>', page.text, re.DOTALL)
    hidden = r'<input type="hidden" name="(\w+)" value="([^"]*)">'
    assert dict(re.findall(hidden, searching)) == {
        "status": "active",
        "role": "role_admin",
        "verified": "false",
        "sort": "email",
    }
    assert dict(re.findall(hidden, filtering)) == {"q": "example", "status": "active"}
    for chosen in ('value="role_admin"', 'value="false"', 'value="email"'):
        assert f"<option selected {chosen}>" in filtering
    carried = "q%3Dexample%26status%3Dactive%26role%3Drole_admin%26verified%3Dfalse%26sort%3Demail"
    assert re.search(rf'<a href="{LIST}/usr_\w+\?list={carried}">', page.text)


def test_filters_are_folded(ada: Visitor) -> None:
    """The filters are folded unless one has a problem: those in use are told beside them."""
    assert "<details>" in ada.get(LIST).text
    assert "<details>" in ada.get(f"{LIST}?verified=true").text
    assert "<details open>" in ada.get(f"{LIST}?verified=maybe").text


@pytest.mark.parametrize(
    ("query", "problems"),
    [
        ("role=role_king", ["role: Choose a role from the list"]),
        ("verified=1", ["verified: Choose verified or not from the list"]),
        ("has_password=no", ["has_password: Choose from the list whether a password is set"]),
        ("never_signed_in=false", ["never_signed_in: Choose a last sign-in from the list"]),
        ("since=2026-02-30", ["since: Enter the first day as year, month and day, like 2026-01-31"]),
        ("since=2026-1-31", ["since: Enter the first day as year, month and day, like 2026-01-31"]),
        ("until=%00", ["until: Enter the last day as year, month and day, like 2026-01-31"]),
        ("since=2026-02-02&until=2026-02-01", ["until: Choose a last day that is not before the first"]),
        ("sort=role", ["sort: Choose an order from the list"]),
        ("sort=email&role=x&sort=x", ["role: Choose a role from the list"]),
        ("role=%ED%A0%80&sort=%FF", ["sort: Choose an order from the list", "role: Choose a role from the list"]),
    ],
)
def test_problems(ada: Visitor, query: str, problems: list[str]) -> None:
    """The page says beside the filter what is wrong, lists nobody and keeps the rest."""
    page = ada.get(f"{LIST}?q=ada&status=active&{query}")
    assert page.status_code == 422
    assert "<title>Error: " in page.text
    assert [": ".join(one) for one in problems_in(page)] == problems
    assert summary_in(page).count("Choose") + summary_in(page).count("Enter") == len(problems)
    assert emails_on(page) == []
    assert "No user" not in words(page)
    assert 'value="ada"' in page.text
    assert 'aria-current="page">Active' in page.text
    assert ada.get(link(page, "Clear all")).status_code == 200
    assert link(page, "Clear all").startswith(f"{LIST}?q=ada&status=active")


def test_far_days(ada: Visitor) -> None:
    """Days that no user can be of find all users or none."""
    assert len(emails_on(ada.get(f"{LIST}?since=0001-01-01&until=9999-12-31"))) == 4
    for query in ("since=9999-12-31", "until=0001-01-01"):
        page = ada.get(f"{LIST}?{query}")
        assert "No user that matches the filters" in words(page)
        assert link(page, "Clear the filters") == link(page, "Show all users") == LIST


@pytest.fixture
def crowd(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven users, on pages of two."""
    for name in ("jo1", "jo2", "jo3"):
        make_user(app, f"{name}@example.com")
    find, size = user_search.find, 2
    monkeypatch.setattr(user_search, "PAGE_SIZE", size)
    monkeypatch.setattr(user_search, "find", lambda asked, **place: find(asked, **place, limit=size))


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("query", ["", "sort=email&", "q=example&", "q=example&sort=-name&"])
def test_ranges(ada: Visitor, query: str) -> None:
    """Each page says which rows it shows, forwards and back."""
    page, forwards = ada.get(f"{LIST}?{query}"), []
    while path := link(page, "Next"):
        forwards.append(caption(page).partition(" users")[0])
        page = ada.get(path)
    forwards.append(caption(page).partition(" users")[0])
    assert forwards == ["1 to 2 of 7", "3 to 4 of 7", "5 to 6 of 7", "7 to 7 of 7"]
    back = []
    while path := link(page, "Previous"):
        page = ada.get(path)
        back.append(caption(page).partition(" users")[0])
    assert back == forwards[-2::-1]


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("at", ["", "0", "1", "-3", "6", "1000", "3.0", "³", "٣", "9" * 5_000, "%00", "x"])
def test_ranks_that_cannot_be(ada: Visitor, at: str) -> None:
    """The rank in the URL is left out where it cannot be right, or where the rank is known."""
    page = ada.get(LIST)
    second = link(page, "Next")
    assert second.endswith("&at=3")
    assert caption(ada.get(second.replace("&at=3", f"&at={at}"))) == "2 of 7 users, newest first"
    assert caption(ada.get(f"{LIST}?at={at}")) == "1 to 2 of 7 users, newest first"


@pytest.mark.usefixtures("crowd")
def test_many(ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that stopped says more than how many."""
    find = user_search.find

    def stopped(asked: Asked, **place: str | None) -> user_search.Found:
        return replace(find(asked, **place), counts={"all": Count(1_000, many=True)})  # type: ignore[arg-type]

    monkeypatch.setattr(user_search, "find", stopped)
    second = ada.get(link(ada.get(LIST), "Next"))
    assert caption(second) == "3 to 4 of more than 1,000 users, newest first"


def test_partial(app: Flask, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that did not read all says so, and denies nobody."""
    monkeypatch.setattr(bounded, "READ", 2)
    page = ada.get(f"{LIST}?q=example")
    assert caption(page) == (
        "2 users found for “example” among the first 2, newest first. There may be more: narrow the search to see them."
    )
    assert "No user found" in words(ada.get(f"{LIST}?q=example&role=role_admin&never_signed_in=true")), "all was read"
    none = ada.get(f"{LIST}?q=example&until=2001-01-01")
    assert emails_on(none) == []
    assert "Nothing found among the first 2 users" in words(none)
    assert "there may be other users who match" in words(none)
    for denial in ("No user", "no user", "obody", "0 users"):
        assert denial not in words(none)
