"""A real browser behind the nginx of OPERATIONS.md, on another port and with another Referrer-Policy."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.application import app_on
from support.chromium import follow
from support.databases import rows
from support.installations import installed
from support.nginx import proxied
from support.people import PASSWORD, make_user
from users.roles import Role

if TYPE_CHECKING:
    from playwright.sync_api import Page

NO_REFERRER = "proxy_hide_header Referrer-Policy; add_header Referrer-Policy no-referrer always;"


@pytest.mark.parametrize("also", ["", NO_REFERRER], ids=["another port", "no referrer"])
def test_sign_in(opened: "Callable[..., Page]", tmp_path: Path, also: str) -> None:
    """Without ENROL_PUBLIC_URL, forms work, and the log and the database have what `flask doctor` tells."""
    page = opened(ignore_https_errors=True)
    with installed(tmp_path / "enrol", {"ENROL_TRUSTED_PROXIES": "1"}) as here:
        (server,) = here.start("granian")
        with app_on(here) as app, proxied(tmp_path / "nginx", server.port, also=also) as nginx:
            make_user(app, "ada@example.com", Role.ADMIN)
            base = f"https://127.0.0.1:{nginx.port}"
            page.goto(f"{base}/admin/login")
            page.fill("#email", "ada@example.com")
            page.fill("#password", PASSWORD)
            follow(page, "main button.wide")
            assert page.url == f"{base}/admin/users"
            origin = "null" if also else base
            assert rows(app, "SELECT name, detail FROM observations") == [("origin", f"{origin} https://127.0.0.1")]
            words = "Origin: null" if also else f"set ENROL_PUBLIC_URL to {base}."
            assert words in server.log()
