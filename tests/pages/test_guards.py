"""What holds on every page: whose forms are believed, that nothing typed is lost, headers, errors, no secrets."""

import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from app import create_app
from support.application import CHEAP, dispose
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key, make_user
from support.visitors import LOGIN, NEW_USER, Visitor, problems_in, signed_in, summary_in, token_in
from users.actors import terminal
from users.auth import sessions
from users.errors import Unavailable
from users.roles import Permission, Role
from users.services import email_verification, user_search
from users.storage import schema_version

CANARY = "canary-Xq7pass"
STALE = "This page was open for too long, so nothing was saved."
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture
def changing(app: Flask, cast: Cast) -> list[str]:
    """The path of every page that changes something, filled in."""
    make_key(app, Permission.USERS_READ, owner=cast.omar)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    rules = (rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ()))
    paths = sorted(rule.rule for rule in rules if not rule.rule.startswith("/v1"))
    return [path.replace("<user_id>", cast.omar.id).replace("<key_id>", key_id) for path in paths]


def state(app: Flask) -> list[Any]:
    """Return everything that a page could have changed."""
    tables = {"users": "id", "api_keys": "id", "admin_sessions": "id_hash", "audit_events": "id"}
    ignored = {"last_seen_at"}
    found = []
    for table, order in tables.items():
        for row in rows(app, f"SELECT * FROM {table} ORDER BY {order}"):
            found.append([value for name, value in row._mapping.items() if name not in ignored])
    return found


FORM = {
    "email": "new@example.com",
    "password": CANARY,
    "current_password": PASSWORD,
    "name": "CI",
    "scopes": "users:read",
    "owner": "ada@example.com",
    "expires": "90",
    "choice": "type",
}


@pytest.mark.parametrize("kind", ["missing", "empty", "nonsense", "of another", "from before the sign-in"])
def test_a_token_that_is_not_of_this_session_changes_nothing(
    app: Flask, cast: Cast, changing: list[str], kind: str
) -> None:
    ada = Visitor(app.test_client())
    before = ada.token(LOGIN)
    ada.sign_in("ada@example.com")
    token = {
        "missing": None,
        "empty": "",
        "nonsense": "x.y.z",
        "of another": signed_in(app, cast.omar).token("/admin/account"),
        "from before the sign-in": before,
    }[kind]
    with app.app_context():
        link = email_verification.issue(cast.sam.id, actor=terminal("req_test00000000")).token
    then = state(app)
    for path in changing:
        answer = ada.post(path, token=token, **FORM, link=link)
        if path == "/setup":
            assert answer.status_code == 404
            continue
        if path == LOGIN:  # somebody signed in goes on, and stays who they are
            assert (answer.status_code, answer.location) == (303, "/admin/users")
            continue
        assert answer.status_code == 400, path
        assert STALE in summary_in(answer), path
        assert CANARY not in answer.text
        assert PASSWORD not in answer.text
    assert state(app) == then


def test_a_replayed_cookie_of_the_form_is_not_enough(app: Flask, cast: Cast, visitor: Visitor) -> None:
    token = visitor.token(LOGIN)
    planted = visitor.client.get_cookie("enrol-form")
    assert planted
    visitor.sign_in("ada@example.com")
    visitor.client.set_cookie("enrol-form", planted.value)
    assert visitor.post(NEW_USER, token=token, **FORM).status_code == 400


@pytest.mark.one_database
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "https://localhost"},
        {"Origin": "localhost"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_a_form_from_another_site_changes_nothing(
    app: Flask, ada: Visitor, changing: list[str], headers: dict[str, str]
) -> None:
    then = state(app)
    token = ada.token("/admin/account")
    for path in changing:
        answer = ada.post(path, token=token, headers=headers, **FORM)
        assert answer.status_code == 403, path
        assert "You do not have access to this page" in answer.text
        assert "WWW-Authenticate" not in answer.headers
    assert state(app) == then


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}],
    ids=str,
)
def test_a_form_from_this_site_is_believed(ada: Visitor, headers: dict[str, str]) -> None:
    assert ada.create(headers=headers).status_code == 303


@pytest.mark.parametrize("settings", [{"ENROL_PUBLIC_URL": "https://users.example.com"}])
def test_the_public_address_is_this_site_behind_a_proxy(app: Flask, cast: Cast) -> None:
    client, base = app.test_client(), "https://users.example.com"
    token = token_in(client.get(LOGIN, base_url=base))
    fields = {"email": "ada@example.com", "password": PASSWORD, "csrf_token": token}
    for headers, status in (({"Origin": base}, 303), ({"Origin": "https://other.example.com"}, 403)):
        assert client.post(LOGIN, base_url=base, data=fields, headers=headers).status_code == status


def test_a_stale_token_loses_nothing_but_the_password(ada: Visitor) -> None:
    typed = {"email": "jo@", "first_name": "Jo <b>", "last_name": "O’Neil", "global_role_id": "role_auditor"}
    page = ada.create(**typed, password=CANARY, token="stale")
    assert page.text.count("autofocus") == 1
    for value in ("jo@", "Jo &lt;b&gt;", "O’Neil"):
        assert f'value="{value}"' in page.text
    assert '<option selected value="role_auditor">' in page.text
    assert re.search(r'value="type" id="choice-1" checked', page.text)
    assert CANARY not in page.text
    assert ada.post(NEW_USER, token=token_in(page), choice="generate", email="jo@example.com").status_code == 200


def test_a_session_that_ended_loses_nothing_but_the_password(app: Flask, ada: Visitor) -> None:
    token = ada.token("/admin/account")
    ada.client.delete_cookie("enrol")
    typed = {"email": "jo@example.com", "first_name": "Jo", "global_role_id": "role_auditor", "choice": "type"}
    asked = ada.post(NEW_USER, token=token, password=CANARY, **typed)
    assert asked.status_code == 403
    assert "Sign in again" in asked.text
    assert CANARY not in asked.text
    assert "jo@" not in re.findall(r'<input[^>]+id="email"[^>]*>', asked.text)[0]  # not who signs in
    kept = {f"kept-{name}": value for name, value in typed.items()}
    for name, value in kept.items():
        assert f'name="{name}" value="{value}"' in asked.text

    wrong = ada.post(LOGIN, token=token_in(asked), email="ada@example.com", password="wrong", next=NEW_USER, **kept)
    assert wrong.status_code == 422
    assert all(f'name="{name}" value="{value}"' in wrong.text for name, value in kept.items())

    page = ada.post(LOGIN, token=token_in(wrong), email="ada@example.com", password=PASSWORD, next=NEW_USER, **kept)
    assert page.status_code == 200
    assert "You are signed in again" in page.text
    assert 'action="/admin/users/new"' in page.text
    assert 'value="jo@example.com"' in page.text
    assert 'value="Jo"' in page.text
    assert '<option selected value="role_auditor">' in page.text
    assert rows(app, "SELECT 1 FROM users WHERE email = 'jo@example.com'") == []
    assert ada.post(NEW_USER, token=token_in(page), password=PASSWORD, **typed).status_code == 303


@pytest.mark.parametrize("path", ["/admin/users/{}/deactivate", "/admin/account/sessions"])
def test_a_session_that_ended_is_said_where_nothing_was_typed(app: Flask, ada: Visitor, cast: Cast, path: str) -> None:
    token = ada.token("/admin/account")
    ada.client.delete_cookie("enrol")
    asked = ada.post(path.format(cast.omar.id), token=token)
    assert asked.status_code == 403
    assert "Your session has ended" in asked.text
    assert "So nothing was done." in asked.text
    assert rows(app, "SELECT 1 FROM users WHERE NOT is_active") == []


@pytest.mark.parametrize("token", ["own", "stale"])
def test_signing_out_of_a_session_that_ended_is_signing_out(ada: Visitor, token: str) -> None:
    sent = ada.token("/admin/account") if token == "own" else token
    ada.session_id = "ended"
    answer = ada.post("/admin/logout", token=sent)
    assert (answer.status_code, answer.location) == (303, "/admin/login")
    assert ada.session_id is None


def test_the_sign_in_form_of_another_tab_leads_on_once_signed_in(cast: Cast, visitor: Visitor) -> None:
    before = visitor.token(LOGIN)
    visitor.sign_in("ada@example.com")
    there = {"email": "ada@example.com", "password": PASSWORD, "token": before}
    answer = visitor.post(LOGIN, next="/admin/keys", **there)
    assert (answer.status_code, answer.location) == (303, "/admin/keys")
    page = visitor.post(LOGIN, next=NEW_USER, **there, **{"kept-email": "jo@example.com"})
    assert page.status_code == 200
    assert 'value="jo@example.com"' in page.text
    assert "There is a problem" not in page.text


@pytest.mark.parametrize("path", ["/admin", "/admin/"])
def test_the_short_address_leads_to_the_users(visitor: Visitor, path: str) -> None:
    assert visitor.get(path).location == "/admin/users"


def test_several_ticks_of_a_form_come_back_after_a_sign_in(ada: Visitor, cast: Cast) -> None:
    ada.client.delete_cookie("enrol")
    scopes = ["users:read", "users:update"]
    asked = ada.post("/admin/keys/new", name="CI", scopes=scopes, owner="omar@example.com", expires="365")
    kept: dict[str, Any] = {
        "kept-name": "CI",
        "kept-scopes": scopes,
        "kept-owner": "omar@example.com",
        "kept-expires": "365",
    }
    assert asked.text.count('name="kept-scopes"') == 2
    page = ada.post(LOGIN, email="ada@example.com", password=PASSWORD, next="/admin/keys/new", **kept).text
    assert re.findall(r'value="(users:\w+)" id="scopes-\d" checked', page) == scopes
    assert 'value="omar@example.com"' in page
    assert re.search(r'value="365" id="expires-2" checked', page)


@pytest.mark.one_database
@pytest.mark.parametrize(
    "there", ["/nope", "/setup", "/v1/user/me", "/v1/user/", "/admin/users", "//evil.example", "/admin/login"]
)
def test_kept_fields_open_no_other_door(cast: Cast, visitor: Visitor, there: str) -> None:
    answer = visitor.sign_in("ada@example.com", next=there, **{"kept-email": "jo@example.com"})
    assert (answer.status_code, answer.location) == (303, "/admin/users")


def test_another_person_comes_back_only_to_what_they_may_do(cast: Cast, visitor: Visitor) -> None:
    answer = visitor.sign_in("vera@example.com", next=NEW_USER, **{"kept-email": "jo@example.com"})
    assert answer.status_code == 403


@pytest.mark.one_database
@pytest.mark.parametrize(
    "path", ["/", "/setup", LOGIN, "/nothing", "/v1/user/me", "/static/app.css", "/static/nothing"]
)
def test_every_answer_has_the_security_headers(visitor: Visitor, path: str) -> None:
    headers = visitor.get(path).headers
    assert headers["Content-Security-Policy"] == CSP
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Permissions-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Request-Id"].startswith("req_")
    assert "Strict-Transport-Security" not in headers


def test_files_are_kept_for_a_year_under_their_content_s_hash(visitor: Visitor) -> None:
    page = visitor.get(LOGIN).text
    paths = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert {path.partition("?")[0] for path in paths} == {"/static/app.css", "/static/app.js", "/static/icon.svg"}
    for path in paths:
        answer = visitor.get(path)
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Set-Cookie" not in answer.headers
        assert visitor.get(path + "0").headers["Cache-Control"] == "no-store"


def test_the_files_are_small_and_pages_have_nothing_inline(ada: Visitor, changing: list[str]) -> None:
    static = Path(ada.client.application.static_folder or "")
    assert (static / "app.css").stat().st_size < 12_000
    assert (static / "app.js").stat().st_size < 6_000
    for path in ("/admin/users", "/admin/keys", "/admin/start", *changing):
        page = ada.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]+src=)|javascript:|data:", page), path


def test_a_page_that_is_not_there_says_so(ada: Visitor) -> None:
    for path in (
        "/nothing",
        "/admin/users/usr_1",
        "/admin/keys/akid_1/revoke",
        "/admin/users/%00",
        "/admin/keys/%00/revoke",
    ):
        answer = ada.get(path)
        assert answer.status_code == 404
        assert "<h1>Page not found</h1>" in answer.text
        assert "Sign out" in answer.text
        assert answer.headers["X-Request-Id"] in answer.text


def test_a_page_that_is_not_for_you_says_so(omar: Visitor, cast: Cast) -> None:
    for path in ("/admin/keys", "/admin/keys/new", f"/admin/users/{cast.ada.id}/password"):
        answer = omar.get(path)
        assert answer.status_code == 403
        assert "<h1>You do not have access to this page</h1>" in answer.text


NOT_UTF_8 = {
    "percent": ("application/x-www-form-urlencoded", b"first_name=Ren%E9&"),
    "in a password": ("application/x-www-form-urlencoded", b"password=correct+horse+%E9t%E9&"),
    "half of a surrogate pair": ("application/x-www-form-urlencoded", b"last_name=%ED%A0%80&"),
    "in a name": ("application/x-www-form-urlencoded", b"%E9=1&"),
    "as it is": ("application/x-www-form-urlencoded", b"first_name=Ren\xe9&"),
    "in parts": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="first_name"\r\n\r\nRen\xe9\r\n',
    ),
}


@pytest.mark.one_database
@pytest.mark.parametrize("kind", NOT_UTF_8)
@pytest.mark.parametrize("signed_out", [False, True])
def test_a_form_that_is_not_utf_8_is_refused(app: Flask, ada: Visitor, cast: Cast, kind: str, signed_out: bool) -> None:
    """Werkzeug reads `%E9` in its place: a user would be called so, or have it in the password."""
    content_type, beginning = NOT_UTF_8[kind]
    fields = {
        "email": "rene@example.com",
        "choice": "type",
        "password": PASSWORD,
        "csrf_token": ada.token("/admin/users"),
    }
    if signed_out:
        execute(app, "DELETE FROM admin_sessions")
    before = state(app)
    for path in ("/admin/users/new", f"/admin/users/{cast.sam.id}/password", "/admin/login", "/admin/keys/new"):
        if content_type.startswith("multipart"):
            parts = [f'--x\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
            rest = "".join([*parts, "--x--\r\n"])
        else:
            rest = urlencode(fields)
        answer = ada.client.post(path, data=beginning + rest.encode(), content_type=content_type)
        assert answer.status_code == 400
        assert "This form was not sent in UTF-8, so nothing was saved." in answer.text
    assert state(app) == before


@pytest.mark.parametrize("name", ["René", "René \N{REPLACEMENT CHARACTER}", "100%E9", "سامي +"])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_in_utf_8_is_kept_as_it_was_typed(app: Flask, ada: Visitor, name: str, content_type: str) -> None:
    fields = {"email": "rene@example.com", "first_name": name, "choice": "type", "password": PASSWORD}
    sent = {**fields, "csrf_token": ada.token("/admin/users")}
    assert ada.client.post("/admin/users/new", data=sent, content_type=content_type).status_code == 303
    assert rows(app, "SELECT first_name FROM users WHERE email = 'rene@example.com'") == [(name,)]


def test_the_wrong_method_says_so(ada: Visitor) -> None:
    answer = ada.get("/admin/logout")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert "This page cannot be used that way" in answer.text


def test_a_fault_says_its_request_id_and_nothing_of_the_cause(
    app: Flask, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object, **_place: object) -> None:
        raise ValueError(CANARY)

    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(user_search, "find", fail)
    answer = ada.get("/admin/users")
    assert answer.status_code == 500
    assert "<h1>Sorry, there is a problem with the service</h1>" in answer.text
    assert answer.headers["X-Request-Id"] in answer.text
    assert CANARY not in answer.text


def test_what_everybody_may_read_needs_nobody_s_session(
    app: Flask, ada: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
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

    monkeypatch.setattr(schema_version, "require_head", away)
    for path in ("/", "/admin/users", "/setup"):
        answer = ada.get(path)
        assert answer.status_code == 503
        assert "<h1>Sorry, there is a problem with the service</h1>" in answer.text
        assert answer.headers["Retry-After"]


def test_the_error_page_stands_for_a_host_that_is_not_trusted(tmp_path: Path) -> None:
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


def test_the_password_and_the_session_are_nowhere_they_should_not_be(
    app: Flask, ada: Visitor, changing: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """The canary password through every form, right and wrong, and the session's id beside it."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("enrol").propagate = True
    make_user(app, "canary@example.com", Role.ADMIN, password=CANARY)
    browser = Visitor(app.test_client())
    answers = [browser.sign_in("canary@example.com", CANARY), browser.sign_in("nobody@example.com", CANARY)]
    secrets = [CANARY, str(ada.session_id), str(browser.session_id)]
    token = browser.token("/admin/account")
    for path in [path for path in changing if path not in ("/admin/logout", "/admin/account")]:
        for fields in (FORM, {**FORM, "email": "x"}, {**FORM, "email": "ada@example.com"}):
            answers.append(browser.post(path, token=token, **{**fields, "password": CANARY}))
            answers.append(browser.get("/admin/users"))
            if path == LOGIN:
                browser.sign_in("canary@example.com", CANARY)
                secrets.append(str(browser.session_id))
                token = browser.token("/admin/account")
    answers.append(ada.post("/admin/account", current_password=CANARY, password="short"))
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


def test_problems_stand_in_the_summary_and_beside_the_field(ada: Visitor) -> None:
    page = ada.create(email="", first_name="a\nb", password="short")
    assert page.status_code == 422
    assert "<title>Error: Create a user – Users – Enrol</title>" in page.text
    for name, words in problems_in(page):
        assert f'<a href="#{name}">{words}</a>' in page.text
        assert re.search(rf'id="{name}"', page.text)
    assert page.text.count('aria-invalid="true"') == 3
    assert page.text.index("There is a problem") < page.text.index("<h1>")
    assert 'aria-describedby="password-hint password-error"' in page.text


@pytest.mark.one_database
def test_a_sign_in_keeps_no_more_fields_than_forms_have(visitor: Visitor) -> None:
    page = visitor.post(NEW_USER, **{f"field{number}": "x" for number in range(500)})
    assert page.status_code == 403
    assert page.text.count('name="kept-') == 100
