"""Looks at a page in a real browser: accessibility, both colour schemes, two widths and the size of targets."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

# Colours are all that the dark scheme changes.
RULES = {
    "light": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "dark": ["color-contrast"],
}
MORE_ROWS = "tbody tr:nth-child(n+6)"  # of a list: they look like the five before them


class Inspector:
    """Checks a page in every required way."""

    def __init__(self, page: "Page") -> None:
        from axe_playwright_python.sync_playwright import Axe

        self.page, self.axe = page, Axe().axe_script
        self.found: list[str] = []
        self.seen: list[str] = []

    def look(self, name: str) -> None:
        """Note the faults of the page as it is now."""
        self.seen.append(name)
        self.page.evaluate(self.axe)
        for scheme, rules in RULES.items():
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            options = {"runOnly": rules, "resultTypes": ["violations"]}
            run = "([exclude, options]) => axe.run({exclude: [[exclude]]}, options)"
            for violation in self.page.evaluate(run, [MORE_ROWS, options])["violations"]:
                if violation["impact"] in ("serious", "critical"):
                    nodes = [node["html"][:120] for node in violation["nodes"][:3]]
                    self.found.append(f"{name}, {scheme}: {violation['id']} {nodes}")
        size = self.page.viewport_size
        for width in (320, 1024):
            self.page.set_viewport_size({"width": width, "height": 800})
            if self.page.evaluate("document.documentElement.scrollWidth") > width:
                self.found.append(f"{name} scrolls sideways at {width}")
            self._measure_targets(name, 44 if width == 320 else 24)
        self.page.set_viewport_size(size)  # type: ignore[arg-type]
        if self.page.locator("h1").count() != 1:
            self.found.append(f"{name} has not one h1")

    def _measure_targets(self, name: str, least: int) -> None:
        """Note buttons, fields and links of their own that are lower than `least` pixels (WCAG 2.2, 2.5.8)."""
        selector = "button, .button, main input:not([type=hidden], .unseen), select"
        selector += ", nav a, summary, .mark, .me a, .skip, .acts a, .row > a, .back a, tbody a, .summary a:only-child"
        measure: Any = """(elements, least) => elements
            .filter(element => element.checkVisibility())
            .map(element => element.closest('.pick') ?? element)
            .filter(element => Math.round(element.getBoundingClientRect().height) < least)
            .map(element => element.outerHTML.slice(0, 100))"""
        small = self.page.locator(selector).evaluate_all(measure, least)
        self.found += [f"{name}: lower than {least}: {one}" for one in small]


@pytest.fixture
def inspector(opened: "Callable[..., Page]") -> Iterator[Inspector]:
    """An inspector of pages; the test fails if it found a fault."""
    inspector = Inspector(opened(viewport={"width": 1280, "height": 800}, reduced_motion="reduce"))
    yield inspector
    assert inspector.found == []
