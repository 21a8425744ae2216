"""A real Chromium at a real `flask run`, used in two ways: without JavaScript, and by keyboard."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from flask import Flask
from pyotp import TOTP

from app import create_app
from support.application import CHEAP, dispose
from support.installations import Installation, installed
from support.people import PASSWORD, make_key, make_user
from support.servers import Server
from support.skips import unavailable
from users.roles import Permission, Role

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT = 10_000  # milliseconds, when every core is busy with other tests


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    """The browser, one for all tests of a worker."""
    # Without the parts that draw windows it takes three quarters of the time.
    found = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("playwright, from tests/requirements.txt")
    if not found:
        unavailable("Chromium; on Debian: apt-get install chromium-headless-shell")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


class Site:
    """An installation that `flask run` serves, with what its terminal said."""

    def __init__(self, here: Installation, server: Server) -> None:
        self.here, self.server = here, server
        self.base_url = f"http://127.0.0.1:{server.port}"

    def setup_link(self) -> str:
        """Return the set-up link that the terminal showed."""
        (link,) = re.findall(r"^    (http://\S+/setup\?token=\S+)$", self.server.log(), re.MULTILINE)
        return str(link)

    def app(self) -> Flask:
        """Return an application on the same database, to create users without the server."""
        return create_app({**CHEAP, "DATABASE_URL": f"sqlite:///{self.here.instance / 'enrol.db'}"})

    def fill(self) -> None:
        """Put Ada the administrator, Vera the auditor, some users and some keys in the database."""
        app = self.app()
        ada = make_user(app, "ada@example.com", Role.ADMIN, first_name="Ada", last_name="Lovelace")
        make_user(app, "vera@example.com", Role.AUDITOR)
        make_user(app, "a.very.long.address.that.has.to.wrap.somewhere@a-domain-that-is-long-too.example.com")
        make_user(app, "sam@example.com", first_name="سام", last_name="محمد")
        for number in range(26):
            make_user(app, f"person{number}@example.com", first_name="Person")
        make_key(app, *Permission, owner=ada, name="Everything, with a name that is rather long")
        make_key(app, Permission.USERS_READ, name="service")
        dispose(app)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A new installation, just started."""
    with started(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def filled_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An installation with users and keys, one for all tests of a worker: each adds users of its own alone."""
    with started(tmp_path_factory.mktemp("site")) as made:
        made.fill()
        yield made


@contextlib.contextmanager
def started(folder: Path, **settings: str) -> Iterator[Site]:
    """Yield a new installation with these settings, just started."""
    with installed(folder / "enrol", settings) as here:
        (server,) = here.start("flask")
        yield Site(here, server)


class Watched:
    """A page that notes what its console says, and every violation of the content security policy."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(WAIT)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', event => console.error('violation', event.violatedDirective))"
        )

    def _note(self, message: Any) -> None:
        # Chromium reports the status of a page with errors and of a passkey's options without a session: both are right
        url = message.location["url"]
        is_expected = url == self.page.url or url.endswith("options")
        is_status = message.text.startswith("Failed to load resource") and is_expected
        if message.type in ("error", "warning") and not is_status:
            self.complaints.append(f"{self.page.url}: {message.text}")


@pytest.fixture
def opened(chromium: "Browser") -> Iterator[Callable[..., "Page"]]:
    """A function that opens a page in a new browser session; the test fails if a console has errors."""
    contexts, watched = [], []

    def open_page(**options: Any) -> "Page":
        context = chromium.new_context(locale="en-GB", timezone_id="Europe/Berlin", **options)
        contexts.append(context)
        watched.append(Watched(context.new_page()))
        return watched[-1].page

    yield open_page
    complaints = [complaint for one in watched for complaint in one.complaints]
    for context in contexts:
        context.close()
    assert not complaints, complaints


def follow(page: "Page", selector: str) -> None:
    """Click on what leads to another page, and wait for it."""
    with page.expect_navigation():
        page.click(selector)


def sign_in(page: "Page", site: Site, email: str = "ada@example.com", base_url: str = "") -> None:
    """Sign in at the sign-in page."""
    page.goto(f"{base_url or site.base_url}/admin/login")
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    follow(page, "main button.wide")


def begin_app(page: "Page") -> TOTP:
    """Begin an authenticator app at the page of second factors, and return it with the key that the page shows."""
    follow(page, "text=Add an authenticator app")
    return TOTP(page.inner_text("#app-key").replace(" ", ""))


class Hand(Protocol):
    """A way to use a page."""

    page: "Page"

    def fill(self, label: str, text: str) -> None:
        """Replace what the field holds."""

    def tick(self, label: str) -> None:
        """Choose a radio button or tick a box."""

    def choose(self, label: str, option: str) -> None:
        """Choose from a list."""

    def press(self, name: str) -> None:
        """Press the button, or follow the link, of this name."""


class Mouse:
    """Clicks and types."""

    def __init__(self, page: "Page") -> None:
        self.page = page

    def fill(self, label: str, text: str) -> None:
        """Replace what the field holds."""
        self.page.get_by_label(label, exact=True).fill(text)

    def tick(self, label: str) -> None:
        """Choose a radio button or tick a box."""
        self.page.get_by_label(label).check()

    def choose(self, label: str, option: str) -> None:
        """Choose from a list."""
        self.page.get_by_label(label).select_option(label=option)

    def press(self, name: str) -> None:
        """Press the button, or follow the link, of this name."""
        with self.page.expect_navigation():
            pressable(self.page, name).click()


class Keyboard:
    """Has no mouse: Tab leads to everything, and every key is one that a keyboard has."""

    def __init__(self, page: "Page") -> None:
        self.page = page

    def fill(self, label: str, text: str) -> None:
        """Replace what the field holds."""
        self.reach(self.page.get_by_label(label, exact=True))
        self.page.keyboard.press("Control+a")
        self.page.keyboard.press("Delete")
        self.page.keyboard.type(text)

    def tick(self, label: str) -> None:
        """Choose a radio button or tick a box."""
        target = self.page.get_by_label(label)
        if target.get_attribute("type") == "checkbox":
            self.reach(target)
            if not target.is_checked():
                self.page.keyboard.press("Space")
            return
        self.reach(self.page.locator(f"[name={target.get_attribute('name')}]:checked"))
        while not target.is_checked():
            self.page.keyboard.press("ArrowDown")

    def choose(self, label: str, option: str) -> None:
        """Choose from a list by its first letters."""
        self.reach(self.page.get_by_label(label))
        self.page.keyboard.type(option)

    def press(self, name: str) -> None:
        """Press the button, or follow the link, of this name."""
        self.reach(pressable(self.page, name))
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def reach(self, target: "Locator") -> None:
        """Press Tab until the focus is on `target`, and see that it shows."""
        for _ in range(90):
            if target.evaluate("element => element === document.activeElement"):
                style = target.evaluate("element => getComputedStyle(element).outlineWidth")
                assert style == "3px"
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not lead to {target}")


def pressable(page: "Page", name: str) -> "Locator":
    """Return the first button or link of this name."""
    link = page.get_by_role("link", name=name, exact=True)
    return page.get_by_role("button", name=name, exact=True).or_(link).first
