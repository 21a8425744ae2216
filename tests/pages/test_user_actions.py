"""The pages that change one user: edited by two at once, verified, deactivated, deleted, and the last who stays."""

import html
import re
from typing import Any

import pytest
from flask import Flask

from support.api import Answer
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import (
    LOGIN,
    Visitor,
    can_sign_in,
    generated_password_in,
    mark_in,
    problems_in,
    signed_in,
    summary_in,
)
from users import clock
from users.actors import terminal
from users.passwords.hashing import PasswordPlace
from users.roles import Permission, Role
from users.services import email_verification, user_changes

TERMINAL = terminal("req_test00000000")
MEANWHILE = "Somebody else changed this user after the page was opened, so nothing was saved."


def fields_of(page: Answer) -> dict[str, str]:
    """Return what the page's own form would send as it stands, but for the token."""
    form = page.text.partition("<main")[2]
    found = {}
    for tag in re.findall(r"<input[^>]+>", form):
        name, value = (re.search(rf'\b{attribute}="([^"]*)"', tag) for attribute in ("name", "value"))
        if name and name[1] != "csrf_token":
            found[name[1]] = html.unescape(value[1]) if value else ""
    for name, options in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        (found[name],) = re.findall(r'<option selected value="([^"]*)"', options)
    return found


def edit(browser: Visitor, user_id: str, opened: Answer | None = None, **typed: str) -> Answer:
    """Fill in the form for the user, as it was `opened` or as it is now, and send it."""
    path = f"/admin/users/{user_id}/edit"
    return browser.post(path, **{**fields_of(opened or browser.get(path)), **typed})


def user_row(app: Flask, user_id: str) -> tuple[str | None, ...]:
    """Return the email, the names and the role as they are stored."""
    query = "SELECT email, first_name, last_name, global_role_id FROM users WHERE id = :id"
    return tuple(rows(app, query, id=user_id)[0])


def acts_on(app: Flask, target_id: str) -> list[str]:
    """Return what was done to the user, or key, after it was made."""
    found = rows(app, "SELECT action FROM audit_events WHERE target_id = :id ORDER BY id", id=target_id)
    return [row.action for row in found][1:]


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


def test_saving_nothing_says_so_and_leaves_no_trace(app: Flask, ada: Visitor, cast: Cast) -> None:
    answer = edit(ada, cast.omar.id)
    assert answer.status_code == 200
    assert re.search(
        r'<div class="notice plain"[^>]*>\s*<p class="lead">Nothing was changed, so there was', answer.text
    )
    assert "There is a problem" not in answer.text
    assert acts_on(app, cast.omar.id) == []


@pytest.mark.parametrize("typed", [{"email": "omar@EXAMPLE.com"}, {"first_name": "Omar\u2028"}])
def test_what_is_stored_already_in_another_spelling_is_no_change(
    app: Flask, ada: Visitor, cast: Cast, typed: dict[str, str]
) -> None:
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


def test_an_address_that_is_taken_is_linked_to_who_has_it(ada: Visitor, cast: Cast) -> None:
    answer = edit(ada, cast.omar.id, email="sam@example.com")
    assert f'<a href="/admin/users/{cast.sam.id}"><bdi>View sam@example.com</bdi></a>' in answer.text


def test_what_the_address_was_is_no_obstacle_to_another_name(app: Flask, ada: Visitor, cast: Cast) -> None:
    execute(app, "UPDATE users SET email = 'sam@corp.local' WHERE id = :id", id=cast.sam.id)  # once allowed
    assert edit(ada, cast.sam.id, first_name="Sam").status_code == 303


def test_a_role_that_is_not_known_stays_until_another_is_chosen(app: Flask, ada: Visitor, cast: Cast) -> None:
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


def test_two_who_edit_one_user_are_told_and_lose_nothing(app: Flask, ada: Visitor, cast: Cast) -> None:
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


def test_two_who_want_the_same_do_not_hear_of_each_other(app: Flask, ada: Visitor, cast: Cast) -> None:
    grace = signed_in(app, make_user(app, "grace@example.com", Role.ADMIN))
    opened = ada.get(f"/admin/users/{cast.omar.id}/edit")
    edit(grace, cast.omar.id, last_name="Sy")
    assert edit(ada, cast.omar.id, opened, last_name="Sy", first_name="O.").status_code == 303
    assert user_row(app, cast.omar.id) == ("omar@example.com", "O.", "Sy", "role_operator")


def test_a_change_while_the_form_is_being_judged_is_told_too(
    app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_user = user_changes.update_user

    def change_first(*given: object, **more: object) -> object:
        execute(app, "UPDATE users SET first_name = 'Meanwhile' WHERE id = :id", id=cast.omar.id)
        return update_user(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(user_changes, "update_user", change_first)
    answer = edit(ada, cast.omar.id, last_name="Sy")
    assert answer.status_code == 422
    assert MEANWHILE in summary_in(answer)
    assert user_row(app, cast.omar.id) == ("omar@example.com", "Meanwhile", None, "role_operator")


def test_a_change_while_somebody_had_to_sign_in_again_is_told(app: Flask, ada: Visitor, cast: Cast) -> None:
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


def test_a_form_that_does_not_say_what_it_showed_saves_nothing(app: Flask, ada: Visitor, cast: Cast) -> None:
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


def test_taking_the_administrator_s_role_away_asks_first(app: Flask, ada: Visitor, cast: Cast) -> None:
    grace = make_user(app, "grace@example.com", Role.ADMIN)
    asked = edit(ada, grace.id, global_role_id="role_member", first_name="Grace")
    assert asked.status_code == 200
    assert "<h1>Take away the administrator’s role?</h1>" in asked.text
    assert "They and their API keys can then do only what the role “Member” allows." in asked.text
    assert user_row(app, grace.id) == ("grace@example.com", None, None, "role_admin")
    answer = ada.post(f"/admin/users/{grace.id}/edit", **fields_of(asked))
    assert answer.status_code == 303
    assert user_row(app, grace.id) == ("grace@example.com", "Grace", None, "role_member")


def test_the_last_administrator_keeps_the_role(app: Flask, ada: Visitor, cast: Cast) -> None:
    asked = edit(ada, cast.ada.id, global_role_id="role_operator")
    assert "only another administrator can give you the role back" in asked.text
    answer = ada.post(f"/admin/users/{cast.ada.id}/edit", **fields_of(asked))
    assert answer.status_code == 409
    words = "This is the last active administrator. Give another user the role first."
    assert problems_in(answer) == [("global_role_id", words)]
    assert user_row(app, cast.ada.id)[3] == "role_admin"


@pytest.mark.parametrize(("role", "stays"), [("role_operator", True), ("role_auditor", True), ("", False)])
def test_whoever_gives_up_their_role_goes_on_with_what_is_left(
    app: Flask, ada: Visitor, cast: Cast, role: str, stays: bool
) -> None:
    make_user(app, "grace@example.com", Role.ADMIN)
    asked = edit(ada, cast.ada.id, global_role_id=role)
    answer = ada.post(f"/admin/users/{cast.ada.id}/edit", **fields_of(asked))
    assert answer.status_code == 303
    assert ada.get(answer.location).status_code == 200
    assert answer.location == (f"/admin/users/{cast.ada.id}" if stays else "/admin/login")
    assert ada.is_in == stays
    assert ada.get("/admin/keys").status_code == (403 if stays else 303)


def test_an_address_is_marked_as_verified(app: Flask, ada: Visitor, cast: Cast) -> None:
    assert "Nobody has shown yet" in ada.get(f"/admin/users/{cast.omar.id}/verify").text
    answer = ada.post(f"/admin/users/{cast.omar.id}/verify")
    assert answer.status_code == 303
    page = ada.get(answer.location).text
    assert "Email address marked as verified" in page
    assert "Not yet" not in page
    assert "was verified on" in ada.get(f"/admin/users/{cast.omar.id}/verify").text
    assert acts_on(app, cast.omar.id) == ["user.verify"]


def test_an_address_that_nobody_saw_is_not_marked(app: Flask, ada: Visitor, cast: Cast) -> None:
    mark = mark_in(ada.get(f"/admin/users/{cast.omar.id}/verify"))
    execute(app, "UPDATE users SET email = 'o@example.com' WHERE id = :id", id=cast.omar.id)
    answer = ada.post(f"/admin/users/{cast.omar.id}/verify", mark=mark)
    assert answer.status_code == 422
    assert "The email address has changed since the page was opened" in summary_in(answer)
    assert rows(app, "SELECT 1 FROM users WHERE last_verified IS NOT NULL") == []


def test_a_link_to_hand_over_is_shown_once_and_works(app: Flask, ada: Visitor, cast: Cast, visitor: Visitor) -> None:
    answer = ada.post(f"/admin/users/{cast.omar.id}/verification")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    (link,) = re.findall(r'<code id="link-shown">http://localhost(/verify\?token=[^<]+)</code>', answer.text)
    assert 'data-copy="link-shown"' in answer.text
    assert "and works until <time datetime=" in " ".join(answer.text.split())
    assert visitor.get(html.unescape(link)).location == "/verify"
    assert "omar@example.com" in visitor.get("/verify").text
    token = link.partition("token=")[2]
    assert token not in ada.get(f"/admin/users/{cast.omar.id}").text
    assert acts_on(app, cast.omar.id) == ["verification.create"]


def test_the_address_beside_a_link_is_the_one_that_it_verifies(
    app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue = email_verification.issue

    def change_first(*given: Any, **more: Any) -> email_verification.IssuedLink:
        execute(app, "UPDATE users SET email = 'o@example.com' WHERE id = :id", id=cast.omar.id)
        return issue(*given, **more)

    monkeypatch.setattr(email_verification, "issue", change_first)
    page = ada.post(f"/admin/users/{cast.omar.id}/verification").text
    assert 'Send this link to <bdi dir="auto">o@example.com</bdi>' in page
    assert "omar@example.com" not in page


def test_no_link_is_made_to_an_address_that_is_not_known(app: Flask, ada: Visitor, cast: Cast) -> None:
    path, elsewhere = f"/admin/users/{cast.omar.id}/verify", {"base_url": "http://evil.example"}
    ada.client.set_cookie("enrol", ada.session_id or "", domain="evil.example")
    page = ada.client.get(path, **elsewhere)
    assert "ENROL_PUBLIC_URL" in page.text
    assert "/verification" not in page.text
    (token,) = set(re.findall(r'name="csrf_token" value="([^"]+)"', page.text))
    path = f"/admin/users/{cast.omar.id}/verification"
    answer = ada.client.post(path, data={"csrf_token": token}, **elsewhere)
    assert answer.status_code == 400
    assert "No link can be made" in summary_in(answer)
    assert acts_on(app, cast.omar.id) == []


def test_nobody_changes_who_holds_what_they_do_not(app: Flask, omar: Visitor, cast: Cast) -> None:
    page = omar.get(f"/admin/users/{cast.ada.id}").text
    assert "This user’s role can do more than yours" in page
    assert "/deactivate" not in page
    assert omar.post(f"/admin/users/{cast.ada.id}/deactivate").status_code == 403
    assert omar.post(f"/admin/users/{cast.ada.id}/password", choice="generate").status_code == 403
    assert can_sign_in(app, "ada@example.com", PASSWORD)


def test_deactivating_asks_first_and_says_the_effect(app: Flask, ada: Visitor, cast: Cast) -> None:
    page = ada.get(f"/admin/users/{cast.omar.id}/deactivate").text
    assert "can no longer sign in, and their sessions and API keys stop at once" in page
    answer = ada.post(f"/admin/users/{cast.omar.id}/deactivate")
    page = ada.get(answer.location).text
    assert "User deactivated" in page
    assert "/deactivate" not in page
    assert "This user is deactivated already" in ada.get(f"/admin/users/{cast.omar.id}/deactivate").text
    assert not can_sign_in(app, "omar@example.com", PASSWORD)


def test_the_last_administrator_stays(app: Flask, ada: Visitor, cast: Cast) -> None:
    answer = ada.post(f"/admin/users/{cast.ada.id}/deactivate")
    assert answer.status_code == 409
    assert "This is the last active administrator" in summary_in(answer)
    assert ada.is_in


def test_whoever_deactivates_themselves_is_signed_out(app: Flask, ada: Visitor, cast: Cast) -> None:
    make_user(app, "olga@example.com", Role.ADMIN)
    answer = ada.post(f"/admin/users/{cast.ada.id}/deactivate")
    assert answer.location == "/admin/login"
    assert ada.session_id is None
    assert "You are signed out" in ada.get(answer.location).text


@pytest.mark.parametrize("password", ["short", ""])
def test_a_new_password_is_judged_as_everywhere(ada: Visitor, cast: Cast, password: str) -> None:
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", choice="type", password=password)
    assert answer.status_code == 422
    words = "Enter a password" if not password else "Password must be at least 8 characters"
    assert problems_in(answer) == [("password", words)]


def test_a_new_generated_password_works_once_it_is_shown(app: Flask, ada: Visitor, cast: Cast) -> None:
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", choice="generate")
    assert answer.status_code == 200
    assert can_sign_in(app, "omar@example.com", html.unescape(generated_password_in(answer.text)))
    assert ada.get(LOGIN).status_code == 303


@pytest.mark.parametrize("choice", ["generate", "type"])
def test_a_password_is_set_once_however_often_the_form_is_sent(
    app: Flask, ada: Visitor, cast: Cast, choice: str
) -> None:
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
def test_a_password_is_set_only_for_the_user_as_the_form_showed_them(
    app: Flask, ada: Visitor, cast: Cast, mark: str
) -> None:
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", mark=mark, choice="generate")
    assert answer.status_code == 422
    assert can_sign_in(app, "omar@example.com", PASSWORD)


def test_a_user_who_changes_while_a_password_is_hashed_keeps_theirs(
    app: Flask, ada: Visitor, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_hash = PasswordPlace.hash

    def change(self: PasswordPlace, password: str) -> str:
        moment = clock.now()
        execute(app, "UPDATE users SET updated_at = :at WHERE id = :id", at=moment, id=cast.omar.id)
        return make_hash(self, password)

    monkeypatch.setattr(PasswordPlace, "hash", change)
    answer = ada.post(f"/admin/users/{cast.omar.id}/password", choice="type", password="another horse battery")
    assert answer.status_code == 422
    assert can_sign_in(app, "omar@example.com", PASSWORD)


def test_your_own_password_is_changed_with_the_current_one_only(app: Flask, ada: Visitor, cast: Cast) -> None:
    path = f"/admin/users/{cast.ada.id}/password"
    mark = rows(app, "SELECT updated_at FROM users WHERE id = :id", id=cast.ada.id)
    answers = [
        ada.get(path),
        ada.post(path, choice="generate"),
        ada.post(path, mark=str(mark[0][0]), choice="generate"),
    ]
    assert [(answer.status_code, answer.location) for answer in answers] == [(303, "/admin/account")] * 3
    assert can_sign_in(app, "ada@example.com", PASSWORD)


def test_reactivating_asks_first_and_lets_keys_work_again(app: Flask, ada: Visitor, cast: Cast) -> None:
    key = make_key(app, Permission.USERS_READ, owner=cast.omar)
    path = f"/admin/users/{cast.omar.id}/reactivate"
    assert "This user is active already" in ada.get(path).text
    ada.post(f"/admin/users/{cast.omar.id}/deactivate")
    assert app.test_client().get("/v1/user/me", headers={"X-API-Key": key}).status_code == 401
    assert path in ada.get(f"/admin/users/{cast.omar.id}").text
    assert "can sign in again with the password they had" in ada.get(path).text
    answer = ada.post(path)
    assert "User reactivated" in ada.get(answer.location).text
    assert app.test_client().get("/v1/user/me", headers={"X-API-Key": key}).status_code == 200
    assert can_sign_in(app, "omar@example.com", PASSWORD)


def test_deleting_asks_first_and_frees_the_address(app: Flask, ada: Visitor, cast: Cast) -> None:
    page = ada.get(f"/admin/users/{cast.omar.id}/delete").text
    assert "and a new user can have the address. This cannot be undone." in page
    answer = ada.post(f"/admin/users/{cast.omar.id}/delete")
    assert (answer.status_code, answer.location) == (303, "/admin/users")
    page = ada.get(answer.location).text
    assert re.search(
        r'<div class="notice good" role="status" tabindex="-1" autofocus>\s*<p class="lead">User deleted<', page
    )
    assert "omar@example.com" not in page
    assert not can_sign_in(app, "omar@example.com", PASSWORD)
    assert ada.create(email="omar@example.com").status_code == 303


def test_whoever_deletes_themselves_is_signed_out(app: Flask, ada: Visitor, cast: Cast) -> None:
    path = f"/admin/users/{cast.ada.id}/delete"
    assert "This is you" in ada.get(path).text
    answer = ada.post(path)
    assert answer.status_code == 409
    assert "This is the last active administrator" in summary_in(answer)
    make_user(app, "grace@example.com", Role.ADMIN)
    assert ada.post(path).location == "/admin/login"
    assert not ada.is_in


PAGES = ("edit", "password", "verify", "deactivate", "reactivate", "delete")


@pytest.mark.parametrize("act", [*PAGES, "verification"])
def test_a_user_who_was_deleted_meanwhile_is_told_of(app: Flask, ada: Visitor, cast: Cast, act: str) -> None:
    path = f"/admin/users/{cast.omar.id}/{act}"
    fields = fields_of(ada.get(path)) if act in PAGES else {}
    with app.app_context():
        user_changes.delete_user(cast.omar.id, actor=TERMINAL)
    answers = [ada.post(path, **{"mark": "", **fields, "first_name": "Other", "choice": "generate"})]
    answers += [ada.get(path)] if act in PAGES else []
    for answer in answers:
        assert answer.status_code == 404
        assert "<h1>This user has been deleted</h1>" in answer.text
        assert f'href="/admin/users/{cast.omar.id}"' in answer.text
    assert acts_on(app, cast.omar.id) == ["user.delete"]


@pytest.mark.parametrize("act", PAGES)
def test_only_what_may_be_done_is_offered(app: Flask, ada: Visitor, omar: Visitor, cast: Cast, act: str) -> None:
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.sam.id)
    target = cast.sam if act == "reactivate" else cast.omar
    link = f'href="/admin/users/{target.id}/{act}"'
    assert link in ada.get(f"/admin/users/{target.id}").text
    other = cast.sam if act == "reactivate" else make_user(app, "jo@example.com")
    seen = omar.get(f"/admin/users/{other.id}").text
    assert (f'href="/admin/users/{other.id}/{act}"' in seen) == (act != "delete")
    assert omar.get(f"/admin/users/{other.id}/{act}").status_code == (403 if act == "delete" else 200)


@pytest.mark.parametrize("act", [*PAGES, "verification"])
def test_an_operator_changes_no_administrator(app: Flask, omar: Visitor, cast: Cast, act: str) -> None:
    path = f"/admin/users/{cast.ada.id}/{act}"
    if act in PAGES:
        assert omar.get(path).status_code == 403
    seen = {"email": "e@example.com", "was-email": "ada@example.com"}
    assert omar.post(path, **{"mark": "", **seen, "choice": "generate"}).status_code == 403
    assert f'{act}"' not in omar.get(f"/admin/users/{cast.ada.id}").text.partition("<main")[2]
    assert set(acts_on(app, cast.ada.id)) == {"request.refuse"}
    assert user_row(app, cast.ada.id) == ("ada@example.com", "Ada", "Lovelace", "role_admin")
