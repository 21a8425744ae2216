"""The pages about users: the sign-up form in all its states, the list, one user and what can be done with it."""

import html
import json
import re
import shlex
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.databases import execute, rewrite_audit, rows
from support.list_pages import caption, emails_on, link
from support.people import PASSWORD, Cast, make_user
from support.visitors import NEW_USER, Visitor, can_sign_in, generated_password_in, problems_in, signed_in, summary_in
from users import clock, roles
from users.actors import terminal
from users.passwords.policy import GENERATED_ALPHABET
from users.roles import Permission, Role
from users.services import user_changes

pytestmark = pytest.mark.one_database


def new_id(answer_location: str) -> str:
    """Return the id of the user that a redirect leads to."""
    return str(re.findall(r"usr_[0-9a-f]{32}", answer_location)[0])


def test_form_html(ada: Visitor) -> None:
    """The form is plain HTML; the server validates."""
    page = ada.get(NEW_USER).text
    assert "<title>Create a user – Users – Enrol</title>" in page
    assert page.count("<h1>") == 1
    assert "novalidate" in page
    assert not re.search(r"\s(maxlength|minlength|required|placeholder|disabled)\b", page)
    email = re.findall(r'<input[^>]+id="email"[^>]*>', page)[0]
    for attribute in (
        'type="email"',
        'inputmode="email"',
        'spellcheck="false"',
        'autocapitalize="none"',
        'autocomplete="off"',
    ):
        assert attribute in email
    assert 'autocomplete="new-password"' in page
    order = [
        page.index(f'id="{name}"')
        for name in (
            "email",
            "first_name",
            "last_name",
            "choice",
            "password",
            "password_change_required",
            "global_role_id",
        )
    ]
    assert order == sorted(order)
    assert "At least 8 characters. Spaces are fine. Three or four random words work well." in page
    assert re.findall(r'value="(\w+)" id="choice-\d"( checked)?', page) == [
        ("link", " checked"),
        ("generate", ""),
        ("type", ""),
    ]


@pytest.mark.parametrize("settings", [{"ENROL_PASSWORD_MIN_LENGTH": "20"}])
def test_password_setting(app: Flask, cast: Cast) -> None:
    """The hint and the generator follow the setting."""
    ada = signed_in(app, cast.ada)
    assert "At least 20 characters." in ada.get(NEW_USER).text
    page = ada.post(NEW_USER, email="jo@example.com", choice="generate")
    assert page.status_code == 200
    assert len(generated_password_in(page.text)) == 20


def test_create_with_typed_password(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A create with a typed password leads to the user."""
    answer = ada.create(email=" Jo@EXAMPLE.com ", first_name="Jo", last_name="", global_role_id="role_auditor")
    assert answer.status_code == 303
    user_id = new_id(answer.location)
    page = ada.get(answer.location).text
    assert "User created" in page
    assert f'<code id="new-user-id" translate="no">{user_id}</code>' in page
    assert 'data-copy="new-user-id"' in page
    assert "Create another user" in page
    assert "Do this with the API" in page
    assert "flask users create" in page
    assert "http://localhost/v1/user/" in page
    assert PASSWORD not in page
    ((kind, actor),) = rows(app, "SELECT actor_kind, actor_user_id FROM audit_events WHERE target_id = :id", id=user_id)
    assert (kind, actor) == ("session", cast.ada.id)
    assert can_sign_in(app, "Jo@example.com", PASSWORD)


def test_do_this_with_the_api(app: Flask, ada: Visitor) -> None:
    """The curl and the command that are shown can be pasted."""
    names = {"first_name": "Zoë “Zo”", "last_name": "O'Neil $(id)"}
    page = ada.get(ada.create(email="-jo@example.com", global_role_id="role_auditor", **names).location).text
    curl, command = (html.unescape(text) for text in re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.DOTALL))
    sent = shlex.split(curl.replace("\\\n", " "))
    assert json.loads(sent[-1]) == {"email": "-jo@example.com", **names, "password": "PASSWORD"}
    assert sent[3] == "http://localhost/v1/user/"
    execute(app, "UPDATE users SET email_key = 'other@example.com' WHERE email = '-jo@example.com'")
    result = app.test_cli_runner().invoke(args=shlex.split(command)[1:])
    assert result.exit_code == 0, result.stderr
    made = rows(app, "SELECT email, first_name, last_name, global_role_id FROM users WHERE email LIKE '-jo%'")
    assert len(made) == 2
    assert len({tuple(row) for row in made}) == 1


def test_create_with_generated_password(app: Flask, ada: Visitor) -> None:
    """A generated password is shown once."""
    answer = ada.post(
        NEW_USER, email="jo@example.com", choice="generate", password="left over", global_role_id="role_auditor"
    )
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    password = generated_password_in(answer.text)
    assert len(password) == 16
    assert set(password) <= set(GENERATED_ALPHABET)
    assert can_sign_in(app, "jo@example.com", password)
    user_id = new_id(answer.text)
    for path in (f"/admin/users/{user_id}", "/admin/users"):
        assert password not in ada.get(path).text


@pytest.mark.parametrize("choice", ["generate", "type"])
def test_role_needs_second_call(ada: Visitor, choice: str) -> None:
    """The page says that the API gives a role in a second call."""
    for role in ("role_auditor", ""):
        answer = ada.create(email=f"jo{role}@example.com", choice=choice, global_role_id=role)
        page = answer.text if choice == "generate" else ada.get(answer.location).text
        panel = html.unescape(page.partition('id="by-api"')[2])
        words = '<code>PATCH /v1/user/{id}</code> with <code>{"global_role_id": "role_auditor"}</code>'
        assert (words in panel) == bool(role)
        assert ("PATCH" in panel) == bool(role)


def test_second_click(ada: Visitor) -> None:
    """A second click says that you created the user a moment ago."""
    assert ada.post(NEW_USER, email="jo@example.com", choice="generate").status_code == 200
    again = ada.post(NEW_USER, email="jo@example.com", choice="generate")
    assert again.status_code == 422
    assert problems_in(again) == [("email", "A user with this email address already exists")]
    words = " ".join(summary_in(again).split())
    assert words.endswith("already exists: View jo@example.com, created by you a moment ago")
    (path,) = set(re.findall(r'href="(/admin/users/usr_[^"]+)"', again.text))
    page = ada.get(path).text
    offer = f'If you missed the generated password, <a href="{path.partition("?")[0]}/password">set a new password</a>.'
    assert offer in page
    assert page.index(offer) < page.index(">Edit<")
    (path,) = set(re.findall(r'href="(/admin/users/usr_[^"]+)"', ada.create().text))
    typed = ada.get(path).text
    assert "Created a moment ago." in typed
    assert "If you missed" not in typed
    assert page.index("Set a new password") < page.index("Deactivate<")


def test_a_taken_email_says_who_has_it(app: Flask, ada: Visitor, cast: Cast) -> None:
    rewrite_audit(app, "UPDATE audit_events SET at = :at", at=clock.now() - timedelta(days=1))
    again = ada.create(email="OMAR@example.com")
    assert f'<a href="/admin/users/{cast.omar.id}"><bdi>View omar@example.com</bdi></a>' in again.text
    assert "a moment ago" not in again.text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("jo@gmial.com", "jo@gmail.com"),
        ("o’brien@example.com", "o&#39;brien@example.com"),
        ("o’brien@gmial.com", "o&#39;brien@gmail.com"),
        ("o'brien@example.com", None),
        ("jo@gmail.com", None),
        ("jo@mail.com", None),
    ],
)
def test_likely_typo(ada: Visitor, typed: str, meant: str | None) -> None:
    """A likely typo in the domain, or a curly apostrophe, is pointed out and is no error."""
    answer = ada.create(email=typed)
    assert answer.status_code == 303
    page = ada.get(answer.location).text
    assert ("Is the address right?" in page) == bool(meant)
    if meant:
        (edit,) = re.findall(r'<a href="(/admin/users/usr_\w+/edit[^"]+)">change the address<', page)
        shown = f'id="email" inputmode="email" name="email" spellcheck="false" type="email" value="{meant}"'
        assert shown in ada.get(edit).text


def test_offered_roles(ada: Visitor, omar: Visitor) -> None:
    """Only roles within the administrator's permissions are offered."""
    assert re.findall(r'<option[^>]* value="(\w*)"', ada.get(NEW_USER).text) == ["", *Role]
    assert "<option" not in omar.get(NEW_USER).text
    assert omar.create().status_code == 303
    assert omar.create(email="eve@example.com", global_role_id="role_admin").status_code == 403


def test_role_beyond_permissions(omar: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role beyond the administrator's permissions is refused."""
    assigning = Role.OPERATOR.permissions | {Permission.ROLES_ASSIGN}
    monkeypatch.setitem(roles._GRANTS, Role.OPERATOR, assigning)
    assert re.findall(r'<option[^>]* value="(\w*)"', omar.get(NEW_USER).text) == ["", Role.OPERATOR, Role.MEMBER]
    assert omar.create(global_role_id="role_auditor").status_code == 403


def test_role_does_not_exist(ada: Visitor) -> None:
    """The problem names the roles as the page does."""
    answer = ada.create(global_role_id="role_king")
    words = "Choose one of the roles: Administrator, Operator, Auditor, Member"
    assert problems_in(answer) == [("global_role_id", words)]


def test_prefilled_form(ada: Visitor) -> None:
    """`?email=` fills the form."""
    assert 'value="jo@example.com"' in ada.get(f"{NEW_USER}?email=jo@example.com").text


def test_json_is_not_a_form(app: Flask, ada: Visitor) -> None:
    answer = ada.client.post(NEW_USER, json={"email": 5, "csrf_token": ada.token("/account")})
    assert answer.status_code == 400
    assert rows(app, "SELECT 1 FROM users WHERE email LIKE 'jo%'") == []


def test_reload_after_create(ada: Visitor) -> None:
    """A reload after success shows the user."""
    answer = ada.create()
    for _ in range(2):
        assert ada.get(answer.location).status_code == 200
    assert 'value="jo@example.com"' not in ada.get(NEW_USER).text


def test_list_of_users(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The list is newest first and paged both ways."""
    for number in range(60):
        make_user(app, f"user{number:02}@example.com")
    pages, path = [], "/admin/users"
    while path:
        page = ada.get(path)
        pages.append(emails_on(page))
        path = link(page, "Next")
    assert [len(one) for one in pages] == [50, 14]
    newest = [f"user{number:02}@example.com" for number in reversed(range(60))]
    assert [email for one in pages for email in one][:60] == newest
    assert caption(page) == "51 to 64 of 64 users, newest first"
    first = ada.get(link(page, "Previous"))
    assert link(first, "Previous") == ""
    assert emails_on(first) == pages[0]


@pytest.mark.parametrize("query", ["before=x", "after=%00", "before=usr_" + "0" * 32, "after=usr_" + "f" * 32])
def test_bad_place_in_list(ada: Visitor, query: str) -> None:
    """A `before` or `after` that is no id still shows a page."""
    assert ada.get(f"/admin/users?{query}").status_code == 200


def test_list_status(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The list says who is deactivated and shows no deleted user."""
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.omar.id)
    execute(app, "UPDATE users SET deleted_at = created_at WHERE id = :id", id=cast.sam.id)
    page = ada.get("/admin/users")
    assert '<span class="tag">Deactivated</span>' in page.text
    assert caption(page) == "3 users, newest first"
    assert "sam@example.com" not in emails_on(page)


def test_deleted_user(app: Flask, ada: Visitor, cast: Cast, api: Api) -> None:
    """The page of a deleted user offers no action but to restore them."""
    with app.app_context():
        user_changes.delete_user(cast.sam.id, actor=terminal("req_test00000000"))
    page = ada.get(f"/admin/users/{cast.sam.id}")
    assert page.status_code == 200
    assert re.search(r"This user was deleted on <time datetime=", page.text)
    assert "<dt>Deleted</dt>" in page.text
    assert '<span class="tag">Deleted</span>' in page.text
    assert "sam@example.com" in page.text
    assert "What happened lately" in page.text
    main = page.text.partition("<main")[2]
    assert "<form" not in main
    assert re.findall(f'/admin/users/{cast.sam.id}/(.+?)"', main) == ["restore"]
    assert emails_on(ada.get("/admin/users?status=deleted")) == ["sam@example.com"]
    assert api.get(f"/v1/user/{cast.sam.id}").status_code == 404


def test_only_one_user(app: Flask) -> None:
    """A list of one user says what to do next."""
    ada = make_user(app, "ada@example.com", Role.ADMIN)
    page = signed_in(app, ada).get("/admin/users").text
    assert "Create the first one here, or with the API." in page
    assert "/admin/start" in page


def test_people_s_texts_are_shown_as_texts(ada: Visitor) -> None:
    answer = ada.create(first_name="<script>alert(1)</script>", last_name='"><b>')
    page = ada.get(answer.location).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_user_history(ada: Visitor, cast: Cast, runner: FlaskCliRunner) -> None:
    """A user's page shows the recent events."""
    ada.post(f"/admin/users/{cast.omar.id}/password", choice="generate")
    page = ada.get(f"/admin/users/{cast.omar.id}").text
    told = [re.sub(r"<[^>]+>", "", line).strip() for line in re.findall(r"<li><span>(.*?)</span> <span", page)]
    assert told == [
        "ada@example.com set a new password for this user",
        "The command line created this user: Email address, First name, Role, Password",
    ]
    assert "Omar" in page
    assert "Operator" in page


def test_history_needs_permission(app: Flask, cast: Cast, omar: Visitor) -> None:
    """The recent events need the permission to read the audit trail."""
    assert "What happened lately" not in omar.get(f"/admin/users/{cast.sam.id}").text
    assert "What happened lately" in signed_in(app, cast.vera).get(f"/admin/users/{cast.sam.id}").text


def test_an_auditor_sees_no_actions(app: Flask, cast: Cast) -> None:
    vera = signed_in(app, cast.vera)
    assert ">Actions<" not in vera.get(f"/admin/users/{cast.sam.id}").text
    assert "Create a user" not in vera.get("/admin/users").text
    assert vera.get(NEW_USER).status_code == 403


@pytest.mark.parametrize("settings", [{"ENROL_PASSWORD_MIN_LENGTH": "20"}])
def test_cli_password_setting(runner: FlaskCliRunner) -> None:
    """The command line's generator follows the setting too."""
    result = runner.invoke(args=["users", "create", "jo@example.com", "--generate-password"])
    assert result.exit_code == 0
    assert len(result.stdout.strip()) == 20
