"""A user who must choose a new password. That no page opens before: test_half_states."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask

from support.api import Answer
from support.changes import events, update
from support.databases import execute, rows
from support.page_forms import acts_on
from support.people import PASSWORD, Cast, make_user
from support.visitors import LOGIN, NEW_USER, Visitor, can_sign_in, problems_in, signed_in, token_in
from users.actors import terminal
from users.auth import sessions
from users.services import user_changes
from users.services.links import email_verification, password_links
from users.storage.models import User

CHOOSE, NEW = "/account/password", "another horse battery"
TERMINAL = terminal("req_test00000000")


def flag(app: Flask, user: User) -> None:
    """Let the user's next sign-in lead to a new password; sessions go on, as none would after a real flag."""
    execute(app, "UPDATE users SET password_change_required = true WHERE id = :id", id=user.id)


def is_flagged(app: Flask, user: User) -> bool:
    ((found,),) = rows(app, "SELECT password_change_required FROM users WHERE id = :id", id=user.id)
    return bool(found)


@pytest.mark.one_database
def test_sign_in_leads_to_the_form(app: Flask, cast: Cast, visitor: Visitor) -> None:
    """Also one with a page to go to, public or not, and one that a form was kept through."""
    flag(app, cast.ada)
    for there, kept in (("", {}), ("/admin/keys", {}), ("/docs", {}), (NEW_USER, {"kept-email": "jo@example.com"})):
        assert visitor.sign_in("ada@example.com", token=visitor.token(), next=there, **kept).location == CHOOSE
        assert visitor.get(LOGIN, query_string={"next": there}).location == CHOOSE
        visitor.session_id = ""
    page = signed_in(app, cast.ada).get(CHOOSE)
    assert "<h1>Choose a new password</h1>" in page.text
    assert re.findall(r'<a [^>]*href="(/[^"]*)"', page.text.partition("<body>")[2]) == ["/"]  # the name of the service


@pytest.mark.one_database
@pytest.mark.parametrize("stale", [False, True])
def test_sign_out(app: Flask, cast: Cast, stale: bool) -> None:
    flag(app, cast.ada)
    ada = signed_in(app, cast.ada)
    answer = ada.post("/admin/logout", token="stale" if stale else ada.token(CHOOSE))
    assert answer.location == (CHOOSE if stale else LOGIN)
    assert (ada.get(CHOOSE).status_code == 200) == stale


@pytest.mark.one_database
def test_present_password_again(app: Flask, visitor: Visitor) -> None:
    """It is the same in another form of Unicode (NFKC), also for a member."""
    user = make_user(app, "mia@example.com", password="ﬁve café houses")
    flag(app, user)
    visitor.sign_in("mia@example.com", "five cafe\u0301 houses")
    for again in ("ﬁve café houses", "five cafe\u0301 houses", "ｆive café houses"):
        answer = visitor.post(CHOOSE, password=again, token=visitor.token(CHOOSE))
        assert answer.status_code == 422
        assert problems_in(answer) == [("password", "Choose a password that you do not have now")]
        assert again not in answer.text
    short = visitor.post(CHOOSE, password="short", token=visitor.token(CHOOSE))
    assert problems_in(short) == [("password", "Password must be at least 8 characters")]
    assert is_flagged(app, user)
    assert acts_on(app, user.id) == ["session.create"]
    done = visitor.post(CHOOSE, password="Five café houses", token=visitor.token(CHOOSE))
    assert done.location == "/account"
    assert "Password changed" in visitor.get("/account").text
    assert acts_on(app, user.id) == ["session.create", "user.set_password"]
    assert not is_flagged(app, user)
    assert visitor.get(CHOOSE).location == "/account"


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_PASSWORD_DONE_URL": "https://app.example.com/start"}])
@pytest.mark.parametrize(("person", "there"), [("sam", "/account"), ("vera", "/admin")])
def test_way_on(app: Flask, cast: Cast, settings: dict[str, str], person: str, there: str) -> None:
    """A member's account leads back to the application that refused them; an auditor's does not."""
    flag(app, getattr(cast, person))
    browser = signed_in(app, getattr(cast, person))
    assert browser.post(CHOOSE, password=NEW, token=browser.token(CHOOSE)).location == there
    assert "Password changed" in browser.get(there).text
    way_on = f'href="{settings["ENROL_PASSWORD_DONE_URL"]}"'
    assert (way_on in browser.get("/account").text) == (person == "sam")


def test_two_browsers_at_once(app: Flask, cast: Cast) -> None:
    """One wins; the session of the other has ended, and it signs in with the new password."""
    flag(app, cast.ada)
    browsers = {f"{NEW} {number}": signed_in(app, cast.ada) for number in range(2)}
    tokens = {password: browser.token(CHOOSE) for password, browser in browsers.items()}

    def choose(password: str) -> Answer:
        fields = {"username": "ada@example.com", "password": password}
        return browsers[password].post(CHOOSE, token=tokens[password], **fields)

    with ThreadPoolExecutor() as threads:
        answers = dict(zip(browsers, threads.map(choose, browsers), strict=True))
    (won,) = [password for password, answer in answers.items() if answer.status_code == 303]
    (lost,) = browsers.keys() - {won}
    assert answers[lost].status_code == 403
    assert "Your session has ended" in answers[lost].text
    assert not can_sign_in(app, "ada@example.com", lost)
    assert "kept-" not in answers[lost].text
    again = {"token": token_in(answers[lost]), "next": CHOOSE}
    assert browsers[lost].sign_in("ada@example.com", won, **again).location == CHOOSE
    assert browsers[lost].get(CHOOSE).location == "/admin"
    assert browsers[won].is_in
    done = [fields for action, fields in events(app, cast.ada) if action == "user.set_password"]
    assert done == [["password", "password_change_required"]]


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)  # SQLite has one writer at a time
def test_other_browser_between_check_and_lock(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    flag(app, cast.ada)
    ada, find = signed_in(app, cast.ada), sessions.find_permissions

    def find_and_change(*given: Any) -> Any:
        found = find(*given)
        execute(app, "UPDATE users SET password_changed_at = created_at WHERE id = :id", id=cast.ada.id)
        return found

    token = ada.token(CHOOSE)
    monkeypatch.setattr(sessions, "find_permissions", find_and_change)
    answer = ada.post(CHOOSE, password=NEW, token=token)
    assert (answer.status_code, "Your session has ended" in answer.text) == (403, True)


@pytest.mark.one_database
def test_flag_ends_sessions(app: Flask, cast: Cast, omar: Visitor) -> None:
    """A session of before, perhaps a stolen one, must not choose a password without the present one."""
    with app.app_context():
        update(cast.omar, password_change_required=True)
    assert omar.get(CHOOSE).location.startswith(LOGIN)
    assert omar.sign_in("omar@example.com").location == CHOOSE
    with app.app_context():
        update(cast.omar, password_change_required=False)
    assert omar.get(CHOOSE).location == "/admin"


@pytest.mark.one_database
def test_links_work_before_it(app: Flask, cast: Cast) -> None:
    """A password that an administrator sets does not end it; the password link does, also in the signed-in browser."""
    with app.app_context():
        user_changes.set_password(cast.sam.id, PASSWORD, must_change=True, actor=TERMINAL)
        user_changes.set_password(cast.sam.id, PASSWORD, actor=TERMINAL)
        verification = email_verification.issue(cast.sam.id, actor=TERMINAL).token
        link = password_links.make(cast.sam.id, actor=TERMINAL).token
    sam = signed_in(app, cast.sam)
    assert sam.get(f"/verify?token={verification}").location == "/verify"
    assert sam.post("/verify", link=verification, token=sam.token("/verify")).location == "/verify"
    assert is_flagged(app, cast.sam)
    assert sam.get(f"/password?token={link}").location == "/password"
    sent = {"link": link, "token": sam.token("/password")}
    assert problems_in(sam.post("/password", password=PASSWORD, **sent))[0][1].startswith(
        "Choose a password that you do"
    )
    assert sam.post("/password", password=NEW, **sent).location == "/password?done"
    assert not is_flagged(app, cast.sam)
    assert acts_on(app, cast.sam.id)[-2:] == ["user.verify", "user.set_password"]
