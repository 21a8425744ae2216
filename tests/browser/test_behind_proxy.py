"""A real browser behind the nginx of OPERATIONS.md, on another port and with another Referrer-Policy."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask
from werkzeug.serving import make_server

from support.chromium import follow
from support.databases import execute, rows
from support.nginx import proxied
from support.people import PASSWORD, Cast

if TYPE_CHECKING:
    from playwright.sync_api import Page

NO_REFERRER = "proxy_hide_header Referrer-Policy; add_header Referrer-Policy no-referrer always;"


@contextlib.contextmanager
def serving(app: Flask) -> Iterator[int]:
    """Serve `app` in threads of this process, and yield the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_PROXIES": "1"}])
def test_sign_in(
    opened: "Callable[..., Page]", app: Flask, cast: Cast, events: list[logging.LogRecord], tmp_path: Path
) -> None:
    """Without ENROL_PUBLIC_URL, forms work, and the log and the database have what `flask doctor` tells."""
    with serving(app) as port:
        for name, also in (("another port", ""), ("no referrer", NO_REFERRER)):
            page = opened(ignore_https_errors=True)
            with proxied(tmp_path / name.replace(" ", "-"), port, also=also) as nginx:
                base = f"https://127.0.0.1:{nginx.port}"
                page.goto(f"{base}/admin/login")
                page.fill("#email", cast.ada.email)
                page.fill("#password", PASSWORD)
                follow(page, "main button.wide")
                assert page.url == f"{base}/admin", name
                page.wait_for_load_state("networkidle")  # nginx ends below, and the page may still ask for its icon
                origin = "null" if also else base
                assert rows(app, "SELECT name, detail FROM observations") == [("origin", f"{origin} https://127.0.0.1")]
                words = "Origin: null" if also else f"set ENROL_PUBLIC_URL to {base}."
                assert any(words in event.__dict__["fields"].get("message", "") for event in events), name
            execute(app, "DELETE FROM observations")
            app.extensions["enrol.observations"].clear()
