"""The list of users as a page: the table, the search, the filters, the way from page to page, and what is not there."""

import re

import pytest
from flask import Flask
from markupsafe import escape

from support import population
from support.databases import execute
from support.list_pages import LIST, emails_on, link, words
from support.people import Cast, make_user
from support.visitors import Visitor, signed_in
from users import clock
from users.roles import Permission, Role


def test_the_table_is_one_for_everybody(app: Flask, ada: Visitor, cast: Cast) -> None:
    page = ada.get(LIST)
    assert page.text.count("<table") == page.text.count("<caption") == 1
    columns = ["Email", "Name", "Status", "Role", "Verified", "Last sign-in", "Created"]
    assert re.findall(r'<th scope="col"[^>]*>(?:<a [^>]+>)?([^<]+)<', page.text) == columns
    assert emails_on(page) == ["sam@example.com", "vera@example.com", "omar@example.com", "ada@example.com"]
    row = re.findall(r"<tr>.*?</tr>", page.text, re.DOTALL)[-1]
    assert f'<th scope="row"><a href="{LIST}/{cast.ada.id}">' in row
    cells = [" ".join(re.sub(r"<[^>]+>", "", cell).split()) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]
    assert cells.pop(0) == "Select ada@example.com"
    today = clock.date(clock.now())
    assert cells == ["Ada Lovelace", "Active", "Administrator", "No", today, today]
    assert "Never" in words(page), "Sam has not signed in"
    assert "4 users, newest first" in words(page)


def test_alone(app: Flask) -> None:
    """A single user is told once what to do next."""
    page = signed_in(app, make_user(app, "ada@example.com", Role.ADMIN)).get(LIST)
    assert "No users yet but you" in page.text
    assert page.text.count('href="/admin/users/new"') == 1


def test_search_form(ada: Visitor) -> None:
    """The search is a form without script."""
    page = ada.get(f"{LIST}?q=o%26%22m&status=active")
    form = re.findall(r"<form[^>]+search.*?</form>", page.text, re.DOTALL)[0]
    assert 'action="/admin/users"' in form
    assert "method" not in form  # a GET: everything is in the address
    assert '<label for="q">Search by email, name or ID</label>' in form
    assert 'name="q" value="o&amp;&#34;m"' in form
    assert '<input type="hidden" name="status" value="active">' in form
    assert link(page, "Clear") == f"{LIST}?status=active"
    assert "<title>“o&amp;&#34;m” – Users – Enrol</title>" in page.text


@pytest.mark.parametrize("q", ["OMAR", "omar@example", "  Omar "])
def test_a_search_finds_and_says_how_many(ada: Visitor, q: str) -> None:
    page = ada.get(LIST, query_string={"q": q})
    assert emails_on(page) == ["omar@example.com"]
    assert f"1 user found for “{q.strip()}”, newest first" in words(page)


def test_filters(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The filters show counts and keep the search."""
    execute(app, "UPDATE users SET is_active = false WHERE id IN (:a, :b)", a=cast.sam.id, b=cast.vera.id)
    execute(app, "UPDATE users SET deleted_at = created_at WHERE id = :id", id=cast.sam.id)
    page = ada.get(f"{LIST}?q=example.com")
    assert "All 3 Active 2 Deactivated 1 Deleted 1" in words(page)
    assert re.findall(r'aria-current="page">(\w+)', page.text.partition("<main")[2]) == ["All"]
    deactivated = ada.get(link(page, "Deactivated"))
    assert emails_on(deactivated) == ["vera@example.com"]
    assert "1 deactivated user found for “example.com”" in words(deactivated)
    assert re.findall(r'aria-current="page">(\w+)', deactivated.text.partition("<main")[2]) == ["Deactivated"]
    assert emails_on(ada.get(link(deactivated, "Active"))) == ["omar@example.com", "ada@example.com"]
    assert emails_on(ada.get(link(deactivated, "All"))) == ["vera@example.com", "omar@example.com", "ada@example.com"]


def test_deleted_filter(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The deleted users are listed and link to their pages."""
    execute(app, "UPDATE users SET is_active = false, deleted_at = created_at WHERE id = :id", id=cast.sam.id)
    page = ada.get(f"{LIST}?status=deleted")
    assert emails_on(page) == ["sam@example.com"]
    assert '<span class="tag">Deleted</span>' in page.text
    assert f'href="/admin/users/{cast.sam.id}?list=status%3Ddeleted"' in page.text
    assert ada.get(f"/admin/users/{cast.sam.id}").status_code == 200
    assert "1 deleted user, newest first" in words(page)


@pytest.mark.parametrize("query", ["status=x", "status=", "status=all", "status=%00", "nothing=1"])
def test_a_filter_that_is_none_shows_all(ada: Visitor, query: str) -> None:
    assert len(emails_on(ada.get(f"{LIST}?{query}"))) == 4


def test_the_pages_of_a_search_keep_it(app: Flask, ada: Visitor) -> None:
    for number in range(60):
        make_user(app, f"jo{number:02}@example.com")
    first = ada.get(f"{LIST}?q=jo&status=active")
    second = ada.get(link(first, "Next"))
    assert emails_on(first) + emails_on(second) == [f"jo{number:02}@example.com" for number in reversed(range(60))]
    assert (link(first, "Previous"), link(second, "Next")) == ("", "")
    assert emails_on(ada.get(link(second, "Previous"))) == emails_on(first)
    assert "60 active users found for “jo”" in words(second)


def test_an_unknown_address_can_be_created(app: Flask, ada: Visitor) -> None:
    page = ada.get(f"{LIST}?q=new%2Bperson%40example.com&status=deactivated")
    assert "No deactivated user found for “new+person@example.com”" in words(page)
    form = ada.get(link(page, "Create this user"))
    assert 'value="new+person@example.com"' in form.text
    assert link(page, "Show all users") == LIST


@pytest.mark.parametrize("query", ["q=nobody", "q=nobody%40", "q=omar%40example.com&status=deactivated"])
def test_not_offered(ada: Visitor, query: str) -> None:
    """A search that is no email, or is taken, offers no create."""
    page = ada.get(f"{LIST}?{query}")
    assert emails_on(page) == []
    assert link(page, "Show all users") == LIST
    assert link(page, "Create this user") == ""


def test_create_needs_permission(app: Flask, cast: Cast) -> None:
    """The create is offered only to users who may create."""
    assert Permission.USERS_CREATE not in Role.AUDITOR.permissions
    page = signed_in(app, cast.vera).get(f"{LIST}?q=new%40example.com")
    assert "No user found for “new@example.com”" in words(page)
    assert link(page, "Create") == ""


def test_a_filter_without_anybody_says_so(ada: Visitor) -> None:
    page = ada.get(f"{LIST}?status=deleted")
    assert "No user is deleted" in words(page)
    assert link(page, "Show all users") == LIST


def test_a_page_beyond_the_last_leads_back(ada: Visitor) -> None:
    page = ada.get(f"{LIST}?q=example.com&before=usr_{'0' * 32}")
    assert "There are no users on this page." in words(page)
    assert link(page, "Go to the first page") == f"{LIST}?q=example.com"


def test_too_many_found(app: Flask, ada: Visitor, database_url: str) -> None:
    """The list says that it shows some of the found users."""
    population.populate(database_url, 3_000)
    page = ada.get(f"{LIST}?q=name")
    assert "users found for “name”, newest first" in words(page)
    assert len(emails_on(page)) == 50
    assert "1 to 50 of more than 1,000 users, newest first" in words(ada.get(LIST))


HOSTILE = [
    *("%00", "a%00b", "%ED%A0%80", "%FF", "%F4%8F%BF%BF", "%E2%80%AEabc", "%F0%9F%91%A9%E2%80%8D%F0%9F%9A%80", "%5C"),
    *("%25", "_", "*", "%27%20OR%201%3D1%20--", "%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "a" * 5_000),
    *("%EF%B7%BA" * 600, "x%0D%0ASet-Cookie:x"),
]


def test_hostile_searches(ada: Visitor) -> None:
    """No search text breaks the page."""
    for path in (f"{LIST}?q={q}{more}" for q in HOSTILE for more in ("", "&status=deleted")):
        page = ada.get(path)
        assert page.status_code == 200, path
        assert "<script>" not in page.text, path
        assert len(page.data) < 31_000, path
        assert emails_on(page) == [], path


def test_no_script_in_names(app: Flask, ada: Visitor) -> None:
    """Names and emails cannot run as script."""
    formula, markup = "=HYPERLINK('//evil.example')", "<img src=x onerror=alert(1)>"
    make_user(app, "=cmd|x@example.com", first_name=formula, last_name=markup)
    for path in (LIST, f"{LIST}?q=%3Dcmd", f"{LIST}?q=%3Dhyperlink"):
        page = ada.get(path)
        assert emails_on(page)[0] == "=cmd|x@example.com"
        assert f'<bdi dir="auto">{escape(formula)} {escape(markup)}</bdi>' in page.text
        assert "<img src=x" not in page.text
    assert "<img" not in ada.get(f"{LIST}?q=%3Cimg").text.partition("<main")[2]


def test_bidi_isolation(app: Flask, ada: Visitor) -> None:
    """Names and emails are isolated from the text around them."""
    make_user(app, "sami@example.com", first_name="سامي", last_name="محمد")
    page = ada.get(f"{LIST}?q=سامي").text
    assert '<bdi dir="auto">سامي محمد</bdi>' in page
    assert "found for “<bdi>سامي</bdi>”" in page
    assert re.search(r'<input type="search"[^>]+dir="auto"', page)
