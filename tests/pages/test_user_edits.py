"""The page that edits a user."""

import re

import pytest
from flask import Flask

from support.databases import execute, rows
from support.page_forms import acts_on, edit, fields_of, user_row
from support.people import PASSWORD, Cast, make_user
from support.visitors import (
    LOGIN,
    Visitor,
    problems_in,
    signed_in,
    summary_in,
)
from users.roles import Role
from users.services import user_changes

pytestmark = pytest.mark.one_database

MEANWHILE = "Somebody else changed this user after the page was opened, so nothing was saved."


def test_what_is_edited_is_saved_and_told(app: Flask, ada: Visitor, cast: Cast) -> None:
    page = ada.get(f"/admin/users/{cast.omar.id}/edit")
    assert "<title>Edit omar@example.com – Users – Enrol</title>" in page.text
    assert page.text.count("<h1>") == 1
    assert 'autocomplete="off"' in page.text
    assert 'selected value="role_operator"' in page.text
    answer = edit(ada, cast.omar.id, email="Omar.S@EXAMPLE.com", last_name=" Sy ", global_role_id="role_auditor")
    assert (answer.status_code, answer.location) == (303, f"/admin/users/{cast.omar.id}")
    assert "Changes saved" in ada.get(answer.location).text
    assert user_row(app, cast.omar.id) == ("Omar.S@example.com", "Omar", "Sy", "role_auditor")
    ((fields,),) = rows(app, "SELECT fields FROM audit_events WHERE action = 'user.update'")
    assert all(name in str(fields) for name in ("email", "last_name", "global_role_id"))
    assert "first_name" not in str(fields)


def test_nothing_changed(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Saving without a change says so and writes nothing."""
    answer = edit(ada, cast.omar.id)
    assert answer.status_code == 200
    assert re.search(
        r'<div class="notice plain"[^>]*>\s*<p class="lead">Nothing was changed, so there was', answer.text
    )
    assert "There is a problem" not in answer.text
    assert acts_on(app, cast.omar.id) == []


@pytest.mark.parametrize("typed", [{"email": "omar@EXAMPLE.com"}, {"first_name": "Omar\u2028"}])
def test_same_email_other_spelling(app: Flask, ada: Visitor, cast: Cast, typed: dict[str, str]) -> None:
    """The stored email in another spelling is no change."""
    answer = edit(ada, cast.omar.id, **typed)
    assert answer.status_code == 200
    assert "Nothing was changed, so there was nothing to save" in answer.text
    assert acts_on(app, cast.omar.id) == []


@pytest.mark.parametrize("typed", [{"last_name": "Sy"}, {"email": "omar.sy@EXAMPLE.org"}])
def test_a_form_sent_twice_saves_once(app: Flask, ada: Visitor, cast: Cast, typed: dict[str, str]) -> None:
    opened = ada.get(f"/admin/users/{cast.omar.id}/edit")
    answers = [edit(ada, cast.omar.id, opened, **typed) for _ in range(2)]
    assert [answer.location for answer in answers] == [f"/admin/users/{cast.omar.id}"] * 2
    assert acts_on(app, cast.omar.id) == ["user.update"]


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ({"email": ""}, ("email", "Enter an email address")),
        ({"email": "omar@"}, ("email", "Enter an email address in the correct format, like name@example.com")),
        ({"first_name": "x" * 256}, ("first_name", "First name must be 255 characters or fewer")),
        ({"last_name": "a\u202eb"}, ("last_name", "Last name must not contain line breaks or control characters")),
        (
            {"global_role_id": "x"},
            ("global_role_id", "Choose one of the roles: Administrator, Operator, Auditor, Member"),
        ),
        ({"email": "SAM@example.com"}, ("email", "A user with this email address already exists")),
    ],
    ids=str,
)
def test_an_edit_is_judged_as_everywhere(
    app: Flask, ada: Visitor, cast: Cast, typed: dict[str, str], problem: tuple[str, str]
) -> None:
    answer = edit(ada, cast.omar.id, **{"first_name": "Other", **typed})
    assert answer.status_code == 422
    assert "<title>Error: Edit" in answer.text
    assert problems_in(answer) == [problem]
    assert f'<a href="#{problem[0]}">' in answer.text
    if "first_name" not in typed:
        assert 'value="Other"' in answer.text
    assert user_row(app, cast.omar.id) == ("omar@example.com", "Omar", None, "role_operator")


def test_email_taken(ada: Visitor, cast: Cast) -> None:
    """The problem links to the user who has the email."""
    answer = edit(ada, cast.omar.id, email="sam@example.com")
    assert f'<a href="/admin/users/{cast.sam.id}"><bdi>View sam@example.com</bdi></a>' in answer.text


def test_old_email_stays(app: Flask, ada: Visitor, cast: Cast) -> None:
    """An email that would be refused today does not stop a change of the name."""
    execute(app, "UPDATE users SET email = 'sam@corp.local' WHERE id = :id", id=cast.sam.id)  # once allowed
    assert edit(ada, cast.sam.id, first_name="Sam").status_code == 303


def test_unknown_role(app: Flask, ada: Visitor, cast: Cast) -> None:
    """An unknown role stays until another is chosen."""
    execute(app, "UPDATE users SET global_role_id = 'role_newer' WHERE id = :id", id=cast.sam.id)
    page = ada.get(f"/admin/users/{cast.sam.id}/edit")
    assert '<option selected value="role_newer">role_newer – not known to this version of Enrol</option>' in page.text
    assert edit(ada, cast.sam.id, first_name="Sam").status_code == 303
    assert user_row(app, cast.sam.id) == ("sam@example.com", "Sam", None, "role_newer")
    refused = edit(ada, cast.sam.id, email="sam@", last_name="Sy")
    assert fields_of(refused)["global_role_id"] == "role_newer"
    assert edit(ada, cast.sam.id, global_role_id="role_member").status_code == 303
    assert user_row(app, cast.sam.id)[3] == "role_member"
    assert "role_newer" not in ada.get(f"/admin/users/{cast.sam.id}/edit").text


def test_two_edits(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The second of two administrators is told what changed and loses nothing."""
    grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
    opened = ada.get(f"/admin/users/{cast.omar.id}/edit")
    assert edit(grace, cast.omar.id, first_name="Omar B.", last_name="Sy", global_role_id="").status_code == 303
    answer = edit(ada, cast.omar.id, opened, email="o@example.com", first_name="O.")
    assert answer.status_code == 422
    assert MEANWHILE in summary_in(answer)
    assert problems_in(answer) == [
        ("first_name", "First name was changed to “\u2068Omar B.\u2069” meanwhile. Saving puts yours in its place"),
        ("last_name", "Last name was changed to “\u2068Sy\u2069” meanwhile"),
        ("global_role_id", "Role was removed meanwhile"),
    ]
    assert user_row(app, cast.omar.id) == ("omar@example.com", "Omar B.", "Sy", None)
    now = fields_of(answer)
    assert [now[name] for name in ("email", "first_name", "last_name")] == ["o@example.com", "O.", "Sy"]
    assert now["global_role_id"] == ""
    again = ada.post(f"/admin/users/{cast.omar.id}/edit", **now)
    assert again.status_code == 303
    assert user_row(app, cast.omar.id) == ("o@example.com", "O.", "Sy", None)


def test_two_equal_edits(app: Flask, ada: Visitor, cast: Cast) -> None:
    """Two administrators who save the same value see no problem."""
    grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
    opened = ada.get(f"/admin/users/{cast.omar.id}/edit")
    edit(grace, cast.omar.id, last_name="Sy")
    assert edit(ada, cast.omar.id, opened, last_name="Sy", first_name="O.").status_code == 303
    assert user_row(app, cast.omar.id) == ("omar@example.com", "O.", "Sy", "role_operator")


def test_another_spelling_stays_verified(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The address of another spelling is the same, and so is its verification."""
    ada.post(f"/admin/users/{cast.sam.id}/verify")
    assert edit(ada, cast.sam.id, email="Sam＠example.com\u200b").status_code == 303
    page = ada.get(f"/admin/users/{cast.sam.id}").text
    assert "Sam@example.com" in page
    assert "Not yet" not in page.partition("Email verified")[2][:60]


def test_edit_during_save(app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change during the save is pointed out too."""
    update_user = user_changes.update_user

    def change_first(*given: object, **more: object) -> object:
        execute(app, "UPDATE users SET first_name = 'Meanwhile' WHERE id = :id", id=cast.omar.id)
        return update_user(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(user_changes, "update_user", change_first)
    answer = edit(ada, cast.omar.id, last_name="Sy")
    assert answer.status_code == 422
    assert MEANWHILE in summary_in(answer)
    assert user_row(app, cast.omar.id) == ("omar@example.com", "Meanwhile", None, "role_operator")


def test_edit_during_sign_in(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A change during a new sign-in is pointed out."""
    path = f"/admin/users/{cast.omar.id}/edit"
    typed = {**fields_of(ada.get(path)), "last_name": "Sy"}
    ada.client.delete_cookie("enrol")
    asked = ada.post(path, **typed)
    assert "Your session has ended" in asked.text
    execute(app, "UPDATE users SET first_name = 'Meanwhile' WHERE id = :id", id=cast.omar.id)
    kept = {f"kept-{name}": value for name, value in typed.items()}
    assert all(f'name="{name}"' in asked.text for name in kept)
    page = ada.post(LOGIN, email="ada@example.com", password=PASSWORD, next=path, **kept)
    assert problems_in(page) == [("first_name", "First name was changed to “\u2068Meanwhile\u2069” meanwhile")]
    assert fields_of(page)["last_name"] == "Sy"


def test_edit_without_seen_values(app: Flask, ada: Visitor, cast: Cast) -> None:
    """A form without the values that it showed saves nothing."""
    answer = ada.post(f"/admin/users/{cast.omar.id}/edit", email="o@example.com", global_role_id="")
    assert answer.status_code == 422
    assert "This page was open for too long" in summary_in(answer)
    assert 'value="o@example.com"' in answer.text
    assert acts_on(app, cast.omar.id) == []


def test_an_operator_edits_without_roles(app: Flask, omar: Visitor, cast: Cast) -> None:
    page = omar.get(f"/admin/users/{cast.sam.id}/edit")
    assert "global_role_id" not in page.text
    assert edit(omar, cast.sam.id, first_name="Sam").status_code == 303
    forged = {"global_role_id": "role_operator", "was-global_role_id": ""}
    assert edit(omar, cast.sam.id, **forged).status_code == 403
    assert user_row(app, cast.sam.id) == ("sam@example.com", "Sam", None, None)
    assert edit(omar, cast.omar.id, first_name="O.").status_code == 303  # themselves too


def test_demote(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The page asks first."""
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    asked = edit(ada, grace.id, global_role_id="role_member", first_name="Grace")
    assert asked.status_code == 200
    assert "<h1>Take away the administrator’s role?</h1>" in asked.text
    assert "They and their API keys can then do only what the role “Member” allows." in asked.text
    assert user_row(app, grace.id) == ("grace@example.com", None, None, "role_admin")
    answer = ada.post(f"/admin/users/{grace.id}/edit", **fields_of(asked))
    assert answer.status_code == 303
    assert user_row(app, grace.id) == ("grace@example.com", "Grace", None, "role_member")


def test_demote_last(app: Flask, ada: Visitor, cast: Cast) -> None:
    """The last administrator keeps the role."""
    asked = edit(ada, cast.ada.id, global_role_id="role_operator")
    assert "only another administrator can give you the role back" in asked.text
    answer = ada.post(f"/admin/users/{cast.ada.id}/edit", **fields_of(asked))
    assert answer.status_code == 409
    words = "This is the last active administrator. Give another user the role first."
    assert problems_in(answer) == [("global_role_id", words)]
    assert user_row(app, cast.ada.id)[3] == "role_admin"


@pytest.mark.parametrize(
    ("role", "sees_users"), [("role_operator", True), ("role_auditor", True), ("role_member", False), ("", False)]
)
def test_demote_yourself(app: Flask, ada: Visitor, cast: Cast, role: str, sees_users: bool) -> None:
    """An administrator who gives up the role goes on with the permissions that are left, or with their account."""
    make_user(app, "grace@example.com", Role.ADMIN)
    asked = edit(ada, cast.ada.id, global_role_id=role)
    answer = ada.post(f"/admin/users/{cast.ada.id}/edit", **fields_of(asked))
    assert answer.status_code == 303
    assert answer.location == (f"/admin/users/{cast.ada.id}" if sees_users else "/account")
    page = ada.get(answer.location)
    assert page.status_code == 200
    assert "Changes saved" in page.text
    assert ('href="/admin/users"' in page.text) == sees_users
    assert ada.get("/admin/keys").status_code == 403
