"""How strong a password must be that a user with a permission chooses: it opens the pages, perhaps by itself."""

from collections.abc import Callable

import pytest
from flask import Flask

from support.api import Answer, Api, status_and_code
from support.databases import execute, rows
from support.factors import add_app, confirm, fully_signed_in, grow_old
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import Visitor, can_sign_in, problems_in, signed_in
from users.actors import terminal
from users.roles import ALL_PERMISSIONS, Role
from users.services.links import password_links, setup_link
from users.storage.models import User

pytestmark = pytest.mark.one_database

SHORT, COMMON = "sunlit 14 fogs", "123456789012345"  # of 14 characters; of 15, on the list of common passwords
TOO_SHORT, TOO_COMMON = (
    "Password must be at least 15 characters",
    "This password is on a list of common passwords. Choose a different one",
)
REQUIRED = {"ENROL_REQUIRE_SECOND_FACTOR": "all"}
Send = Callable[[str], Answer]  # sends the form with this password
Place = tuple[Answer, Send]  # the page with the form, and how to send it


def at_setup(app: Flask, _user: User) -> Place:
    """The form for the first administrator."""
    execute(app, "UPDATE users SET is_active = false")
    with app.app_context():
        token = setup_link.issue()
    visitor = Visitor(app.test_client())
    page = visitor.get(f"/setup?token={token}", follow_redirects=True)
    return page, lambda password: visitor.post(
        "/setup", email="first@example.com", password=password, token=visitor.token("/setup")
    )


def at_a_link(app: Flask, user: User) -> Place:
    with app.app_context():
        link = password_links.make(user.id, actor=terminal("req_test00000000")).token
    visitor = Visitor(app.test_client())
    page = visitor.get(f"/password?token={link}", follow_redirects=True)
    return page, lambda password: visitor.post(
        "/password", link=link, password=password, token=visitor.token("/password")
    )


def at_a_required_change(app: Flask, user: User) -> Place:
    execute(app, "UPDATE users SET password_change_required = true WHERE id = :id", id=user.id)
    browser, there = signed_in(app, user), "/account/password"
    return browser.get(there), lambda password: browser.post(there, password=password, token=browser.token(there))


def at_the_account(app: Flask, user: User) -> Place:
    browser = signed_in(app, user)
    return browser.get("/account"), lambda password: browser.post(
        "/account", current_password=PASSWORD, password=password
    )


def at_the_account_with_factor(app: Flask, user: User) -> Place:
    browser = fully_signed_in(app, user, add_app(app, user))
    return browser.get("/account"), lambda password: browser.post(
        "/account", current_password=PASSWORD, password=password
    )


PLACES = (at_setup, at_a_link, at_a_required_change, at_the_account)


@pytest.mark.parametrize("place", PLACES)
def test_only_factor(app: Flask, cast: Cast, place: Callable[[Flask, User], Place]) -> None:
    """The password is all that a sign-in needs: 15 characters, and none of the common ones."""
    page, send = place(app, cast.vera)
    assert "At least 15 characters." in page.text
    for password, words in ((SHORT, TOO_SHORT), (COMMON, TOO_COMMON)):
        answer = send(password)
        assert (answer.status_code, problems_in(answer)) == (422, [("password", words)])
        assert "At least 15 characters." in answer.text
    assert send(f"{SHORT}!").status_code == 303


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("settings", [REQUIRED])
def test_second_factor_required(app: Flask, cast: Cast, place: Callable[[Flask, User], Place]) -> None:
    """Beside a second factor 8 characters are enough; the common passwords are refused all the same."""
    if place is at_the_account:  # it opens to who has the factor
        page, send = at_the_account_with_factor(app, cast.vera)
    else:
        page, send = place(app, cast.vera)
    assert "At least 8 characters." in page.text
    for password, words in (
        ("1234567", "Password must be at least 8 characters"),
        ("password1", TOO_COMMON),
        (COMMON, TOO_COMMON),
    ):
        assert problems_in(send(password)) == [("password", words)]
    assert send("fog 14 x").status_code == 303


@pytest.mark.parametrize("place", PLACES[1:])
@pytest.mark.parametrize("settings", [{}, REQUIRED])
def test_member(app: Flask, cast: Cast, place: Callable[[Flask, User], Place]) -> None:
    """The rules of the installation alone, for who holds no permission."""
    page, send = place(app, cast.sam)
    assert "At least 8 characters." in page.text
    assert problems_in(send("1234567")) == [("password", "Password must be at least 8 characters")]
    assert send("password1").status_code == 303


@pytest.mark.parametrize(
    "settings", [{**required, "ENROL_PASSWORD_MIN_LENGTH": "20"} for required in ({}, REQUIRED)], ids=("off", "all")
)
def test_longer_minimum_of_the_installation(app: Flask, cast: Cast) -> None:
    page, send = at_a_link(app, cast.vera)
    assert "At least 20 characters." in page.text
    assert problems_in(send("x 15 characters")) == [("password", "Password must be at least 20 characters")]


def test_passwords_that_others_set(app: Flask, cast: Cast, ada: Visitor) -> None:
    """The API and the form for another user ask for 8 characters alone, also where the user holds a permission."""
    api = Api(app.test_client(), make_key(app, *ALL_PERMISSIONS))
    assert status_and_code(api.patch_user(cast.vera.id, password="1234567")) == (422, "PASSWORD_TOO_SHORT")
    assert api.patch_user(cast.vera.id, password="password1").status_code == 200
    assert can_sign_in(app, cast.vera.email, "password1")
    there = f"/admin/users/{cast.vera.id}/password"
    assert problems_in(ada.post(there, choice="type", password="1234567")) == [
        ("password", "Password must be at least 8 characters")
    ]
    assert ada.post(there, choice="type", password="password2").status_code == 303
    assert can_sign_in(app, cast.vera.email, "password2")


@pytest.mark.parametrize(
    "settings", [{"ENROL_PASSWORD_BLOCKLIST": "on", "ENROL_PASSWORD_MIN_LENGTH": "20"}], ids=["strict"]
)
def test_stored_password_that_is_weak(app: Flask, cast: Cast) -> None:
    """It goes on to work: no rule is applied where a password is only checked, and its hash stays as it is."""
    eve = make_user(app, "eve@example.com", Role.ADMIN, "password1")
    stored = rows(app, "SELECT password_hash FROM users WHERE id = :id", id=eve.id)
    assert can_sign_in(app, eve.email, "password1")
    api = Api(app.test_client(), make_key(app, *ALL_PERMISSIONS))
    verified = api.call("POST", "/v1/user/verify-password", json={"email": eve.email, "password": "password1"})
    assert verified.json["valid"] is True
    browser = Visitor(app.test_client())
    browser.sign_in(eve.email, "password1")
    grow_old(app, eve)
    assert confirm(browser, password="password1").status_code == 303
    assert rows(app, "SELECT password_hash FROM users WHERE id = :id", id=eve.id) == stored
