"""What the one script adds, and what a browser's own buttons do: double click, reload, Back."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support.application import dispose
from support.chromium import Site, begin_app, follow, sign_in
from support.people import PASSWORD, make_user
from users import clock
from users.roles import Role

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def page(filled_site: Site, opened: "Callable[..., Page]") -> "Page":
    """A page on which Ada has signed in."""
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, filled_site)
    page.goto(f"{filled_site.base_url}/admin/users/new")
    return page


def create(page: "Page", email: str, password: str = "") -> None:
    """Send the form, with a generated password unless one is given."""
    page.fill("#email", email)
    page.check("#choice-2" if password else "#choice-1")
    if password:
        page.fill("#password", password)
    follow(page, "text=Create user")


def test_show_password(page: "Page") -> None:
    """A typed password can be shown and hidden."""
    assert not page.is_visible("#password_change_required")  # it has no meaning for a link
    page.check("#choice-1")
    assert page.is_checked("#password_change_required")
    assert not page.is_visible("#password")
    page.check("#choice-2")
    assert page.is_visible("#password_change_required")
    page.fill("#password", PASSWORD)
    for action, kind, words in (("Show", "text", "shown"), ("Hide", "password", "hidden")):
        page.get_by_role("button", name=f"{action} password").click()
        assert page.get_attribute("#password", "type") == kind
        page.wait_for_function("words => document.getElementById('said').textContent.endsWith(words)", arg=words)
    page.get_by_role("button", name="Show password").click()
    page.evaluate("document.querySelector('main form').addEventListener('submit', event => event.preventDefault())")
    page.click("text=Create user")
    assert page.get_attribute("#password", "type") == "password"


def test_copy(page: "Page") -> None:
    """A key or password that is shown once can be copied."""
    create(page, "copy@example.com")
    page.get_by_role("button", name="Copy password").click()
    page.wait_for_function("() => document.getElementById('said').textContent === 'Copied'")
    assert page.inner_text("[data-copy=password-shown]").startswith("Copied")
    page.get_by_role("button", name="Copied password", exact=True).wait_for()
    page.get_by_role("button", name="Copy password", exact=True).wait_for()
    page.get_by_role("button", name="Copy user ID", exact=True).wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#password-shown")


def test_copied_link(page: "Page", filled_site: Site) -> None:
    """From the list to the copied link in three clicks; the message can be copied too, and the link opens its page."""
    page.goto(f"{filled_site.base_url}/admin/users?q=person7@")
    follow(page, "a:has-text('person7@example.com')")
    follow(page, "text=Make a password link")
    page.get_by_role("button", name="Copy password link").click()
    page.wait_for_function("() => document.getElementById('said').textContent === 'Copied'")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.inner_text("#link-shown")
    page.get_by_role("button", name="Copy message").click()
    page.get_by_role("button", name="Copied message").wait_for()
    message = page.evaluate("navigator.clipboard.readText()")
    assert message.startswith("Hello Person,\n\nChoose a new password for person7@example.com here:\n\nhttp")
    assert f"\n\n{link}\n\nThe link works once, until " in message
    page.evaluate("delete Clipboard.prototype.writeText")  # as at a service without https
    page.get_by_role("button", name="Copy password link").click()
    page.get_by_role("button", name="Copied password link").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == link
    page.goto(link)
    assert page.url == f"{filled_site.base_url}/password"
    assert "person7@example.com" in page.inner_text("main")


def test_local_times(page: "Page") -> None:
    create(page, "local.times@example.com")
    (words,) = set(page.locator(".facts time").all_inner_texts())
    assert re.fullmatch(r"\d+ \w+ \d{4}, \d\d:\d\d UTC \(.*\d\d:\d\d your time\)", words)


def test_double_click(page: "Page", filled_site: Site) -> None:
    """A double click on Create ends at the page of the one user made."""
    page.fill("#email", "double.click@example.com")
    page.dblclick("text=Create user")
    page.wait_for_selector(".summary, .notice")
    if page.locator(".summary").count():  # the second click was faster than the first answer
        assert "created by you a moment ago" in page.inner_text(".summary")
        follow(page, ".summary >> text=View double.click@example.com")
        assert "If you missed the link, make a new one" in page.inner_text("main")
    else:
        assert "User created" in page.inner_text("main")


def test_reload_after_create(page: "Page") -> None:
    """Reloading the page of a generated password leads to the user."""
    create(page, "reloaded@example.com")
    assert page.is_visible("#password-shown")
    page.reload()
    assert "already exists: View reloaded@example.com, created by you a moment ago" in page.inner_text(".summary")


def test_reload_after_new_password(page: "Page", filled_site: Site) -> None:
    """Reloading after a new password does not set another."""
    create(page, "renewed@example.com")
    follow(page, "text=See the user")
    follow(page, "text=Set a new password")
    page.check("#choice-1")
    follow(page, "text=Continue")
    assert page.is_visible("#password-shown")
    page.reload()
    assert "no new password was set" in page.inner_text(".summary")


def test_reload_and_back(page: "Page") -> None:
    """Reload and Back after a success change nothing; the message is shown once."""
    create(page, "reload.and.back@example.com", PASSWORD)
    assert "User created" in page.inner_text(".notice")
    page.reload()
    assert page.locator(".notice").count() == 0
    page.go_back()
    assert page.inner_text("h1") == "Create a user"
    assert page.input_value("#password") == ""
    page.go_forward()
    assert "reload.and.back@example.com" in page.inner_text("h1")


def test_back_after_sign_out_shows_nothing(page: "Page", filled_site: Site) -> None:
    page.goto(f"{filled_site.base_url}/admin/users")
    follow(page, "text=Sign out")
    page.go_back()
    assert page.inner_text("h1") == "Sign in"


def test_recovery_codes(filled_site: Site, opened: "Callable[..., Page]") -> None:
    """A double click proves a new app once. The codes are copied as lines, and print alone with whose they are."""
    app = filled_site.app()
    make_user(app, "recovery.codes@example.com", Role.ADMIN)
    dispose(app)
    page = opened(permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, filled_site, "recovery.codes@example.com")
    page.goto(f"{filled_site.base_url}/account/factors")
    totp = begin_app(page)
    page.fill("#code", totp.now())
    page.dblclick("text=Continue")
    page.wait_for_selector("#recovery-codes")
    codes = page.inner_text("#recovery-codes")
    page.get_by_role("button", name="Copy recovery codes").click()
    page.get_by_role("button", name="Copied recovery codes").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == codes
    assert len(codes.splitlines()) == 10
    page.evaluate("() => { window.print = () => { document.title = 'printed'; }; }")
    page.get_by_role("button", name="Print").click()
    assert page.title() == "printed"
    page.emulate_media(media="print")
    whose = f"recovery.codes@example.com, {clock.date(clock.now())}"
    assert page.inner_text("body").split() == f"Recovery codes for Enrol {whose} {codes}".split()


def test_the_reference(filled_site: Site, page: "Page") -> None:
    """The contents follow the text and are searched, the language is kept, and a heading's link is copied."""
    page.goto(f"{filled_site.base_url}/docs#updateUser")
    current = page.locator(".toc [aria-current]")
    current.get_by_text("Change a user").wait_for()
    page.evaluate("document.querySelector('#OVERLOADED').scrollIntoView()")
    current.get_by_text("OVERLOADED").wait_for()
    page.fill("#find", "post /v1/user/invite")
    assert page.locator(".toc li a:visible").all_inner_texts() == ["Users", "Invite a user"]
    page.fill("#find", "nothing at all")
    assert page.is_visible("text=Nothing is called so.")
    page.fill("#find", "")
    page.locator("#createUser [data-speak=python]").focus()
    page.keyboard.press("Enter")
    assert page.is_visible("#inviteUser-python")
    assert page.url.endswith("/docs?lang=python#updateUser")
    page.goto(f"{filled_site.base_url}/docs")
    assert page.is_visible("#createUser-python")
    assert page.url.endswith("/docs?lang=python")
    page.hover("#createUser h3")
    page.click("#createUser .anchor")
    page.locator("#createUser .anchor >> text=Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert page.url.endswith("/docs?lang=python#createUser")
