"""From the first start to the last sign-out in a real browser: without JavaScript, and again with a keyboard alone."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from support.application import dispose
from support.chromium import Hand, Keyboard, Mouse, Site, follow
from support.people import PASSWORD, make_user
from support.people import make_key as make_api_key
from users.roles import Permission, Role

if TYPE_CHECKING:
    from playwright.sync_api import Page

GENERATED = r"[0-9A-Za-z]{16}"


@pytest.fixture(params=["without JavaScript", "by keyboard"])
def hand(request: pytest.FixtureRequest, opened: "Callable[..., Page]") -> Hand:
    """A way to use the pages: with a mouse, or by keyboard."""
    if request.param == "by keyboard":
        return Keyboard(opened())
    return Mouse(opened(java_script_enabled=False))


def assert_problems(hand: Hand, *words: str) -> None:
    """Hold the page to these problems: in the title, in the summary, which has the focus, and beside the fields."""
    page = hand.page
    assert page.title().startswith("Error: ")
    assert page.locator(".summary li").all_inner_texts() == list(words)
    assert page.locator(".summary:focus").count() == 1
    beside = [text.removeprefix("Error: ") for text in page.locator(".wrong").all_text_contents()]
    assert beside == list(words)


def test_first_day(hand: Hand, site: Site) -> None:
    """Set up, make a key, create users, and sign out."""
    page = hand.page
    page.goto(site.setup_link())
    assert page.url == f"{site.base_url}/setup"
    set_up(hand)
    make_key(hand, site)
    create_with_typed_password(hand)
    password = create_with_generated_password(hand)
    hand.press("Sign out")
    assert page.locator(".notice").inner_text() == "You are signed out"
    page.goto(f"{site.base_url}/admin/users")
    assert "/admin/login" in page.url
    sign_in(hand, "ada@example.com", "wrong horse battery")
    assert_problems(hand, "The email address or password is wrong")
    sign_in(hand, "vera@example.com", password)
    hand.fill("New password", "their own random words")
    hand.press("Change password")
    assert page.url == f"{site.base_url}/admin/users"
    assert page.locator("tbody tr").count() == 4
    hand.press("Sign out")
    # Everything that was secret stayed out of what the terminal shows.
    log = site.server.log()
    token = site.setup_link().partition("token=")[2]
    assert log.count(token) == 1
    assert PASSWORD not in log
    assert password not in log


def set_up(hand: Hand) -> None:
    """Create the first administrator, with every error on the way."""
    hand.press("Create administrator")
    assert_problems(hand, "Enter an email address", "Enter a password")
    hand.fill("Email address", "ada")
    hand.fill("First name (optional)", "Ada")
    hand.fill("Password", "short")
    hand.press("Create administrator")
    words = "Enter an email address in the correct format, like name@example.com"
    assert_problems(hand, words, "Password must be at least 15 characters")
    assert hand.page.get_by_label("First name (optional)").input_value() == "Ada"
    assert hand.page.get_by_label("Password", exact=True).input_value() == ""
    hand.fill("Email address", "ada@example.com")
    hand.fill("Password", PASSWORD)
    hand.press("Create administrator")
    assert hand.page.locator("h1").inner_text() == "Get started"


def make_key(hand: Hand, site: Site) -> None:
    """Make an API key, with its errors, and make the first call with it."""
    hand.press("Create an API key")
    hand.press("Create key")
    assert_problems(hand, "Enter a name")
    hand.fill("Name", "CI")
    hand.tick("See users")
    hand.press("Create key")
    key = hand.page.locator("#key-shown").inner_text()
    made = site.server.call("POST", "/v1/user/", key=key, body={"email": "api@example.com", "password": PASSWORD})
    assert made.status == 201
    hand.press("list of API keys")
    assert "Waiting for the first call" not in hand.page.locator("tbody").inner_text()


def create_with_typed_password(hand: Hand) -> None:
    """Create a user with a typed password, with every error on the way."""
    hand.press("Users")
    hand.press("Create a user")
    hand.tick("I will type one")
    hand.fill("Email address", "jo@")
    hand.fill("First name (optional)", "Jo")
    hand.fill("Last name (optional)", "x" * 256)
    hand.fill("Password", "short")
    hand.press("Create user")
    assert_problems(
        hand,
        "Enter an email address in the correct format, like name@example.com",
        "Last name must be 255 characters or fewer",
        "Password must be at least 8 characters",
    )
    hand.fill("Email address", "jo@gmial.com")
    hand.fill("Last name (optional)", "O’Neil")
    hand.fill("Password", PASSWORD)
    hand.press("Create user")
    page = hand.page
    assert "User created" in page.locator(".notice:focus").inner_text()
    assert "It looks like jo@gmail.com" in page.locator(".notice.plain").inner_text()
    assert "Jo O’Neil" in page.locator(".facts").inner_text()
    assert "Do this with the API" in page.locator("main").inner_text()


def create_with_generated_password(hand: Hand) -> str:
    """Create a user with a generated password, after one whose email is taken, and return the password."""
    hand.press("Create another user")
    hand.fill("Email address", "JO@gmial.com")
    hand.press("Create user")
    assert_problems(
        hand, "A user with this email address already exists: View jo@gmial.com, created by you a moment ago"
    )
    hand.fill("Email address", "vera@example.com")
    hand.tick("Generate a strong password")
    hand.choose("Role (optional)", "Auditor – see users and who did what")
    hand.press("Create user")
    assert "User created" in hand.page.locator(".notice:focus").inner_text()
    password = hand.page.locator("#password-shown").inner_text()
    assert re.fullmatch(GENERATED, password)
    return password


def sign_in(hand: Hand, email: str, password: str) -> None:
    """Fill in the sign-in form and send it."""
    hand.fill("Email address", email)
    hand.fill("Password", password)
    hand.press("Sign in")


@pytest.mark.parametrize("hand", ["without JavaScript"], indirect=True)  # the first day is walked by keyboard too
def test_life_of_a_user(hand: Hand, site: Site, opened: "Callable[..., Page]") -> None:
    """Two administrators edit a user, who is deactivated, reactivated and deleted."""
    site.fill()
    make_user(site.app(), "grace@example.com", Role.ADMIN)
    page, other = hand.page, Mouse(opened(java_script_enabled=False))
    for one, email in ((hand, "ada@example.com"), (other, "grace@example.com")):
        one.page.goto(f"{site.base_url}/admin/login")
        sign_in(one, email, PASSWORD)
        one.press("Users")
        one.press("person25@example.com")
        one.press("Edit")
    other.fill("First name (optional)", "Pat")
    other.press("Save changes")
    assert "Changes saved" in other.page.locator(".notice:focus").inner_text()
    hand.fill("Email address", "pat@example.com")
    hand.fill("Last name (optional)", "Doe")
    hand.press("Save changes")
    told = page.locator(".summary:focus li").all_inner_texts()
    assert told[0].startswith("Somebody else changed this user")
    assert [words.translate({0x2068: None, 0x2069: None}) for words in told[1:]] == [
        "First name was changed to “Pat” meanwhile"
    ]
    assert page.get_by_label("Last name (optional)").input_value() == "Doe"
    hand.press("Save changes")
    assert "Changes saved" in page.locator(".notice:focus").inner_text()
    assert "Pat Doe" in page.locator(".facts").inner_text()
    for act, done in (("Deactivate", "User deactivated"), ("Reactivate", "User reactivated")):
        hand.press(act)
        hand.press(f"{act} user")
        assert page.locator(".notice:focus").inner_text() == done
    hand.press("Delete")
    assert "Until then this user can be restored" in page.locator("main").inner_text()
    hand.press("Delete user")
    assert page.locator(".notice:focus").inner_text() == "User deleted"
    assert "pat@example.com" not in page.locator("main").inner_text()


def test_password_link(hand: Hand, filled_site: Site, request: pytest.FixtureRequest) -> None:
    """A new user opens the link on a phone, chooses a password and signs in with it."""
    page, app = hand.page, filled_site.app()
    email = f"{request.node.name.partition('[')[2][:2]}@example.com"
    key = make_api_key(app, Permission.USERS_CREATE)
    dispose(app)
    link = filled_site.server.call("POST", "/v1/user/invite", key=key, body={"email": email}).json["password_url"]
    page.set_viewport_size({"width": 320, "height": 568})
    page.goto(link)
    assert email in page.locator("main").inner_text()
    asked = page.locator("main input:not([type=hidden])")
    assert [one.get_attribute("autocomplete") for one in asked.all()] == ["username", "new-password"]  # for its manager
    assert page.get_by_role("textbox").count() == 1
    hand.fill("New password", "short")
    hand.press("Set password")
    assert_problems(hand, "Password must be at least 8 characters")
    assert page.get_by_label("New password", exact=True).input_value() == ""
    hand.fill("New password", PASSWORD)
    hand.press("Set password")
    assert page.url == f"{filled_site.base_url}/password?done"
    assert "Your password is set" in page.locator(".notice:focus").inner_text()
    hand.press("Sign in")
    sign_in(hand, email, PASSWORD)
    assert page.locator("h1").inner_text() == "Your account"


def test_error_link(site: Site, opened: "Callable[..., Page]") -> None:
    """The link of an error leads to its field by keyboard."""
    page = opened()
    page.goto(site.setup_link())
    follow(page, "main button.wide")
    page.locator(".summary:focus").wait_for()
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'password'")


def test_skip_link(site: Site, opened: "Callable[..., Page]") -> None:
    """The first Tab leads to the link that skips to the content."""
    page = opened()
    page.goto(f"{site.base_url}/setup")
    page.keyboard.press("Tab")
    assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'main'")
