"""What holds on each page: headers, error pages, no secrets."""

import logging
import re
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, dispose
from support.databases import rows
from support.page_forms import CANARY, EVERY_FIELD
from support.people import PASSWORD, Cast, make_user
from support.visitors import LOGIN, NEW_USER, Visitor, problems_in, signed_in, token_in
from users import __version__
from users.auth import sessions
from users.errors import Unavailable
from users.roles import Role
from users.services.lists import user_search
from users.storage import schema_version

pytestmark = pytest.mark.one_database

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.mark.parametrize(
    "path", ["/", "/setup", LOGIN, "/nothing", "/v1/user/me", "/static/app.css", "/static/nothing"]
)
def test_security_headers(visitor: Visitor, path: str) -> None:
    """Each response has the security headers."""
    headers = visitor.get(path).headers
    assert headers["Content-Security-Policy"] == CSP
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Permissions-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Request-Id"].startswith("req_")
    assert "Strict-Transport-Security" not in headers


def test_static_caching(visitor: Visitor) -> None:
    """A file is cached for a year under the hash of its content."""
    page = visitor.get(LOGIN).text
    paths = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert {path.partition("?")[0] for path in paths} == {"/static/app.css", "/static/app.js", "/static/icon.svg"}
    for path in paths:
        answer = visitor.get(path)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Set-Cookie" not in answer.headers
        assert visitor.get(path + "0").headers["Cache-Control"] == "no-store"


def test_a_page_that_is_not_there_says_so(ada: Visitor) -> None:
    for path in (
        "/nothing",
        "/admin/users/usr_1",
        "/admin/keys/akid_1",
        f"/admin/keys/akid_{'0' * 32}",
        f"/admin/keys/AKID_{'0' * 32}",
        f"/admin/keys/akid_{'0' * 32}%00",
        f"/admin/keys/akid_{'٠' * 32}",
        f"/admin/keys/usr_{'0' * 32}",
        "/admin/keys/%27%20or%201=1",
        "/admin/keys/%00",
        "/admin/keys/akid_1/revoke",
        "/admin/users/%00",
        "/admin/keys/%00/revoke",
    ):
        answer = ada.get(path)
        assert answer.status_code == 404
        assert "<h1>Page not found</h1>" in answer.text
        assert "Sign out" in answer.text
        assert answer.headers["X-Request-Id"] in answer.text


def test_forbidden_page(omar: Visitor, cast: Cast) -> None:
    """A page that needs another permission says so."""
    for path in ("/admin/keys", "/admin/keys/new", f"/admin/users/{cast.ada.id}/password"):
        answer = omar.get(path)
        assert answer.status_code == 403
        assert "<h1>You do not have access to this page</h1>" in answer.text


def test_the_wrong_method_says_so(ada: Visitor) -> None:
    answer = ada.get("/admin/logout")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert "This page cannot be used that way" in answer.text


def test_internal_error(app: Flask, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of an internal error shows the request id, not the cause."""

    def fail(*_given: object, **_place: object) -> None:
        raise ValueError(CANARY)

    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(user_search, "find", fail)
    answer = ada.get("/admin/users")
    assert answer.status_code == 500
    assert "<h1>Sorry, there is a problem with the service</h1>" in answer.text
    assert answer.headers["X-Request-Id"] in answer.text
    assert CANARY not in answer.text


def test_public_page_without_database(app: Flask, ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public page is shown while no session can be looked up."""

    def fail(_: str) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(sessions, "find", fail)
    page = ada.get(LOGIN)
    assert page.status_code == 200
    assert "Sign out" not in page.text
    answer = ada.post(LOGIN, token=token_in(page), email="ada@example.com", password=PASSWORD)
    assert answer.status_code == 503  # the session that it would replace is not known
    assert len(rows(app, "SELECT 1 FROM admin_sessions")) == 1


def test_the_error_page_needs_no_database(ada: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_engine: object) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(schema_version, "require_usable", away)
    for path in ("/", "/admin/users", "/setup"):
        answer = ada.get(path)
        assert answer.status_code == 503
        assert "<h1>Sorry, there is a problem with the service</h1>" in answer.text
        assert answer.headers["Retry-After"]


def test_untrusted_host(tmp_path: Path) -> None:
    """The error page renders for a host that is not trusted."""
    app = create_app(
        {**CHEAP, "DATABASE_URL": f"sqlite:///{tmp_path}/enrol.db", "ENROL_TRUSTED_HOSTS": "users.example.com"}
    )
    answer = app.test_client().get("/admin/login", base_url="http://evil.example")
    assert answer.status_code == 400
    assert "This page cannot be shown" in answer.text
    assert "evil.example" not in answer.text
    dispose(app)


def test_a_form_that_is_too_large_says_so(ada: Visitor) -> None:
    answer = ada.post(NEW_USER, email="a" * 70_000)
    assert answer.status_code == 413
    assert "That was too much at once" in answer.text


def test_no_secrets_leak(app: Flask, ada: Visitor, changing: list[str], caplog: pytest.LogCaptureFixture) -> None:
    """The canary password through every form, right and wrong, and the session's id beside it."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("enrol").propagate = True
    make_user(app, "canary@example.com", Role.ADMIN, password=CANARY)
    browser = Visitor(app.test_client())
    answers = [browser.sign_in("canary@example.com", CANARY), browser.sign_in("nobody@example.com", CANARY)]
    secrets = [CANARY, str(ada.session_id), str(browser.session_id)]
    token = browser.token("/account")
    for path in [path for path in changing if path not in ("/admin/logout", "/account")]:
        for fields in (EVERY_FIELD, {**EVERY_FIELD, "email": "x"}, {**EVERY_FIELD, "email": "ada@example.com"}):
            answers.append(browser.post(path, token=token, **{**fields, "password": CANARY}))
            answers.append(browser.get("/admin/users"))
            if path == LOGIN:
                browser.sign_in("canary@example.com", CANARY)
                secrets.append(str(browser.session_id))
                token = browser.token("/account")
    answers.append(ada.post("/account", current_password=CANARY, password="short"))
    logging.getLogger("enrol").propagate = False
    assert len(answers) > 20
    for secret in secrets:
        assert secret not in caplog.text
        for answer in answers:
            assert secret not in answer.text
            for name, value in answer.headers:
                assert secret not in value or (name == "Set-Cookie" and value.startswith("enrol="))
        for table in ("users", "audit_events", "admin_sessions", "api_keys"):
            assert secret not in str(rows(app, f"SELECT * FROM {table}"))


def test_problems_shown_twice(ada: Visitor) -> None:
    """A problem is in the summary and beside its field."""
    page = ada.create(email="", first_name="a\nb", password="short")
    assert page.status_code == 422
    assert "<title>Error: Create a user – Users – Enrol</title>" in page.text
    for name, words in problems_in(page):
        assert f'<a href="#{name}">{words}</a>' in page.text
        assert re.search(rf'id="{name}"', page.text)
    assert page.text.count('aria-invalid="true"') == 3
    assert page.text.index("There is a problem") < page.text.index("<h1>")
    assert 'aria-describedby="password-hint password-error"' in page.text


def test_version_is_shown_to_users_alone(app: Flask, ada: Visitor, cast: Cast, visitor: Visitor) -> None:
    """At the foot of the pages, to a user who holds a permission; a stranger and a member do not learn it."""
    shown = f"<span>Enrol {__version__}</span>"
    assert shown in ada.get("/admin/users").text
    for path in (LOGIN, "/nothing", "/docs"):
        assert "<span>Enrol</span>" in visitor.get(path).text
    sam = signed_in(app, cast.sam)
    for path in ("/account", "/nothing", "/admin/users", f"/admin/users/{cast.ada.id}", "/verify", "/password"):
        assert __version__ not in sam.get(path).text, path


def test_page_for_a_member(app: Flask, cast: Cast) -> None:
    """It is about their account alone: no way to pages that would refuse them, no other user, no role."""
    sam = signed_in(app, cast.sam)
    for path in ("/account", "/nothing", "/admin/users", f"/admin/users/{cast.ada.id}", "/admin/logout"):
        page = sam.get(path).text.partition("<body>")[2]
        assert set(re.findall(r'href="(/[^"]*)"', page)) <= {"/", "/account", "/account/factors"}, path
        assert not re.search(r"ada@|omar@|Role|Created", page.partition("<main")[2]), path
    refused = sam.get("/admin/users").text
    assert "<h1>You do not have access to this page</h1>" in refused
    assert '<a class="button" href="/">Go to your account</a>' in refused
    assert [sam.get(path).location for path in ("/", "/admin", "/admin/account")] == ["/account"] * 3
