"""The life of a second factor in a real browser without JavaScript, by keyboard alone, where one is required."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from pyotp import TOTP

from support.application import dispose
from support.chromium import Keyboard, Site, started
from support.databases import execute
from support.factors import add_app, grow_old
from support.people import PASSWORD, make_user
from users.roles import Role

if TYPE_CHECKING:
    from playwright.sync_api import Page

ADA, BEA = "ada@example.com", "bea@example.com"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A new installation whose administrators must have a second factor."""
    with started(tmp_path, ENROL_REQUIRE_SECOND_FACTOR="administrators") as made:
        yield made


@pytest.fixture
def app(site: Site) -> Iterator[Flask]:
    """An application on the same database, with a secret key of its own."""
    made = site.app()
    yield made
    dispose(made)


@pytest.fixture
def hand(opened: "Callable[..., Page]") -> Keyboard:
    """A browser without JavaScript, used by keyboard."""
    return Keyboard(opened(java_script_enabled=False))


def test_journey(app: Flask, site: Site, hand: Keyboard) -> None:
    """Add an app at the sign-in, sign in with it, lose the phone, get another one, confirm, and reset a colleague."""
    ada, bea, page = make_user(app, ADA, Role.ADMIN), make_user(app, BEA, Role.ADMIN), hand.page
    add_app(app, bea)
    sign_in(hand, site, ADA)
    page.goto(f"{site.base_url}/admin/users")
    assert page.inner_text("h1") == "Add a second factor"
    old, codes = add_first_app(app, hand)
    assert page.url == f"{site.base_url}/admin"

    sign_in_with_code(app, hand, site, old)
    sign_in_with_recovery_code(hand, site, codes[3])
    new = replace_phone(hand, site)
    hand.page.goto(f"{site.base_url}/admin/keys/new")
    hand.fill("Name", "CI")
    hand.tick("See users")
    grow_old(app, ada)
    send_and_confirm(app, hand, new)
    reset(hand, site, bea.id)


def sign_in(hand: Keyboard, site: Site, email: str) -> None:
    """Give the password in a browser that is signed out."""
    hand.page.context.clear_cookies()
    hand.page.goto(f"{site.base_url}/admin/login")
    hand.fill("Email address", email)
    hand.fill("Password", PASSWORD)
    hand.press("Sign in")


def next_code(app: Flask, totp: TOTP) -> str:
    """Return today's code as one that was not given yet: the test is faster than 30 seconds."""
    execute(app, "UPDATE second_factors SET counter = 0")
    return totp.now()


def add_first_app(app: Flask, hand: Keyboard) -> tuple[TOTP, list[str]]:
    """Add an app with its key as text, and save the recovery codes."""
    page = hand.page
    hand.press("Add an authenticator app")
    totp = TOTP(page.inner_text("#app-key").replace(" ", ""))
    hand.fill("Code from your app", "000 000")
    hand.press("Continue")
    assert page.inner_text(".summary:focus li") == "The code is wrong"
    hand.fill("Code from your app", next_code(app, totp))
    hand.fill("Name", "Old phone")
    hand.press("Continue")
    codes = page.inner_text("#recovery-codes").split()
    assert len(codes) == 10
    hand.press("I have saved them")
    return totp, codes


def sign_in_with_code(app: Flask, hand: Keyboard, site: Site, totp: TOTP) -> None:
    """Sign in with the password and a code, after a wrong one."""
    sign_in(hand, site, ADA)
    assert hand.page.inner_text("h1") == "Confirm your sign-in"
    hand.fill("Code from your app", "000000")
    hand.press("Sign in")
    assert hand.page.inner_text(".summary:focus li") == "The code is wrong"
    hand.fill("Code from your app", next_code(app, totp))
    hand.press("Sign in")
    assert hand.page.url == f"{site.base_url}/admin"
    hand.press("Sign out")


def sign_in_with_recovery_code(hand: Keyboard, site: Site, code: str) -> None:
    """Sign in without the phone. The code is typed as people type."""
    sign_in(hand, site, ADA)
    hand.reach(hand.page.locator("summary"))
    hand.page.keyboard.press("Enter")
    hand.fill("Recovery code", code.replace("-", " ").lower())
    hand.press("Sign in")
    assert hand.page.url == f"{site.base_url}/admin"


def replace_phone(hand: Keyboard, site: Site) -> TOTP:
    """Remove the lost phone, which is refused while it is the last one; add another; then it can go."""
    page = hand.page
    page.goto(f"{site.base_url}/account/factors")
    assert "You have 9 recovery codes left." in page.inner_text("main")
    hand.press("Remove Old phone")
    assert page.inner_text("h1") == "Add another second factor first"
    hand.press("See your second factors")
    hand.press("Add an authenticator app")
    totp = TOTP(page.inner_text("#app-key").replace(" ", ""))
    hand.fill("Code from your app", totp.now())
    hand.fill("Name", "New phone")
    hand.press("Continue")
    hand.press("Remove Old phone")
    hand.press("Remove it")
    assert page.locator("tbody th").all_inner_texts() == ["New phone\nAuthenticator app"]
    return totp


def send_and_confirm(app: Flask, hand: Keyboard, totp: TOTP) -> None:
    """Send a form that wants a fresh proof; after it the form is there, filled in."""
    page = hand.page
    hand.press("Create key")
    assert page.inner_text("h1") == "Confirm that it is you"
    hand.fill("Code from your app", next_code(app, totp))
    hand.press("Confirm")
    assert page.get_by_label("Name", exact=True).input_value() == "CI"
    assert page.get_by_label("See users").is_checked()
    hand.press("Create key")
    assert page.locator("#key-shown").count() == 1


def reset(hand: Keyboard, site: Site, user_id: str) -> None:
    """Reset a colleague, who then must add a new second factor after the password."""
    page = hand.page
    page.goto(f"{site.base_url}/admin/users/{user_id}")
    hand.press("Reset second factor")
    hand.press("Reset second factor")
    assert "Second factor reset" in page.inner_text(".notice:focus")
    sign_in(hand, site, BEA)
    assert page.inner_text("h1") == "Add a second factor"
