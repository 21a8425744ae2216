"""An act on all users whom the list finds, in a real browser, with the server's child at work on it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from support.application import dispose
from support.chromium import Site, follow, sign_in
from support.databases import execute, rows
from support.factors import grow_old
from support.people import PASSWORD, make_user
from users.roles import Role
from users.storage.models import User

if TYPE_CHECKING:
    from playwright.sync_api import Page

AT_WORK = 60_000  # milliseconds for a child of the server to start, and to do its work
CHOSEN = 60  # users: more than a page of the list has


def test_deactivate_all_that_a_filter_finds(site: Site, opened: "Callable[..., Page]") -> None:
    """Filter the list, choose all, prove who you are, watch the progress, and read what became of each."""
    page, ada = opened(), fill(site)
    sign_in(page, site)
    app = site.app()
    grow_old(app, ada)
    page.goto(f"{site.base_url}/admin/users")
    page.click("summary:has-text('Filters')")
    page.select_option("[name=verified]", "false")
    follow(page, "button:has-text('Find')")
    page.check("[name=all]")
    page.select_option("#act", "deactivate")
    follow(page, "text=Continue")
    assert page.inner_text("h1") == "Confirm that it is you"
    page.fill("#password", PASSWORD)
    follow(page, "main button.wide")
    assert page.inner_text("h1") == f"Deactivate {CHOSEN} users?"
    assert "1 user stays as they are" in page.inner_text("main")
    follow(page, "main button")
    page.wait_for_selector(f"h1:has-text('{CHOSEN} users deactivated')", timeout=AT_WORK)
    follow(page, "main nav >> text=Refused")
    assert page.locator("tbody tr").all_inner_texts() == ["ada@example.com\n\tYou"]
    left = rows(app, "SELECT email FROM users WHERE is_active ORDER BY email")
    assert [row.email for row in left] == ["ada@example.com", "sam@example.com"]
    (events,) = rows(app, "SELECT count(DISTINCT target_id) FROM audit_events WHERE action = 'user.deactivate'")
    assert tuple(events) == (CHOSEN,)
    dispose(app)


def fill(site: Site) -> User:
    """Put Ada the administrator, CHOSEN users and Sam, whose email is verified, in the database; return Ada."""
    app = site.app()
    ada, sam = make_user(app, "ada@example.com", Role.ADMIN), make_user(app, "sam@example.com")
    execute(app, "UPDATE users SET last_verified = created_at WHERE id = :id", id=sam.id)
    for number in range(CHOSEN):
        make_user(app, f"person{number}@example.com")
    dispose(app)
    return ada
