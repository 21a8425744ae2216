"""A passkey in a real browser, through Chromium's virtual authenticator (W3C Web Authentication, section 11)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support.application import dispose
from support.chromium import Site, follow, sign_in
from support.databases import execute
from support.factors import grow_old
from support.people import make_user
from users.roles import Role

if TYPE_CHECKING:
    from playwright.sync_api import Page

EMAIL = "with.a.passkey@example.com"
SECURITY_KEY = {"protocol": "ctap2", "transport": "usb", "automaticPresenceSimulation": True}


@pytest.fixture
def base_url(filled_site: Site) -> str:
    """The address of the site under a host name: an IP address has no passkeys."""
    return filled_site.base_url.replace("127.0.0.1", "localhost")


@pytest.fixture
def page(opened: "Callable[..., Page]") -> "Page":
    """A page of a browser with a security key."""
    page = opened()
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": SECURITY_KEY})
    return page


def test_journey(filled_site: Site, base_url: str, page: "Page") -> None:
    """Add a passkey, sign in with it, and confirm with it; a dialog that is cancelled can be opened again.

    A click after the session has ended leads to the sign-in."""
    app = filled_site.app()
    user = make_user(app, EMAIL, Role.ADMIN)
    sign_in(page, filled_site, EMAIL, base_url=base_url)
    page.goto(f"{base_url}/account/factors")
    add_passkey(page)
    follow(page, "text=I have saved them")
    assert "Second factor added" in page.inner_text(".notice")
    add_same_again(page)

    follow(page, "text=Sign out")
    sign_in(page, filled_site, EMAIL, base_url=base_url)
    assert not page.is_visible("#recovery_code")
    page.click("summary")
    assert page.is_visible("#recovery_code")
    follow(page, "button:has-text('Use your passkey')")
    assert page.url == f"{base_url}/admin"

    page.goto(f"{base_url}/admin/keys/new")
    page.fill("#name", "CI")
    page.check("text=See users")
    grow_old(app, user)
    follow(page, "text=Create key")
    assert page.inner_text("h1") == "Confirm that it is you"
    follow(page, "button:has-text('Use your passkey')")
    assert page.input_value("#name") == "CI"
    follow(page, "text=Create key")
    assert page.is_visible("#key-shown")

    page.goto(f"{base_url}/account/factors/passkey")
    execute(app, "DELETE FROM admin_sessions WHERE user_id = :id", id=user.id)
    follow(page, "text=Create the passkey")
    assert page.inner_text(".notice") == "Your session has ended"
    dispose(app)


def add_passkey(page: "Page") -> None:
    """Add a passkey at the second try: the first dialog is cancelled."""
    follow(page, "text=Add a passkey")
    assert not page.is_visible("text=A passkey needs JavaScript")
    page.fill("#name", "Blue key")
    cancelled = "Promise.reject(new DOMException('', 'NotAllowedError'))"
    page.evaluate(f"() => {{ navigator.credentials.create = () => {cancelled}; }}")
    page.click("text=Create the passkey")
    page.wait_for_selector("[role=alert]:has-text('No passkey was made. Try again')")
    page.evaluate("() => { delete navigator.credentials.create; }")
    follow(page, "text=Create the passkey")
    assert "Save your recovery codes" in page.inner_text(".notice")


def add_same_again(page: "Page") -> None:
    """The browser makes no second passkey on the same key."""
    assert "Blue key" in page.inner_text("table")
    follow(page, "text=Add a passkey")
    page.click("text=Create the passkey")
    page.wait_for_selector("[role=alert]:has-text('one that you have not added yet')")
    assert page.is_enabled("text=Create the passkey")
