"""The page "Confirm that it is you": what was typed before it, what comes after it, and where it leads."""

import html
import re
from typing import Any

import pytest
from flask import Flask

from support.api import Answer
from support.databases import rows
from support.factors import CONFIRM, FACTORS, App, add_app, confirm, fully_signed_in, grow_old
from support.page_forms import CANARY, fields_of, key_on
from support.people import PASSWORD, Cast, make_key
from support.visitors import LOGIN, NEW_USER, Visitor, problems_in, signed_in, token_in
from users.auth import sessions
from users.pages.forms import NOT_KEPT
from users.roles import Permission

pytestmark = pytest.mark.one_database

NEW_KEY = "/admin/keys/new"
CONFIRMED, NOTHING_YET = "You have confirmed that it is you", "Nothing was done yet"
TYPED = {
    "email": "jo@example.com",
    "first_name": "Jo",
    "last_name": "",
    "choice": "type",
    "global_role_id": "role_admin",
}


def kept_in(page: Answer) -> list[tuple[str, str]]:
    """Return the fields that the page carries for the form before it, as often as they are there."""
    found = re.findall(r'<input type="hidden" name="(kept-\w[^"]*)" value="([^"]*)">', page.text)
    return list(dict.fromkeys(found))


def answer_there(browser: Visitor, page: Answer, **answer: str) -> Answer:
    """Send the form of the page between, with what it carries."""
    (there,) = set(re.findall(r'name="next" value="([^"]*)"', page.text))
    kept: dict[str, Any] = {"interrupted": "yes"} if 'name="interrupted"' in page.text else {}
    for name, value in kept_in(page):
        kept.setdefault(name, []).append(value)
    return browser.client.post(
        CONFIRM, data={"csrf_token": token_in(page), "next": html.unescape(there), **kept, **answer}
    )


@pytest.mark.parametrize("has_factor", [False, True])
def test_back_at_the_form(app: Flask, cast: Cast, has_factor: bool) -> None:
    """All that was typed but the password survives a wrong answer too; then the form can be sent."""
    mine = add_app(app, cast.ada) if has_factor else None
    browser = fully_signed_in(app, cast.ada, mine) if mine else signed_in(app, cast.ada)
    grow_old(app, cast.ada)
    asked = browser.create(**TYPED, password=CANARY, mark="of the form", username="ada@example.com")
    assert asked.status_code == 403
    assert "filled in as you left it" in asked.text
    assert {name for name, _ in kept_in(asked)} == {f"kept-{name}" for name in TYPED}
    wrong = answer_there(browser, asked, **({"code": "000000"} if mine else {"password": CANARY}))
    assert wrong.status_code == 422
    problem = ("code", "The code is wrong") if mine else ("password", "The password is wrong")
    assert problems_in(wrong) == [problem]
    assert kept_in(wrong) == kept_in(asked)
    before = browser.session_id
    form = answer_there(browser, wrong, **({"code": mine.code()} if mine else {"password": PASSWORD}))
    assert form.status_code == 200
    assert browser.session_id != before
    assert CONFIRMED in form.text
    assert 'action="/admin/users/new"' in form.text
    assert {name: fields_of(form)[name] for name in ("email", "first_name", "global_role_id")} == {
        name: TYPED[name] for name in ("email", "first_name", "global_role_id")
    }
    for page in (asked, wrong, form):
        assert CANARY not in page.text
    assert rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com'") == []
    assert browser.create(**TYPED, token=token_in(form)).status_code == 303


def test_key_form_grows_old(app: Flask, cast: Cast, ada: Visitor) -> None:
    """Several ticked boxes of one name survive, and the form gets a mark of its own."""
    page = ada.get(NEW_KEY)
    grow_old(app, cast.ada)
    scopes = ["users:read", "users:update"]
    sent = {**fields_of(page), "name": "CI", "scopes": scopes, "expires": "365", "owner": "ada@example.com"}
    asked = ada.client.post(NEW_KEY, data={**sent, "csrf_token": token_in(page)})
    form = answer_there(ada, asked, password=PASSWORD)
    assert re.findall(r'value="(users:\w+)" id="scopes-\d" checked', form.text) == scopes
    again = {**sent, "mark": fields_of(form)["mark"], "csrf_token": token_in(form)}
    assert key_on(ada.client.post(NEW_KEY, data=again).text)


def test_page_that_asks_first(app: Flask, cast: Cast, ada: Visitor) -> None:
    """A page of an act that always needs a proof asks before its form is filled in, and opens then."""
    make_key(app, Permission.USERS_READ, owner=cast.omar)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    mine = add_app(app, cast.ada)
    for path in (
        NEW_KEY,
        f"/admin/keys/{key_id}/roll",
        f"/admin/users/{cast.sam.id}/delete",
        f"/admin/users/{cast.omar.id}/password",
        f"{FACTORS}/{mine.factor_id}/remove",
        f"{FACTORS}/passkey",
        f"{NEW_KEY}?a=1&b=%C3%BC",
    ):
        grow_old(app, cast.ada)
        asked = ada.get(path)
        assert asked.status_code == 303
        assert asked.location.startswith(f"{CONFIRM}?next=")
        page = ada.get(asked.location)
        assert NOTHING_YET not in page.text
        done = answer_there(ada, page, recovery_code=mine.recovery_codes.pop())
        assert (done.status_code, done.location) == (303, path)
        opened = ada.get(path)
        assert opened.status_code == 200
        assert CONFIRMED not in opened.text, "nothing was typed"


def test_acts_on_members_go_on(app: Flask, cast: Cast, ada: Visitor) -> None:
    """Nor does the page for a member's password ask; those of keys do not at the API."""
    key = make_key(app, *Permission, owner=cast.ada)
    grow_old(app, cast.ada)
    assert ada.get(f"/admin/users/{cast.sam.id}/password").status_code == 200
    client, headers = app.test_client(), {"X-API-Key": key}
    given = {"global_role_id": "role_admin", "password": "another horse battery"}
    assert client.patch(f"/v1/user/{cast.sam.id}", json=given, headers=headers).status_code == 200
    assert client.post(f"/v1/user/{cast.omar.id}/password-link", json={}, headers=headers).status_code == 201
    assert client.delete(f"/v1/user/{cast.sam.id}", headers=headers).status_code == 200


def test_permission_comes_first(app: Flask, cast: Cast, omar: Visitor) -> None:
    """A user who may not do it is told so, and is not asked for a proof."""
    make_key(app, Permission.USERS_READ, owner=cast.ada)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    token = omar.token("/account")
    grow_old(app, cast.omar)
    for path, fields in (
        (NEW_KEY, {"name": "CI"}),
        (f"/admin/keys/{key_id}/roll", {}),
        (f"/admin/users/{cast.sam.id}/delete", {}),
        (f"/admin/users/{cast.ada.id}/password", {"choice": "generate"}),
        (f"/admin/users/{cast.ada.id}/reset-second-factor", {}),
        (NEW_USER, TYPED | {"password": PASSWORD}),
    ):
        for answer in (omar.client.post(path, data={**fields, "csrf_token": token}), omar.get(path)):
            if path != NEW_USER or answer.request.method == "POST":
                assert answer.status_code == 403
                assert "You do not have access to this page" in answer.text, path


def test_demotion_asks_once(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The proof comes before the question whether the role is to be taken away."""
    path = f"/admin/users/{cast.ada.id}/edit"
    page = ada.get(path)
    sent = {**fields_of(page), "global_role_id": ""}
    grow_old(app, cast.ada)
    asked = ada.client.post(path, data={**sent, "csrf_token": token_in(page)})
    form = answer_there(ada, asked, password=PASSWORD)
    assert fields_of(form)["global_role_id"] == ""
    question = ada.client.post(path, data={**sent, "csrf_token": token_in(form)})
    assert question.status_code == 200
    assert "confirmed" in fields_of(question)


@pytest.mark.parametrize("role", ["", "role_auditor"])
def test_role_of_an_operator(app: Flask, cast: Cast, ada: Visitor, role: str) -> None:
    """To take it away needs a proof: a member's password is set without one, and the role could be given back."""
    path = f"/admin/users/{cast.omar.id}/edit"
    page = ada.get(path)
    grow_old(app, cast.ada)
    sent = {**fields_of(page), "global_role_id": role, "csrf_token": token_in(page)}
    assert ada.client.post(path, data=sent).status_code == 403
    assert rows(app, "SELECT global_role_id FROM users WHERE id = :id", id=cast.omar.id) == [("role_operator",)]


@pytest.mark.parametrize("has_factor", [False, True])
def test_own_password(app: Flask, cast: Cast, has_factor: bool) -> None:
    """With a second factor it needs a fresh proof; without one, the current password is the proof."""
    mine = add_app(app, cast.ada) if has_factor else None
    browser = fully_signed_in(app, cast.ada, mine) if mine else signed_in(app, cast.ada)
    grow_old(app, cast.ada)
    new = {"current_password": PASSWORD, "password": "another horse battery"}
    answer = browser.post("/account", **new)
    assert answer.status_code == (403 if has_factor else 303)
    if mine:
        assert NOTHING_YET in answer.text
        assert kept_in(answer) == []
        wrong = answer_there(browser, answer, code="000000")
        assert NOTHING_YET in wrong.text
        assert answer_there(browser, wrong, code=mine.code()).location == "/account"
        assert f"{CONFIRMED}. {NOTHING_YET}" in browser.get("/account").text
        assert browser.post("/account", **new).status_code == 303
    assert browser.is_in


def test_proof_lasts_ten_minutes(app: Flask, cast: Cast, ada: Visitor) -> None:
    grow_old(app, cast.ada)
    assert confirm(ada, password=PASSWORD).location == "/admin"
    assert ada.get(NEW_KEY).status_code == 200
    ((then,),) = rows(app, "SELECT confirmed_at FROM admin_sessions")
    assert then
    assert sessions.CONFIRMED.total_seconds() == 600
    assert ada.get(CONFIRM).status_code == 200, "a proof may be given again at any time"


def test_session_ends_at_fifth_wrong_answer(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The form that was typed before it survives that too."""
    grow_old(app, cast.ada)
    page = ada.create(**TYPED)
    for _ in range(sessions.MOST_ANSWERS - 1):
        page = answer_there(ada, page, password="wrong")
        assert page.status_code == 422
    ended = answer_there(ada, page, password="wrong")
    assert ended.status_code == 403
    assert "Your session has ended after too many wrong answers" in ended.text
    assert f'name="next" value="{NEW_USER}"' in ended.text
    assert kept_in(ended) == kept_in(page)
    sent = {**dict(kept_in(ended)), "next": NEW_USER, "csrf_token": token_in(ended)}
    form = ada.client.post(LOGIN, data={**sent, "email": "ada@example.com", "password": PASSWORD})
    assert 'action="/admin/users/new"' in form.text
    assert 'value="jo@example.com"' in form.text


def test_session_ends_at_fifth_wrong_password(app: Flask, cast: Cast, ada: Visitor) -> None:
    """Wrong current passwords at a new one count in the session with the wrong answers at the proof."""
    new = {"current_password": "wrong horse battery", "password": "another horse battery"}
    assert confirm(ada, password="wrong").status_code == 422
    assert [ada.post("/account", **new).status_code for _ in range(3)] == [422] * 3
    ended = ada.post("/account", **new)
    assert ended.status_code == 403
    assert "Your session has ended after too many wrong answers" in ended.text
    assert not ada.is_in


@pytest.mark.parametrize("kept", [{}, {"kept-email": "jo@example.com"}])
@pytest.mark.parametrize(
    "there",
    ["//evil.example", "/\\evil.example", "https://evil.example/", "/\t/evil.example", "javascript:alert(1)", "", "x"],
)
def test_next_leads_to_this_site(cast: Cast, ada: Visitor, there: str, kept: dict[str, str]) -> None:
    answer = confirm(ada, password=PASSWORD, next=there, **kept)
    assert (answer.status_code, answer.location) == (303, "/admin")


@pytest.mark.parametrize(
    "there",
    ["/nope", "/setup", "/v1/user/", "/v1/user/me", "/admin/audit", LOGIN, "/admin/login/factor", "/account/password"],
)
def test_kept_fields_open_no_other_door(cast: Cast, ada: Visitor, there: str) -> None:
    """Fields are only shown in a form of the pages that opens at this stage of the sign-in."""
    answer = confirm(ada, password=PASSWORD, next=there, **{"kept-email": "jo@example.com"})
    assert (answer.status_code, answer.location) == (303, "/admin")


def test_kept_secrets_are_not_shown(cast: Cast, ada: Visitor) -> None:
    """Nor carried on, also if a forged form carries them."""
    kept = {f"kept-{name}": CANARY for name in NOT_KEPT} | {"kept-email": "jo@example.com"}
    wrong = confirm(ada, password="wrong", next=NEW_USER, **kept)
    assert kept_in(wrong) == [("kept-email", "jo@example.com")]
    answer = confirm(ada, password=PASSWORD, next=NEW_USER, **kept)
    assert answer.status_code == 200
    assert CANARY not in answer.text + wrong.text


def test_old_tab_of_the_sign_in(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The sign-in page of another tab, sent when the proof is old, leads to the form by way of the proof."""
    grow_old(app, cast.ada)
    sent = {"email": "x", "password": "x", "csrf_token": "stale", "next": NEW_KEY, "kept-name": "CI"}
    asked = ada.client.post(LOGIN, data=sent)
    assert "<h1>Confirm that it is you</h1>" in asked.text
    form = answer_there(ada, asked, password=PASSWORD)
    assert fields_of(form)["name"] == "CI"


def test_session_that_awaits_its_factor(app: Flask, cast: Cast) -> None:
    """It cannot be confirmed: the password was given, and the factor is asked for elsewhere."""
    mine: App = add_app(app, cast.ada)
    browser = Visitor(app.test_client())
    browser.sign_in("ada@example.com")
    data = {"csrf_token": browser.token("/admin/login/factor"), "code": mine.code()}
    assert browser.client.post(CONFIRM, data=data).location == "/admin/login/factor"
    assert not browser.is_in
