"""The lists of sessions: one's own at the account, and a user's on their page; one is ended there, or all."""

import html
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from support.api import Answer
from support.databases import execute, read_only, rows
from support.factors import CONFIRM, FACTOR, add_app, confirm, fully_signed_in, give_code, half_signed_in
from support.page_forms import acts_on
from support.people import PASSWORD, UNKNOWN_ID, Cast, make_user
from support.sessions import begin_session, browser_with, hashes_of, starts_of
from support.visitors import LOGIN, Visitor, signed_in, summary_in, token_in
from users.auth.sessions import Place
from users.roles import Role
from users.storage.models import User

END, END_OTHERS = "/account/sessions/end", "/account/sessions"
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0"
HOSTILE = "<script>alert(1)</script> {{ 7 * 7 }}"
one_database = pytest.mark.one_database


def listed(page: Answer) -> list[str]:
    """Return the rows of the table as text, without the times."""
    table = page.text.partition("<tbody>")[2].partition("</tbody>")[0]
    found = [html.unescape(re.sub(r"<time.*?</time>|<[^>]+>", " ", row)) for row in table.split("</tr>")[:-1]]
    return [" ".join(row.split()) for row in found]


def names_in(page: Answer) -> list[str]:
    """Return the names of the sessions that the page can end, the newest first."""
    return [html.unescape(name) for name in re.findall(r'name="session" value="([^"]+)"', page.text)]


def name_seen(visitor: Visitor) -> str:
    """Return the name of the one other session that the account lists."""
    (name,) = names_in(visitor.get("/account"))
    return name


def sign_in_from(app: Flask, user: User, ip_address: str, user_agent: str) -> Visitor:
    """Return a new browser at this address in which the user has signed in."""
    visitor = Visitor(app.test_client())
    data = {"email": user.email, "password": PASSWORD, "csrf_token": visitor.token(LOGIN)}
    sent = {"headers": {"User-Agent": user_agent}, "environ_overrides": {"REMOTE_ADDR": ip_address}}
    assert visitor.client.post(LOGIN, data=data, **sent).status_code == 303
    return visitor


@one_database
def test_own_list(app: Flask, cast: Cast) -> None:
    """A member without a permission sees theirs, newest first, and no other user's."""
    begin_session(app, cast.ada, place=Place("203.0.113.99", "Safari on macOS"))
    begin_session(app, cast.sam, minutes_ago=9, place=Place())  # of the version before
    sign_in_from(app, cast.sam, "2001:db8::7", FIREFOX)
    page = sign_in_from(app, cast.sam, "192.0.2.1", "curl/8.14.1").get("/account")
    mine, firefox, old = listed(page)
    assert mine == "Unknown browser This one 192.0.2.1"
    assert re.fullmatch("Firefox on Windows 2001:db8::7 End the session with Firefox on Windows, started .*", firefox)
    assert re.fullmatch("Unknown browser Unknown IP address End the session with an unknown browser, started .*", old)
    assert "3 sessions, newest first" in page.text
    assert page.headers["Cache-Control"] == "no-store"


@one_database
def test_hostile_browser(app: Flask, cast: Cast) -> None:
    """Nothing of the header User-Agent is stored or shown."""
    page = sign_in_from(app, cast.sam, "192.0.2.1", HOSTILE).get("/account")
    assert listed(page) == ["Unknown browser This one 192.0.2.1"]
    assert rows(app, "SELECT browser FROM admin_sessions") == [(None,)]


@one_database
def test_only_session(app: Flask, cast: Cast) -> None:
    page = signed_in(app, cast.sam).get("/account")
    assert "You are signed in here only." in page.text
    assert "End my other sessions" not in page.text
    assert names_in(page) == []


def test_end_one(app: Flask, cast: Cast) -> None:
    """The next request of that browser is led to the sign-in page; the others go on."""
    third, other, mine = (signed_in(app, cast.sam) for _ in range(3))
    name = names_in(mine.get("/account"))[0]
    answer = mine.post(END, session=name)
    assert (answer.status_code, answer.location) == (303, "/account")
    assert "That session has ended" in mine.get("/account").text
    assert other.get("/account").location.startswith(LOGIN)
    assert mine.is_in
    assert third.is_in
    assert acts_on(app, cast.sam.id)[-1] == "session.end_other"


@one_database
def test_ended_meanwhile(app: Flask, cast: Cast) -> None:
    """A double click, and a session that has ended since the page was opened: the page says that it has ended."""
    other, mine = signed_in(app, cast.sam), signed_in(app, cast.sam)
    name, token = name_seen(mine), mine.token("/account")
    answers = [mine.post(END, session=name, token=token) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert mine.get("/account").text.count("That session has ended") == 1
    assert not other.is_in
    assert acts_on(app, cast.sam.id).count("session.end_other") == 1


@one_database
@pytest.mark.parametrize("given", ["", "x", "\0", "0001-01-01T00:00:00+14:00", "9" * 4000, "of this one", "of Vera's"])
def test_wrong_name(app: Flask, cast: Cast, given: str) -> None:
    """A session is ended by its own user alone, and never the one that asks."""
    begin_session(app, cast.vera)
    other, mine = begin_session(app, cast.sam, minutes_ago=2), begin_session(app, cast.sam)
    of_whom = {"of this one": cast.sam, "of Vera's": cast.vera}.get(given)
    name = starts_of(app, of_whom)[0].isoformat() if of_whom else given
    browser = browser_with(app, mine)
    assert browser.post(END, session=name).location == "/account"
    assert hashes_of(app, cast.sam) == {other.id_hash, mine.id_hash}
    assert len(hashes_of(app, cast.vera)) == 1
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'session.end_other'") == []


@one_database
def test_session_with_a_new_id(app: Flask, cast: Cast) -> None:
    """A session that was confirmed after the page was opened, and so has a new id, is ended all the same."""
    other, mine = signed_in(app, cast.sam), signed_in(app, cast.sam)
    name, before = name_seen(mine), other.session_id
    execute(app, "UPDATE admin_sessions SET confirmed_at = '2020-01-01 00:00:00'")
    assert confirm(other, password=PASSWORD).status_code == 303
    assert other.session_id != before
    mine.post(END, session=name)
    assert not other.is_in


@pytest.mark.parametrize("_number", range(3))
def test_new_id_at_once(app: Flask, cast: Cast, _number: int) -> None:
    """Ended while it is confirmed, a session has ended, whichever comes first."""
    other, mine = signed_in(app, cast.sam), signed_in(app, cast.sam)
    sent = {
        END: {"csrf_token": mine.token("/account"), "session": name_seen(mine)},
        CONFIRM: {"csrf_token": other.token(CONFIRM), "password": PASSWORD},
    }
    with ThreadPoolExecutor(2) as pool:
        for one in [pool.submit(it.client.post, at, data=sent[at]) for it, at in ((mine, END), (other, CONFIRM))]:
            assert one.result().status_code < 500
    assert mine.is_in
    assert not other.is_in


@one_database
def test_half_session(app: Flask, cast: Cast) -> None:
    """The user sees that a browser has their password, and ends its session also if the factor was right meanwhile."""
    phone = add_app(app, cast.sam)
    mine = fully_signed_in(app, cast.sam, phone)
    thief = half_signed_in(app, cast.sam)
    page = mine.get("/account")
    assert "Only the password was given so far" in listed(page)[0]
    assert "Only the password" not in listed(page)[1]
    assert give_code(thief, phone.code()).status_code == 303
    assert thief.is_in
    mine.post(END, session=names_in(page)[0])
    assert not thief.is_in
    thief = half_signed_in(app, cast.sam)
    mine.post(END_OTHERS)
    assert thief.get(FACTOR).location.startswith(LOGIN)
    assert len(hashes_of(app, cast.sam)) == 1


@one_database
def test_list_of_another(app: Flask, cast: Cast, ada: Visitor, omar: Visitor) -> None:
    """It is on the page of a user, for administrators who may change them, and gives no way to end one alone."""
    begin_session(app, cast.sam, place=Place("192.0.2.7", "Firefox on Windows"))
    begin_session(app, cast.ada, place=Place("192.0.2.8", "Safari on macOS"))
    begin_session(app, cast.vera, place=Place("192.0.2.9", "Opera on Linux"))
    vera = signed_in(app, cast.vera)
    for browser in (ada, omar):
        page = browser.get(f"/admin/users/{cast.sam.id}")
        assert listed(page) == ["Firefox on Windows 192.0.2.7"]
        assert f'href="/admin/users/{cast.sam.id}/sessions">End all sessions</a>' in page.text
    for browser, user in ((omar, cast.ada), (vera, cast.sam), (ada, cast.ada)):
        page = browser.get(f"/admin/users/{user.id}")
        assert page.status_code == 200
        assert "192.0.2." not in page.text
        assert "End all sessions" not in page.text
    assert "is not signed in" in ada.get(f"/admin/users/{make_user(app, 'new@example.com').id}").text


@one_database
def test_end_all(app: Flask, cast: Cast, omar: Visitor) -> None:
    """A page asks first and says what helps against a known password. Sent twice, it is done once."""
    browsers, vera = [signed_in(app, cast.sam) for _ in range(2)], signed_in(app, cast.vera)
    path = f"/admin/users/{cast.sam.id}/sessions"
    question = omar.get(path)
    assert "End all sessions of this user?" in question.text
    assert f'href="/admin/users/{cast.sam.id}/password"' in question.text
    assert all(browser.is_in for browser in browsers)
    for _ in range(2):
        answer = omar.client.post(path, data={"csrf_token": token_in(question)})
        assert (answer.status_code, answer.location) == (303, f"/admin/users/{cast.sam.id}")
    assert "All sessions of this user have ended" in omar.get(answer.location).text
    assert not any(browser.is_in for browser in browsers)
    assert vera.is_in
    assert acts_on(app, cast.sam.id).count("session.end_all") == 1
    assert "There are no sessions to end" in omar.get(path).text
    assert browsers[0].sign_in("sam@example.com").status_code == 303, "the password is the same"


@one_database
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_end_all_refused(app: Flask, cast: Cast, ada: Visitor, omar: Visitor, method: str) -> None:
    """An operator ends no administrator's sessions; there is none of a deleted or unknown user."""
    gone = make_user(app, "gone@example.com", Role.AUDITOR)
    ada.post(f"/admin/users/{gone.id}/delete")
    for user_id, status in ((cast.ada.id, 403), (gone.id, 404), (UNKNOWN_ID, 404)):
        path = f"/admin/users/{user_id}/sessions"
        assert (omar.get(path) if method == "GET" else omar.post(path)).status_code == status
    assert ada.is_in


def test_two_administrators_at_once(app: Flask, cast: Cast, ada: Visitor) -> None:
    """Each ends the other's sessions: what was done is in the trail, and both can sign in again."""
    grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
    (grace_id,) = rows(app, "SELECT id FROM users WHERE email = 'grace@example.com'")[0]
    acts = [(ada, f"/admin/users/{grace_id}/sessions"), (grace, f"/admin/users/{cast.ada.id}/sessions")]
    tokens = [browser.token("/account") for browser, _ in acts]

    def end(number: int) -> int:
        browser, path = acts[number]
        return int(browser.client.post(path, data={"csrf_token": tokens[number]}).status_code)

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(end, range(2)))
    assert set(statuses) in ({303}, {303, 403})
    done = rows(app, "SELECT target_id FROM audit_events WHERE action = 'session.end_all' AND outcome = 'ok'")
    ended = [target for status, target in zip(statuses, (grace_id, cast.ada.id), strict=True) if status == 303]
    assert sorted(row.target_id for row in done) == sorted(ended)
    for browser, email in ((ada, "ada@example.com"), (grace, "grace@example.com")):
        assert browser.is_in or browser.sign_in(email).status_code == 303


def test_read_only(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The lists are shown, and an end is refused: the session lives."""
    other, sam = signed_in(app, cast.ada), signed_in(app, cast.sam)
    name, token = name_seen(ada), ada.token("/account")
    with read_only(app):
        assert len(listed(ada.get("/account"))) == 2
        for path in (END, f"/admin/users/{cast.sam.id}/sessions"):
            answer = ada.post(path, token=token, session=name)
            assert answer.status_code == 503
            assert "read-only at the moment, so nothing was saved" in summary_in(answer)
    assert other.is_in
    assert sam.is_in
