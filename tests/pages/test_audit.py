"""The page about the audit trail: found by who, what, whom, day and request; a page at a time; as people read it."""

import html
import re

import pytest
from flask import Flask

from support.api import Api
from support.audit_events import DAY, add_event
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key
from support.visitors import Visitor, problems_in, signed_in
from users.roles import Permission

pytestmark = pytest.mark.one_database

AUDIT = "/admin/audit"
NO_REQUEST = "Enter a whole request ID: 8 to 64 letters, digits, dots, hyphens or underscores"


@pytest.fixture
def vera(app: Flask, cast: Cast) -> Visitor:
    """Vera the auditor, signed in."""
    return signed_in(app, cast.vera)


def told(page: str) -> list[str]:
    """Return the sentences on the page, newest first."""
    cells = re.findall(r'<td class="who">(.*?)(?:: <span class="hint">|</td>)', page)
    return [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in cells]


def test_shows_events(app: Flask, vera: Visitor, cast: Cast) -> None:
    """Each event says who did what to whom, from where and when."""
    key = make_key(app, Permission.USERS_CREATE, owner=cast.ada, name="CI")
    answer = Api(app.test_client(), key).create()
    page = vera.get(AUDIT)
    assert page.status_code == 200
    assert told(page.text)[:3] == [
        "ada@example.com created jo@example.com with the API key CI",
        "The command line created the API key CI",
        "vera@example.com signed in",
    ]
    row = re.findall(r"<tr>.*?</tr>", page.text, re.DOTALL)[1]
    email = '<bdi dir="auto">jo@<wbr><span class="whole">example.com</span></bdi>'
    assert f'<a href="/admin/users/{answer.json["id"]}">{email}</a>' in row
    assert ': <span class="hint">Email address, Password</span></td>' in row
    assert "<bdi>127.0.0.1</bdi>" in row
    assert f'<bdi class="sub">{answer.headers["X-Request-Id"]}</bdi>' in row
    assert re.search(r'<time datetime="[-\dT:]+Z">', row)


def test_the_filters_find_their_own(app: Flask, vera: Visitor, ada: Visitor, cast: Cast) -> None:
    ada.post(f"/admin/users/{cast.sam.id}/deactivate")
    acted = ["ada@example.com deactivated sam@example.com", "ada@example.com signed in"]
    for actor in ("ada@example.com", " ADA@example.com ", cast.ada.id):
        assert told(vera.get(AUDIT, query_string={"actor": actor}).text) == acted
    assert told(vera.get(AUDIT, query_string={"user": "sam@example.com"}).text) == [
        "ada@example.com deactivated sam@example.com",
        "The command line created sam@example.com",
    ]
    only = vera.get(AUDIT, query_string={"actor": cast.ada.id, "action": "user.deactivate"})
    assert told(only.text) == acted[:1]
    assert '<option selected value="user.deactivate">User deactivated</option>' in only.text
    ((request_id,),) = rows(app, "SELECT request_id FROM audit_events WHERE action = 'user.deactivate'")
    assert told(vera.get(AUDIT, query_string={"request": request_id}).text) == acted[:1]


@pytest.mark.parametrize("given", ["req_abc123xyz", "job.2026-11_24"])
def test_filter_by_request(app: Flask, vera: Visitor, given: str) -> None:
    """Our request id and the caller's own both find the events."""
    api = Api(app.test_client(), make_key(app, Permission.USERS_CREATE, name="CI"))
    for number in range(2):
        create = {"email": f"jo{number}@example.com", "password": PASSWORD}
        assert api.call("POST", "/v1/user/", json=create, headers={"X-Request-Id": given}).status_code == 201
    both = [f"The API key CI created jo{number}@example.com" for number in (1, 0)]
    page = vera.get(AUDIT, query_string={"request": given})
    assert told(page.text) == both
    assert page.text.count(f'<span class="sub">Sent as <bdi>{given}</bdi></span>') == 2
    ((ours,), _) = rows(app, "SELECT request_id FROM audit_events WHERE client_request_id IS NOT NULL ORDER BY id")
    found = vera.get(AUDIT, query_string={"request": ours}).text
    assert told(found) == both[1:]
    assert f'<bdi class="sub">{ours}</bdi>' in found


def test_filter_by_key(app: Flask, vera: Visitor, cast: Cast) -> None:
    """A key's id finds what it did and what was done to it."""
    Api(app.test_client(), make_key(app, Permission.USERS_CREATE, name="CI")).create()
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    assert told(vera.get(f"{AUDIT}?actor={key_id}").text) == ["The API key CI created jo@example.com"]
    assert told(vera.get(f"{AUDIT}?user={key_id}").text) == ["The command line created the API key CI"]


def test_a_day_is_whole_and_in_utc(app: Flask, vera: Visitor) -> None:
    add_event(app, 1, DAY.replace(hour=23, minute=59), action="on the day")
    add_event(app, 2, DAY.replace(day=1, month=2), action="the day after")
    page = vera.get(f"{AUDIT}?since=2026-01-31&until=2026-01-31").text
    assert "on the day" in page
    assert "the day after" not in page
    assert 'value="2026-01-31"' in page
    assert "First day (UTC)" in page
    assert told(vera.get(f"{AUDIT}?until=9999-12-31").text) == told(vera.get(AUDIT).text)
    assert told(vera.get(f"{AUDIT}?since=0001-01-01").text) == told(vera.get(AUDIT).text)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("action=user.conquer", "action: Choose what was done from the list"),
        ("since=yesterday", "since: Enter the first day as year, month and day, like 2026-01-31"),
        ("until=2026-02-30", "until: Enter the last day as year, month and day, like 2026-01-31"),
        ("since=2026-02-02&until=2026-02-01", "until: Choose a last day that is not before the first"),
        (f"request={'x' * 7}", f"request: {NO_REQUEST}"),
        ("request=a+b+c+d+e", f"request: {NO_REQUEST}"),
    ],
)
def test_bad_filter(vera: Visitor, query: str, problem: str) -> None:
    """The page says beside the filter what is wrong."""
    page = vera.get(f"{AUDIT}?{query}")
    assert page.status_code == 422
    assert [": ".join(one) for one in problems_in(page)] == [problem]
    assert told(page.text) == []


def test_several_bad_filters(vera: Visitor) -> None:
    """All problems are shown at once, and the typed values stay."""
    page = vera.get(f"{AUDIT}?actor=nobody&request=<b>&since=x")
    assert [name for name, _ in problems_in(page)] == ["request", "since"]
    assert 'value="nobody"' in page.text
    assert 'value="&lt;b&gt;"' in page.text


def test_paging_keeps_filters(app: Flask, vera: Visitor) -> None:
    """Previous and Next keep the filters in the URL."""
    for number in range(60):
        add_event(app, number, DAY, action="user.create" if number % 2 else "user.deactivate")
    page = vera.get(f"{AUDIT}?since=2026-01-31&until=2026-01-31&action=user.create").text
    assert len(told(page)) == 25
    assert 'rel="prev"' not in page
    (older,) = re.findall(r'rel="next" href="([^"]+)"', page)
    last = vera.get(html.unescape(older)).text
    assert len(told(last)) == 5
    assert 'rel="next"' not in last
    (newer,) = re.findall(r'rel="prev" href="([^"]+)"', last)
    assert told(vera.get(html.unescape(newer)).text) == told(page)


@pytest.mark.parametrize("query", ["before=x", "after=%00", "before=evt_1", "page=7", "actor=", "since=+"])
def test_what_is_nothing_is_passed_over(vera: Visitor, query: str) -> None:
    assert "vera@example.com signed in" in told(vera.get(f"{AUDIT}?{query}").text)


def test_filters_are_folded(vera: Visitor) -> None:
    """The filters are folded until one is in use, which the fold names."""
    page = vera.get(AUDIT).text
    assert '<details class="card fold">' in page
    assert "<summary>Filters</summary>" in page
    for query in ("actor=vera%40example.com&since=2026-01-31", "actor=vera%40example.com&since=x"):
        page = vera.get(f"{AUDIT}?{query}").text
        assert '<details class="card fold" open>' in page
        assert "<summary>Filters in use: Who did it, First day (UTC)</summary>" in page


def test_keys_are_links(app: Flask, vera: Visitor, ada: Visitor, cast: Cast) -> None:
    """A key is a link to its page, or to its events, and two keys of one name are told apart by how they begin."""
    for _ in range(2):
        make_key(app, Permission.USERS_READ, owner=cast.ada, name="CI")
    make_key(app, Permission.USERS_READ, owner=cast.ada, name="other")
    page = vera.get(AUDIT).text
    names = [f"CI ({prefix}…)" for (prefix,) in rows(app, "SELECT prefix FROM api_keys WHERE name = 'CI' ORDER BY id")]
    assert told(page)[:3] == [f"The command line created the API key {name}" for name in ("other", *names[::-1])]
    for (key_id,) in rows(app, "SELECT id FROM api_keys"):
        assert f'<a href="{AUDIT}?user={key_id}">' in page
        assert len(told(vera.get(f"{AUDIT}?user={key_id}").text)) == 1
        assert f'<a href="/admin/keys/{key_id}"><bdi dir="auto">' in ada.get(AUDIT).text


def test_nothing_found_says_so(vera: Visitor) -> None:
    page = vera.get(f"{AUDIT}?user=usr_{'0' * 32}").text
    assert "No event matches these filters." in page
    assert '<a href="/admin/audit">Show everything</a>' in page
    page = vera.get(f"{AUDIT}?before=evt_{'0' * 32}").text
    assert '<a href="/admin/audit">Go to the newest</a>' in page
    page = vera.get(f"{AUDIT}?action=user.create&before=evt_{'0' * 32}").text
    assert "No event" not in page
    assert '<a href="/admin/audit?action=user.create">Go to the newest</a>' in page


def test_it_is_for_those_who_may_read_it(omar: Visitor, vera: Visitor) -> None:
    assert omar.get(AUDIT).status_code == 403
    assert AUDIT not in omar.get("/admin/users").text
    assert f'<a href="{AUDIT}">Audit</a>' in vera.get("/admin/users").text


def test_user_page_links(vera: Visitor, ada: Visitor, cast: Cast) -> None:
    """A user's page links to the events about them and by them."""
    page = vera.get(f"/admin/users/{cast.ada.id}").text
    assert told(vera.get(f"{AUDIT}?user={cast.ada.id}").text)[-1] == "The command line created ada@example.com"
    assert f'href="{AUDIT}?user={cast.ada.id}"' in page
    assert f'href="{AUDIT}?actor={cast.ada.id}"' in page
    assert 'created this user: <span class="hint">Email address, First name, Last name, Role, Password</span>' in page
    assert ada.is_in


def test_people_s_texts_are_shown_as_texts(app: Flask, vera: Visitor, cast: Cast) -> None:
    make_key(app, Permission.USERS_READ, owner=cast.ada, name="<script>alert(1)</script>")
    execute(app, "UPDATE users SET email = '<b>@example.com' WHERE id = :id", id=cast.sam.id)
    page = vera.get(AUDIT).text
    assert "<script>alert" not in page
    assert "<b>@" not in page
    assert '<bdi dir="auto">&lt;b&gt;@<wbr><span class="whole">example.com</span></bdi>' in page
