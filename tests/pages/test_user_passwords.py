"""The pages that give a user a password: make a link, which is shown once, generate or type one, end the link."""

import html
import re
import shlex
from datetime import timedelta

import pytest
from flask import Flask

from support.api import Answer
from support.databases import execute, rows
from support.list_pages import emails_on
from support.page_forms import acts_on, fields_of
from support.people import PASSWORD, Cast
from support.visitors import (
    LOGIN,
    NEW_USER,
    Visitor,
    can_sign_in,
    form_session_of,
    generated_password_in,
    mark_in,
    problems_in,
    signed_in,
    summary_in,
    token_in,
)
from users import clock
from users.passwords.hashing import PasswordPlace

pytestmark = pytest.mark.one_database

ELSEWHERE = {"base_url": "http://evil.example"}  # a host of which no link is made
TICKED = r'<input [^>]*checked id="password_change_required"'
MUST_CHANGE = "SELECT password_change_required FROM users WHERE email = :email"


def link_in(page: Answer) -> str:
    """Return the path of the link that a page shows, with its token."""
    (link,) = re.findall(
        r'<code id="link-shown" translate="no">http://localhost(/password\?token=[^<]+)</code>', page.text
    )
    return html.unescape(link)


def message_in(page: Answer) -> str:
    """Return the message that a page offers, as the script copies it."""
    (message,) = re.findall(r'<pre id="message"[^>]*>\n(.*?)</pre>', page.text, re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "", message))


def user_id_of(app: Flask, email: str) -> str:
    """Return the id of the user with this email."""
    return str(rows(app, "SELECT id FROM users WHERE email = :email", email=email)[0][0])


def run_shown_command(app: Flask, page: Answer) -> None:
    """Run the command that the page shows for another user of the same name."""
    (command,) = re.findall(r'<pre id="flask"[^>]*><code>flask (.*?)</code>', page.text)
    arguments = shlex.split(html.unescape(command).replace("Jo@", "Eve@"))
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("http://localhost/password?token=usr_")
    fields = "first_name, last_name, global_role_id, password_hash"
    users = rows(app, f"SELECT {fields} FROM users WHERE email LIKE '%@example.com' AND last_name = 'O''Neil'")
    assert len(users) == 2
    assert len({tuple(user) for user in users}) == 1


def words_in(page: Answer) -> str:
    """Return what a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.text.partition("<main")[2])).split())


def test_create_with_link(app: Flask, ada: Visitor, visitor: Visitor) -> None:
    """The user is created without a password; the link and a message with it are shown once, and the link works."""
    names = {"first_name": "Jo", "last_name": "O'Neil", "global_role_id": "role_auditor"}
    left_over = {"password": "x", "password_change_required": "y"}
    page = ada.post(NEW_USER, email="Jo@EXAMPLE.com", choice="link", **names, **left_over)
    assert page.status_code == 200
    assert page.headers["Cache-Control"] == "no-store"
    link, message = link_in(page), message_in(page)
    assert message.startswith("Hello Jo,\n\nYou have a new account. Sign in with Jo@example.com and the password")
    assert f"\n\nhttp://localhost{link}\n\nThe link works once, until " in message
    assert f'<span translate="no">http://localhost{html.escape(link)}</span>' in page.text
    (user,) = rows(app, "SELECT * FROM users WHERE email = 'Jo@example.com'")
    assert {name: getattr(user, name) for name in names} == names
    assert (user.password_hash, bool(user.password_change_required)) == ("", False)
    assert acts_on(app, user.id) == ["password_link.create"]
    assert "works once, and ends in 7 days, on" in words_in(page)
    assert 'curl -X POST "http://localhost/v1/user/invite"' in html.unescape(page.text)
    run_shown_command(app, page)
    token = link.partition("token=")[2]
    assert token not in str(form_session_of(ada))
    for path in (f"/admin/users/{user.id}", f"/admin/users/{user.id}/password", "/admin/users", "/admin/audit"):
        assert token not in ada.get(path).text
    assert visitor.get(link).location == "/password"
    assert "Jo@example.com" in visitor.get("/password").text


def test_link_needs_valid_fields(app: Flask, ada: Visitor) -> None:
    """The form with a link refuses what it refuses with a password, but no password is asked for."""
    answer = ada.post(NEW_USER, email="jo", choice="link", first_name="x" * 256)
    assert [name for name, _ in problems_in(answer)] == ["email", "first_name"]
    assert 'value="link" id="choice-0" checked' in answer.text
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'password_link.create'") == []


def test_link_sent_twice(app: Flask, ada: Visitor) -> None:
    """The second form finds the email taken; the page of the user just made offers a new link first."""
    assert ada.post(NEW_USER, email="jo@example.com", choice="link").status_code == 200
    again = ada.post(NEW_USER, email="jo@example.com", choice="link")
    assert " ".join(summary_in(again).split()).endswith("View jo@example.com, created by you a moment ago")
    page = ada.get(f"/admin/users/{user_id_of(app, 'jo@example.com')}")
    words = words_in(page)
    assert "Created a moment ago. If you missed the link, make a new one. A new link ends the open one." in words
    assert words.index("Make a password link") < words.index("Set a password") < words.index("Edit")


def test_no_link_without_base_url(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Where no link can be made, the choice is absent and a hint names the setting; nothing is written for it."""
    ada.client.set_cookie("enrol", ada.session_id or "", domain="evil.example")
    user = f"/admin/users/{cast.omar.id}"
    assert "Make a password link" not in ada.client.get(user, **ELSEWHERE).text
    for path in (NEW_USER, f"{user}/password"):
        page = ada.client.get(path, **ELSEWHERE)
        assert "No link can be made until <code>ENROL_PUBLIC_URL</code> is set" in page.text
        assert 'value="link"' not in page.text
        assert re.search(r'value="generate" id="choice-0" checked', page.text)
        fields = {"csrf_token": token_in(page), "mark": mark_in(page), "email": "jo@example.com", "choice": "link"}
        answer = ada.client.post(path, data=fields, **ELSEWHERE)
        assert answer.status_code == 400
        assert "No link can be made" in summary_in(answer)
    assert rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com' OR password_link_ends_at IS NOT NULL") == []


@pytest.mark.parametrize("choice", ["generate", "type"])
def test_must_change(app: Flask, ada: Visitor, cast: Cast, choice: str) -> None:
    """The box belongs to a generated or typed password: it is ticked until it is cleared, and obeyed at both forms."""
    path = f"/admin/users/{cast.omar.id}/password"
    for page in (ada.get(NEW_USER), ada.get(path)):
        assert re.search(TICKED, page.text)
    sent = {"choice": choice, "password": "another horse battery"}
    answer = ada.create(**sent, password_change_required="y")
    page = answer.text if choice == "generate" else ada.get(answer.location).text
    assert "{&#34;password_change_required&#34;: true}" in page
    assert "flask users create --must-change" in page
    ada.post(path, **sent, password_change_required="y")
    for email in ("jo@example.com", "omar@example.com"):
        assert rows(app, MUST_CHANGE, email=email)[0][0]
    assert "They must choose a new one when they sign in" in ada.get(f"/admin/users/{cast.omar.id}").text
    ada.post(path, **sent)
    ada.create(email="eve@example.com", **sent)
    for email in ("omar@example.com", "eve@example.com"):
        assert not rows(app, MUST_CHANGE, email=email)[0][0]
    refused = ada.create(email="", **sent)
    assert not re.search(TICKED, refused.text)


def test_link_for_a_user(app: Flask, ada: Visitor, cast: Cast, visitor: Visitor) -> None:
    """The button on the user's page makes a link; the old password works until it is used."""
    user = f"/admin/users/{cast.omar.id}"
    page = ada.get(user)
    sent = {name: value for name, value in fields_of(page).items() if name in ("choice", "mark")}
    assert sent["choice"] == "link"
    made = ada.post(f"{user}/password", **sent)
    assert made.status_code == 200
    words = words_in(made)
    assert "ends in 24 hours, on" in words
    assert "Their old password works until they have chosen a new one." in words
    assert "The link made before this one has ended." not in words
    assert "Choose a new password for omar@example.com here:" in message_in(made)
    assert can_sign_in(app, "omar@example.com", PASSWORD)
    again = ada.post(f"{user}/password", **sent)
    assert again.status_code == 422
    assert "no link was made. If you were shown one a moment ago, it still works." in summary_in(again)
    assert re.search(TICKED, again.text)  # the button has no box
    assert visitor.get(link_in(made)).location == "/password"
    assert visitor.get("/password").status_code == 200
    newer = ada.post(f"{user}/password", choice="link")
    assert "The link made before this one has ended." in words_in(newer)
    assert visitor.get("/password").status_code == 410
    assert acts_on(app, cast.omar.id).count("password_link.create") == 2


def test_end_link(app: Flask, ada: Visitor, cast: Cast, visitor: Visitor) -> None:
    """The user's page says when the link ends, and ends it."""
    ada.post(NEW_USER, email="jo@example.com", choice="link")
    user = f"/admin/users/{user_id_of(app, 'jo@example.com')}"
    execute(app, "UPDATE users SET password_link_ends_at = :at", at=clock.now() + timedelta(days=6))
    assert "Password No password yet Link ends in 6 days: " in words_in(ada.get(user))
    link = link_in(ada.post(f"{user}/password", choice="link"))
    assert "has no password yet. Each choice ends their open link." in words_in(ada.get(f"{user}/password"))
    stale = ada.post(f"{user}/password-link/end", token="stale")
    assert stale.status_code == 400
    assert 'value="link" id="choice-0" checked' in stale.text
    assert re.search(TICKED, stale.text)
    answer = ada.post(f"{user}/password-link/end")
    assert (answer.status_code, answer.location) == (303, user)
    words = words_in(ada.get(user))
    assert "Password link ended. It can no longer be used" in words
    assert "No password yet No open link" in words
    assert "End the link" not in words
    visitor.get(link)
    assert visitor.get("/password").status_code == 410
    listed = ada.get("/admin/users")
    assert emails_on(listed)[0] == "jo@example.com"
    assert "No password yet" in re.findall(r"<tr>.*?</tr>", listed.text, re.DOTALL)[1]
    vera = words_in(signed_in(app, cast.vera).get(user))
    assert "No open link" in vera
    assert "Make a password link" not in vera
    ada.post(f"{user}/deactivate")
    assert "has no password yet, and can be given a link again" in ada.get(f"{user}/reactivate").text


def test_deactivated_user_gets_no_link(app: Flask, ada: Visitor, cast: Cast) -> None:
    path = f"/admin/users/{cast.omar.id}/password"
    ada.post(f"/admin/users/{cast.omar.id}/deactivate")
    assert "Make a password link" not in ada.get(f"/admin/users/{cast.omar.id}").text
    page = ada.get(path)
    assert "A deactivated user gets no link." in page.text
    assert 'value="link"' not in page.text
    answer = ada.post(path, choice="link")
    assert answer.status_code == 409
    assert "This user is deactivated. Reactivate them first." in summary_in(answer)


def test_operator_makes_no_link_for_an_administrator(app: Flask, omar: Visitor, cast: Cast) -> None:
    assert omar.post(f"/admin/users/{cast.ada.id}/password", mark="", choice="link").status_code == 403
    assert omar.post(NEW_USER, email="jo@example.com", choice="link", global_role_id="role_admin").status_code == 403
    assert rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com' OR password_link_ends_at IS NOT NULL") == []


@pytest.mark.parametrize("password", ["short", ""])
def test_password_policy(ada: Visitor, cast: Cast, password: str) -> None:
    """A new password follows the password policy."""
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", choice="type", password=password)
    assert answer.status_code == 422
    words = "Enter a password" if not password else "Password must be at least 8 characters"
    assert problems_in(answer) == [("password", words)]


def test_generated_password(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A generated password is shown and works."""
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", choice="generate")
    assert answer.status_code == 200
    assert can_sign_in(app, "omar@example.com", html.unescape(generated_password_in(answer.text)))
    assert ada.get(LOGIN).status_code == 303


@pytest.mark.parametrize("choice", ["generate", "type"])
def test_password_sent_twice(app: Flask, ada: Visitor, cast: Cast, choice: str) -> None:
    """A form that is sent twice sets one password."""
    path = f"/admin/users/{cast.omar.id}/password"
    mark = mark_in(ada.get(path))
    first = ada.post(path, mark=mark, choice="generate")
    password = html.unescape(generated_password_in(first.text))
    again = ada.post(path, mark=mark, choice=choice, password="another horse battery")
    assert again.status_code == 422
    assert "no new password was set" in summary_in(again)
    assert can_sign_in(app, "omar@example.com", password)
    assert ada.post(path, mark=mark_in(again), choice="generate").status_code == 200


@pytest.mark.parametrize("mark", ["", "x", "2026-11-24T08:00:00+00:00"])
def test_password_with_wrong_mark(app: Flask, ada: Visitor, cast: Cast, mark: str) -> None:
    """A password is set only if the user is as the form showed them."""
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", mark=mark, choice="generate")
    assert answer.status_code == 422
    assert can_sign_in(app, "omar@example.com", PASSWORD)


def test_changed_during_hash(app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who changes during the hash keeps their password."""
    make_hash = PasswordPlace.hash

    def change(self: PasswordPlace, password: str) -> str:
        moment = clock.now()
        execute(app, "UPDATE users SET updated_at = :at WHERE id = :id", at=moment, id=cast.omar.id)
        return make_hash(self, password)

    monkeypatch.setattr(PasswordPlace, "hash", change)
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", choice="type", password="another horse battery")
    assert answer.status_code == 422
    assert can_sign_in(app, "omar@example.com", PASSWORD)


def test_own_password(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Your own password is changed on the account page, with the current one."""
    path = f"/admin/users/{cast.ada.id}/password"
    mark = rows(app, "SELECT updated_at FROM users WHERE id = :id", id=cast.ada.id)
    answers = [
        ada.get(path),
        ada.post(path, choice="generate"),
        ada.post(path, mark=str(mark[0][0]), choice="link"),
        ada.post(f"{path}-link/end"),
    ]
    assert [(answer.status_code, answer.location) for answer in answers] == [(303, "/account")] * 4
    assert "Make a password link" not in ada.get(f"/admin/users/{cast.ada.id}").text
    assert can_sign_in(app, "ada@example.com", PASSWORD)
