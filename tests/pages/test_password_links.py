"""The page of a password link: what its person sees and does, from the link to the password, and each ending."""

import html
import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from support import password_links
from support.api import Answer
from support.changes import TERMINAL
from support.databases import everything_stored
from support.page_forms import fields_of
from support.password_links import ENDINGS, NEW, OTHER, opened, send
from support.people import PASSWORD, UNKNOWN_ID, Cast, make_user
from support.visitors import Visitor, can_sign_in, problems_in, signed_in, summary_in, token_in
from users.errors import Unavailable
from users.passwords import argon2id
from users.services import user_changes
from users.services.links.password_links import PasswordLink
from users.storage import schema_version
from users.storage.models import User

pytestmark = pytest.mark.one_database

FIRST, ANOTHER = "Choose your password", "Choose a new password"
ENDED, NONE, DONE = "This link has ended", "Open your link", "Your password is set"


def invite(app: Flask) -> PasswordLink:
    """Invite jo@example.com. The context ends here: requests inside would share their `g`."""
    with app.app_context():
        return password_links.invite()


def make(app: Flask, user: User) -> PasswordLink:
    """Make a link for the user."""
    with app.app_context():
        return password_links.make(user)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser that keeps no cookies."""
    return app.test_client(use_cookies=False)


def head_of(page: Answer) -> str:
    """Return the page's heading, which its title has too."""
    (head,) = re.findall("<h1[^>]*>(.*)</h1>", page.text)
    assert f"{head} – Enrol</title>" in page.text
    return str(head)


def links_of(page: Answer) -> list[str]:
    """Return where the links in the middle of the page lead."""
    return [
        html.unescape(found)
        for found in re.findall('<a [^>]*href="([^"]*)"', page.text.partition("<main")[2].partition("</main")[0])
    ]


def test_first_password(app: Flask, visitor: Visitor) -> None:
    """From the link to the first sign-in; then Back, a reload and another click on the link say what happened."""
    link = invite(app)
    page = opened(visitor, link)
    assert (page.status_code, head_of(page)) == (200, FIRST)
    assert "An account was made for you" in page.text
    assert "jo@<wbr>example.com" in page.text
    assert "At least 8 characters" in page.text
    assert fields_of(page) == {"link": link.token, "username": "jo@example.com", "password": ""}
    answer = send(visitor, page)
    assert (answer.status_code, answer.location) == (303, "/password?done")
    for _ in range(2):
        done = visitor.get("/password?done")
        assert (done.status_code, head_of(done), links_of(done)) == (200, DONE, ["/admin/login"])
    back = visitor.get("/password")
    assert (back.status_code, head_of(back), links_of(back)) == (410, NONE, ["/admin/login"])
    for again in (opened(visitor, link), send(visitor, page, OTHER)):
        assert (again.status_code, head_of(again), links_of(again)) == (410, ENDED, ["/admin/login"])
    assert can_sign_in(app, "jo@example.com", NEW)


def test_another_password(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """It says what happens to the old one."""
    page = opened(visitor, make(app, cast.sam))
    assert head_of(page) == ANOTHER
    assert "Your old password stops working when you set the new one." in page.text
    send(visitor, page)
    assert not can_sign_in(app, "sam@example.com", PASSWORD)
    assert can_sign_in(app, "sam@example.com", NEW)


@pytest.mark.parametrize("settings", [{"ENROL_PASSWORD_MIN_LENGTH": "10", "ENROL_PASSWORD_BLOCKLIST": "on"}])
def test_refused_passwords(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """In the words of every door, as often as it takes. The page never holds what was typed."""
    with app.app_context():
        user_changes.set_password(cast.sam.id, PASSWORD, must_change=True, actor=TERMINAL)
    page = opened(visitor, make(app, cast.sam))
    assert "At least 10 characters" in page.text
    for password, words in (
        ("", "Enter a password"),
        ("too short", "Password must be at least 10 characters"),
        ("x" * 1025, "Password must be 1,024 bytes or fewer"),
        ("two\nlines of it", "Password must not contain line breaks or control characters"),
        ("1234567890", "This password is on a list of common passwords. Choose a different one"),
        (PASSWORD, "Choose a password that you do not have now"),
    ):
        page = send(visitor, page, password)
        assert (page.status_code, problems_in(page)) == (422, [("password", words)])
        assert words in summary_in(page)
        assert f"<title>Error: {ANOTHER}" in page.text
        assert not password or password not in page.text
    assert send(visitor, page).status_code == 303


def test_opening_changes_nothing(app: Flask, client: FlaskClient, visitor: Visitor) -> None:
    """Mail scanners open every link, many times and in unusual ways: without cookies, with HEAD, even with POST."""
    link = invite(app)
    before = everything_stored(app)
    url = f"/password?token={link.token}"
    for number in range(50):
        for browser in (client, visitor.client):
            answer = browser.open(url, method=("GET", "HEAD")[number % 2], follow_redirects=number % 3 == 0)
            assert answer.status_code in (200, 303, 410)
    for odd in (f"{url}&token={link.token}", f"{url}&utm_source=mail", f"{url}&done", f"/password?done&{url[10:]}"):
        answer = client.get(odd)
        assert (answer.status_code, answer.location) == (303, "/password")
    for data in ({}, {"link": link.token}, {"link": link.token, "password": NEW}):
        assert client.post("/password", data=data).status_code in (400, 410)
        assert client.post(url, data=data).status_code == 303
    assert everything_stored(app) == before
    assert send(visitor, opened(visitor, link)).status_code == 303


def test_every_ending_is_one_page(app: Flask, cast: Cast, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same to the byte, for a visit and for a form, and without a hash."""
    token, found, forged = visitor.token(), set(), forgeries(make(app, cast.omar))
    for number, end in enumerate(ENDINGS.values()):
        user = make_user(app, f"{number}@example.com")
        link = make(app, user)
        with app.app_context():
            end(app, user, link)
        forged.append(link.token)
    with monkeypatch.context() as patch:
        patch.setattr(argon2id, "hash_of", lambda *_: pytest.fail("it computes a hash"))
        for number, one in enumerate(forged):
            shown = visitor.get("/password?token=" + one, follow_redirects=True)
            sent = visitor.post(
                ("/password", "/password?done")[number % 2], token=token, link=one or "none", password=NEW
            )
            assert (shown.status_code, sent.status_code) == (410, 410), one
            found |= {shown.text, sent.text}
    (page,) = found
    assert "<h1>This link has ended</h1>\n<p>Ask whoever sent it for a new one.</p>" in page
    assert "check that all of it was copied" in page
    assert "Error: " not in page
    assert "@" not in page


def forgeries(link: PasswordLink) -> list[str]:
    """Return tokens like that of the open link, of which none is one."""
    user_id, end, signature = link.token.split(".")
    turned = {"A": "E"}.get(signature[-1], "A")  # canonical
    return [
        "",
        "none",
        link.token[:-1],
        link.token[:60],
        link.token + "A",
        link.token[:-1] + turned,
        link.token[:-1] + chr(ord(signature[-1]) + 1),  # the same bytes, written in another way
        f"{user_id}.{int(end) + 1}.{signature}",
        f"{user_id}.0{end}.{signature}",
        f"{UNKNOWN_ID}.{end}.{signature}",
        f"{user_id}.{end}",
        link.token.upper(),
        "%00" + "9" * 5000,
    ]


def test_pasted_links(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """White space and punctuation around a link do no harm. What is broken leaves the URL all the same."""
    token = make(app, cast.sam).token
    for text in (
        f"{token}.",
        f"%20{token}%0D%0A",
        f"{token[:50]}%0A%20{token[50:]}",
        f"{token}%3E).",
        f"“{token}”",
        f"{token}​",
    ):
        answer = visitor.get(f"/password?token={text}")
        assert (answer.status_code, answer.location) == (303, "/password")
        assert "sam@<wbr>example.com" in visitor.get("/password").text
    broken = visitor.get(f"/password?token={token[:-1]}")
    assert (broken.status_code, broken.location) == (303, "/password")
    assert token[:40] not in str(broken.headers)
    assert head_of(visitor.get("/password")) == ENDED


def test_without_a_link(app: Flask, cast: Cast, client: FlaskClient) -> None:
    """Also in a browser that keeps no cookies, which the page tells."""
    for path in ("/password", "/password?tok"):
        page = client.get(path)
        assert (page.status_code, head_of(page)) == (410, NONE)
    assert client.get(f"/password?token={make(app, cast.sam).token}").location == "/password"
    assert "your browser keeps no cookies: allow them for this site" in client.get("/password").text
    assert client.head("/password").status_code == 410


def test_two_links_in_one_browser(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """Each form is for its own link. The page of an open link never says that its password is set."""
    first, second = opened(visitor, make(app, cast.sam)), opened(visitor, make(app, cast.vera))
    assert "vera@<wbr>example.com" in visitor.get("/password?done").text
    assert "sam@<wbr>example.com" in send(visitor, first, "short").text
    send(visitor, first)
    assert head_of(visitor.get("/password?done")) == DONE
    assert send(visitor, second, OTHER).status_code == 303
    assert can_sign_in(app, "sam@example.com", NEW)
    assert can_sign_in(app, "vera@example.com", OTHER)


def test_two_tabs_and_a_double_click(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """The second form finds the link used, and the page says that the first worked."""
    link = make(app, cast.sam)
    tabs = [opened(visitor, link), opened(visitor, link)]
    assert [send(visitor, tab).status_code for tab in tabs] == [303, 410]
    assert "If you have just set your password with it, that worked" in send(visitor, tabs[0]).text


def test_stale_form(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """The form comes back with its link, also when the browser has lost all cookies."""
    page = opened(visitor, make(app, cast.sam))
    for name in ("enrol-form", "enrol-password"):
        visitor.client.delete_cookie(name)
    again = send(visitor, page, OTHER)
    assert (again.status_code, fields_of(again)) == (400, fields_of(page))
    assert "nothing was saved" in summary_in(again)
    assert OTHER not in again.text
    assert send(visitor, again).status_code == 303
    assert can_sign_in(app, "sam@example.com", NEW)


def test_administrator_tries_the_link(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The page says who is signed in and for whom it is. Nothing of the administrator changes."""
    page = opened(ada, make(app, cast.sam))
    assert 'This browser is signed in as <b><bdi dir="auto">ada@example.com</bdi></b>.' in page.text
    assert "sam@<wbr>example.com" in page.text
    send(ada, page)
    done = ada.get("/password?done")
    assert head_of(done) == "The password is set"
    assert '<bdi dir="auto">ada@example.com</bdi></b>, who is signed in to this browser, stays as it is' in done.text
    assert links_of(done) == []
    assert ada.is_in
    assert can_sign_in(app, "ada@example.com", PASSWORD)
    assert can_sign_in(app, "sam@example.com", NEW)


def test_signed_in_as_oneself(app: Flask, cast: Cast) -> None:
    """It ends the session too."""
    sam = signed_in(app, cast.sam)
    page = opened(sam, make(app, cast.sam))
    assert "This browser is signed in" not in page.text
    send(sam, page)
    assert links_of(sam.get("/password?done")) == ["/admin/login"]
    assert not sam.is_in


@pytest.mark.parametrize("settings", [{"ENROL_PASSWORD_DONE_URL": "https://app.example.com/start?a=b&c='d'"}])
def test_done_url(app: Flask, visitor: Visitor) -> None:
    """The page says before and after where it goes on."""
    link = invite(app)
    page = opened(visitor, link)
    assert "Then you can go on to app.example.com." in page.text
    send(visitor, page)
    for path in ("/password?done", "/password", f"/password?token={link.token}"):
        assert links_of(visitor.get(path, follow_redirects=True)) == ["https://app.example.com/start?a=b&c='d'"]


@pytest.mark.parametrize(
    ("settings", "base_url", "name"),
    [
        ({}, "http://localhost:5000", "enrol-password-5000"),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "https://users.example.com", "__Host-enrol-password"),
    ],
)
def test_headers(app: Flask, cast: Cast, client: FlaskClient, base_url: str, name: str) -> None:
    """The link is in one cookie for an hour and in no Referer, and the page loads nothing from elsewhere."""
    link = make(app, cast.sam)
    moved = client.get(f"/password?token={link.token}", base_url=base_url)
    assert moved.headers["Referrer-Policy"] == "no-referrer"
    assert link.token not in moved.text
    flags = ["HttpOnly", "Path=/", "SameSite=Lax", *(["Secure"] if name.startswith("__Host-") else [])]
    (cookie,) = moved.headers.getlist("Set-Cookie")
    value, *given = cookie.split("; ")
    assert value == f"{name}={link.token}"
    assert sorted(one for one in given if not one.startswith("Expires")) == sorted([*flags, "Max-Age=3600"])
    page = client.get("/password", base_url=base_url, headers={"Cookie": value})
    assert head_of(page) == ANOTHER
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["Cache-Control"] == "no-store"
    assert link.token not in str(page.headers)
    assert all(one[0] in "/#" for one in re.findall('(?:src|href|action)="([^"]*)"', page.text))
    kept = "; ".join([value, *(one.partition(";")[0] for one in page.headers.getlist("Set-Cookie"))])
    data = {**fields_of(page), "csrf_token": token_in(page), "password": NEW}
    used = client.post("/password", base_url=base_url, headers={"Cookie": kept}, data=data)
    assert (used.status_code, used.location) == (303, "/password?done")
    assert [one for one in used.headers.getlist("Set-Cookie") if one.startswith(f"{name}=;") and "Max-Age=0" in one]


def test_database_away(app: Flask, cast: Cast, visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page leads back to the form, and the link is as good as before."""

    def away(_engine: object) -> None:
        raise Unavailable("away")

    link = make(app, cast.sam)
    page = opened(visitor, link)
    with monkeypatch.context() as patch:
        patch.setattr(schema_version, "require_usable", away)
        assert visitor.get(f"/password?token={link.token}").location == "/password"
        for answer in (visitor.get("/password"), send(visitor, page)):
            assert (answer.status_code, links_of(answer)) == (503, ["/password"])
            assert answer.headers["Retry-After"]
    assert send(visitor, visitor.get("/password")).status_code == 303


def test_forgotten_password(visitor: Visitor) -> None:
    assert "Forgotten your password? Ask an administrator for a link" in visitor.get("/admin/login").text
