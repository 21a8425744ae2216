"""Take the picture of the form in README: `.venv/bin/python tests/browser/screenshot.py`, with Chromium."""

import base64
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import FloatRect, sync_playwright

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from support.installations import installed  # noqa: E402  (the path is set first)
from support.servers import Server  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURE = HERE / "form.webp"
CONVERT = """async url => {
    const image = new Image();
    image.src = url;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.9);
}"""
MARGIN = 24  # pixels around the heading and the form


def main() -> None:
    """Start a server, sign in, fill the form and take the picture of it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        installed(Path(folder) / "enrol") as here,
        sync_playwright() as playwright,
    ):
        (server,) = here.start("flask")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light", locale="en-GB", viewport={"width": 1000, "height": 1000})
        set_up(page, server)
        page.goto(f"http://127.0.0.1:{server.port}/admin/users/new")
        page.fill("#email", "grace@example.com")
        page.fill("#first_name", "Grace")
        page.fill("#last_name", "Hopper")
        page.evaluate("document.activeElement.blur()")
        PICTURE.write_bytes(webp(page, page.screenshot(clip=box(page))))
        browser.close()
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")


def set_up(page: "Page", server: Server) -> None:
    """Create the first administrator by the link that the server printed."""
    (link,) = re.findall(r"^    (http://\S+/setup\?token=\S+)$", server.log(), re.MULTILINE)
    page.goto(link)
    page.fill("#email", "ada@example.com")
    page.fill("#password", "three random words")
    with page.expect_navigation():
        page.click("main button.wide")


def box(page: "Page") -> FloatRect:
    """Return the part of the page that the heading and the form take, with a margin."""
    heading, form = page.locator("h1").bounding_box(), page.locator("form.card").bounding_box()
    assert heading
    assert form
    height = form["y"] + form["height"] - heading["y"]
    return {
        "x": form["x"] - MARGIN,
        "y": heading["y"] - MARGIN,
        "width": form["width"] + 2 * MARGIN,
        "height": height + 2 * MARGIN,
    }


def webp(page: "Page", png: bytes) -> bytes:
    """Return the picture as WebP, half the size; the browser converts it."""
    page.goto("about:blank")  # the pages of Enrol allow no data: URL
    url = page.evaluate(CONVERT, f"data:image/png;base64,{base64.b64encode(png).decode()}")
    return base64.b64decode(url.partition(",")[2])


if __name__ == "__main__":
    main()
