"""Forced colours, reduced motion, print and long names, in a real browser."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from support.application import dispose
from support.chromium import Site, follow, sign_in
from support.people import make_user

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_current_page_in_forced_colours(filled_site: Site, opened: "Callable[..., Page]") -> None:
    page = opened(forced_colors="active")
    sign_in(page, filled_site)
    page.goto(f"{filled_site.base_url}/admin/users")
    colours = [
        page.locator(f".bar nav a[href='/admin/{name}']").evaluate("link => getComputedStyle(link).borderBottomColor")
        for name in ("users", "keys")
    ]
    assert colours[0] != colours[1]


def test_nothing_moves(filled_site: Site, opened: "Callable[..., Page]") -> None:
    page = opened()
    sign_in(page, filled_site)
    page.goto(f"{filled_site.base_url}/admin/keys/new")
    page.fill("#name", "CI")
    follow(page, "text=Create key")
    assert page.evaluate("document.getAnimations().length") == 0


def test_print(filled_site: Site, opened: "Callable[..., Page]") -> None:
    """A printed page is whole and shows no buttons. A command is whole on a narrow screen too."""
    page = opened(viewport={"width": 500, "height": 800})
    sign_in(page, filled_site)
    page.goto(f"{filled_site.base_url}/admin/users")
    page.emulate_media(media="print")
    assert page.is_visible("table")
    assert not any(page.is_visible(selector) for selector in ("#q", ".tabs", ".pager", ".button"))
    page.emulate_media(media="screen")
    page.goto(f"{filled_site.base_url}/admin/users/new")
    page.fill("#email", "somebody.with.a.long.address@example.com")
    follow(page, "text=Create user")
    for media in ("screen", "print"):
        page.emulate_media(media=media)
        assert page.evaluate("[...document.querySelectorAll('pre')].every(pre => pre.scrollWidth <= pre.clientWidth)")
    user = f"{filled_site.base_url}{page.locator('.row a').first.get_attribute('href')}".partition("?")[0]
    page.goto(user)
    assert not page.is_visible("#actions")
    page.goto(f"{filled_site.base_url}/docs")
    assert page.evaluate("[...document.querySelectorAll(':not([hidden]) > pre')].every(pre => pre.checkVisibility())")
    assert page.pdf(format="A4").count(b"/Type /Page\n") < 20
    assert not page.is_visible("nav")
    page.goto(f"{user}/password")
    assert page.is_visible("h1:has-text('password')")
    assert not page.is_visible("text=Cancel")


def test_density_of_the_list(filled_site: Site, opened: "Callable[..., Page]") -> None:
    """A screen shows twelve users, and a phone four; a tablet has a table of four columns, not cards.

    Filters in use, a line more, leave room for as many on a screen and for one less on a phone.
    """
    page = opened()
    sign_in(page, filled_site)
    # By the height of most rows: another test adds a user with a name of many lines.
    fitting = """rows => {
        const boxes = rows.map(row => row.getBoundingClientRect());
        const heights = boxes.map(box => box.height).sort((a, b) => a - b);
        return Math.floor((innerHeight - boxes[0].top) / heights[Math.floor(rows.length / 2)]);
    }"""
    shown = {}
    for width, height in ((1280, 800), (960, 800), (600, 800), (360, 740)):
        page.set_viewport_size({"width": width, "height": height})
        for query in ("", "&sort=email&verified=false&has_password=true&since=2026-01-01"):
            page.goto(f"{filled_site.base_url}/admin/users?status=active{query}")
            shown[width, bool(query)] = page.locator("tbody tr").evaluate_all(fitting)
        columns = page.locator("thead th:visible").all_inner_texts()
        if width in (960, 600):
            assert columns == ["Email", "Name", "Status", "Created"]
    assert min(shown[1280, False], shown[1280, True]) >= 12
    assert shown[360, False] >= 4
    assert shown[360, True] >= 3


def test_long_name_beside_an_email(filled_site: Site, opened: "Callable[..., Page]") -> None:
    """A long name does not break an ordinary email into two lines."""
    app = filled_site.app()
    make_user(app, "person99@hopper.dev", first_name="Bartholomew-" * 6, last_name="Featherstonehaugh-" * 6)
    dispose(app)
    page = opened(viewport={"width": 1280, "height": 800})
    sign_in(page, filled_site)
    page.goto(f"{filled_site.base_url}/admin/users?q=person")
    height = "link => link.querySelector('bdi').getBoundingClientRect().height"
    assert page.get_by_role("link", name="person25@example.com").evaluate(height) < 32  # a line is 24
