"""The name of the instance, and the files that browsers and search engines ask every site for."""

import pytest
from flask import Flask

from support.factors import begin_app
from support.people import Cast
from support.visitors import Visitor, signed_in

named = pytest.mark.parametrize("settings", [{"ENROL_INSTANCE_NAME": "Köln <Süd>"}])
AS_HTML = "Köln &lt;Süd&gt;"


@named
def test_pages_of_strangers(app: Flask) -> None:
    """Users recognise the page that a link opens, and the sign-in page."""
    stranger = Visitor(app.test_client())
    for path in ("/admin/login", "/password", "/verify", "/setup", "/docs", "/nothing"):
        page = stranger.get(path).text
        assert f" – {AS_HTML}</title>" in page, path
        assert f'<bdi dir="auto">{AS_HTML}</bdi></a>' in page, path


@named
def test_second_factor(app: Flask, cast: Cast) -> None:
    """An authenticator app names the service so; the footer still names the program."""
    page = signed_in(app, cast.ada).get(f"/account/factors/{begin_app(app, cast.ada).factor_id}/app").text
    assert "issuer=K%C3%B6ln%20%3CS%C3%BCd%3E" in page
    assert "<span>Enrol 1." in page


@pytest.mark.one_database
@pytest.mark.parametrize("settings", [{"ENROL_INSTANCE_NAME": "Acme: Users"}])
def test_name_with_a_colon(app: Flask, cast: Cast) -> None:
    """An app takes what is before the first colon for the issuer, and the rest for the email."""
    page = signed_in(app, cast.ada).get(f"/account/factors/{begin_app(app, cast.ada).factor_id}/app").text
    assert "totp/Acme%20Users:ada" in page
    assert "issuer=Acme%20Users" in page


def test_site_files(app: Flask) -> None:
    stranger = Visitor(app.test_client())
    icon, robots = stranger.get("/favicon.ico"), stranger.get("/robots.txt")
    assert (icon.status_code, icon.mimetype) == (200, "image/svg+xml")
    assert icon.text.startswith("<svg")
    assert (robots.status_code, robots.mimetype, robots.text) == (200, "text/plain", "User-agent: *\nDisallow: /\n")
    for answer in (icon, robots):
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "Set-Cookie" not in answer.headers
