"""Every error under /v1 has one shape, with a trace id that the header and the log have too."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from support.api import Answer, Api, status_and_code
from support.databases import execute
from support.error_responses import ExpectedError, check_error, logged
from support.people import PASSWORD, make_key, make_user
from users.roles import Permission, Role
from users.services import user_creation

pytestmark = pytest.mark.one_database


def _send(api: Api, body: bytes, **headers: str) -> Answer:
    return api.call("POST", "/v1/user/", data=body, headers={"Content-Type": "application/json", **headers})


def _send_once(api: Api, body: bytes) -> Answer:
    return _send(api, body, **{"Idempotency-Key": "one"})


def _change(
    api: Api, header: str = "Accept", value: str = "*/*", path: str = "", method: str = "PATCH", **given: Any
) -> Answer:
    """Change the only administrator."""
    app = api.client.application
    user = make_user(app, "ada@example.com", Role.ADMIN)
    headers = {header: value}
    return api.call(method, f"/v1/user/{user.id}{path}", key=make_key(app, *Permission), headers=headers, json=given)


def _try_passwords(api: Api, count: int) -> Answer:
    """Return the last answer."""
    key, body = make_key(api.client.application, Permission.USERS_VERIFY), {"email": "jo@example.com", "password": "no"}
    return [api.call("POST", "/v1/user/verify-password", key=key, json=body) for _ in range(count)][-1]


def _crash(*_: Any, **__: Any) -> None:
    raise RuntimeError("canary: the text of an unexpected error")


REQUEST = "invalid_request_error"
PROVOKED: dict[str, tuple[Callable[[Api], Answer], ExpectedError]] = {
    "broken json": (lambda api: _send(api, b"{"), ExpectedError(400, "INVALID_JSON", REQUEST)),
    "not an object": (lambda api: _send(api, b"[]"), ExpectedError(400, "INVALID_JSON", REQUEST)),
    "no body": (lambda api: _send(api, b""), ExpectedError(400, "INVALID_JSON", REQUEST)),
    "a parameter": (
        lambda api: api.call("POST", "/v1/user/?validate_only=maybe", json={}),
        ExpectedError(400, "INVALID_PARAMETER", REQUEST),
    ),
    "a key used before": (
        lambda api: [
            _send_once(api, b'{"email": "jo@example.com", "password": "%b"}' % p) for p in (b"8" * 8, b"9" * 8)
        ][1],
        ExpectedError(422, "IDEMPOTENCY_KEY_REUSED", "validation_error"),
    ),
    "no key": (
        lambda api: api.call("POST", "/v1/user/", key=None),
        ExpectedError(401, "AUTHENTICATION_REQUIRED", "authentication_error"),
    ),
    "no permission": (
        lambda api: api.call("POST", "/v1/user/", key=make_key(api.client.application)),
        ExpectedError(403, "INSUFFICIENT_PERMISSIONS", "authorization_error"),
    ),
    "no such user": (
        lambda api: api.get("/v1/user/usr_01900000000070008000000000000000"),
        ExpectedError(404, "USER_NOT_FOUND", "not_found_error"),
    ),
    "no id": (lambda api: api.get("/v1/user/nobody"), ExpectedError(404, "USER_NOT_FOUND", "not_found_error")),
    "nul in a path": (lambda api: api.get("/v1/user/%00"), ExpectedError(404, "USER_NOT_FOUND", "not_found_error")),
    "unknown path": (lambda api: api.get("/v1/nothing"), ExpectedError(404, "NOT_FOUND", "not_found_error")),
    "unknown path without a key": (
        lambda api: api.get("/v1/nothing", key=None),
        ExpectedError(404, "NOT_FOUND", "not_found_error"),
    ),
    "the root of the api": (lambda api: api.get("/v1"), ExpectedError(404, "NOT_FOUND", "not_found_error")),
    "two slashes": (
        lambda api: api.call("POST", "/v1//user/", json={}),
        ExpectedError(404, "NOT_FOUND", "not_found_error"),
    ),
    "wrong method": (lambda api: api.call("PUT", "/v1/user/"), ExpectedError(405, "METHOD_NOT_ALLOWED", REQUEST)),
    "options": (lambda api: api.call("OPTIONS", "/v1/user/me"), ExpectedError(405, "METHOD_NOT_ALLOWED", REQUEST)),
    "method of no standard": (
        lambda api: api.call("BREW", "/v1/user/me"),
        ExpectedError(405, "METHOD_NOT_ALLOWED", REQUEST),
    ),
    "taken": (
        lambda api: api.create(email="taken@example.com"),
        ExpectedError(409, "USER_ALREADY_EXISTS", "conflict_error"),
    ),
    "the last administrator": (
        lambda api: _change(api, is_active=False),
        ExpectedError(409, "LAST_ADMINISTRATOR", "conflict_error"),
    ),
    "changed meanwhile": (
        lambda api: _change(api, "If-Match", '"other"', first_name="Jo"),
        ExpectedError(412, "PRECONDITION_FAILED", "conflict_error"),
    ),
    "no tag": (lambda api: _change(api, "If-Match", "other"), ExpectedError(400, "INVALID_PARAMETER", REQUEST)),
    "no number": (lambda api: api.get("/v1/user/?skip=-1"), ExpectedError(400, "INVALID_PARAMETER", REQUEST)),
    "no base url for a link": (
        lambda api: _change(api, "Host", "stranger.example", path="/verification", method="POST"),
        ExpectedError(400, "UNTRUSTED_HOST", REQUEST),
    ),
    "too many wrong passwords": (
        lambda api: _try_passwords(api, 11),
        ExpectedError(429, "RATE_LIMIT_EXCEEDED", "rate_limit_error"),
    ),
    "large": (lambda api: _send(api, b" " * 65537), ExpectedError(413, "PAYLOAD_TOO_LARGE", REQUEST)),
    "a form": (
        lambda api: api.call("POST", "/v1/user/", data={"email": "jo@example.com"}),
        ExpectedError(415, "UNSUPPORTED_MEDIA_TYPE", REQUEST),
    ),
    "one field": (lambda api: api.create(email="jo"), ExpectedError(422, "INVALID_EMAIL_FORMAT", "validation_error")),
    "two fields": (
        lambda api: api.create(email="jo", password="x"),
        ExpectedError(422, "VALIDATION_ERROR", "validation_error"),
    ),
}


@pytest.mark.parametrize("name", PROVOKED)
def test_error_responses(app: Flask, api: Api, events: list[logging.LogRecord], name: str) -> None:
    provoke, expected = PROVOKED[name]
    make_user(app, "taken@example.com")
    error = check_error(provoke(api), expected)
    fields = logged(events, "request")
    assert fields["trace_id"] == error["trace_id"]
    assert (fields["status"], fields["code"]) == (expected.status, expected.code)


def test_unexpected_error(api: Api, events: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text is in the log, and not in the answer."""
    monkeypatch.setattr(user_creation, "create_user", _crash)
    error = check_error(api.create(), ExpectedError(500, "INTERNAL_SERVER_ERROR", "server_error"))
    assert error["details"] == {}
    assert "canary" not in str(error)
    fields = logged(events, "unexpected_error")
    assert fields["trace_id"] == error["trace_id"]
    assert fields["error"] == "RuntimeError"
    assert "test_error_shape.py" in fields["place"]
    assert "canary" not in str(fields)


def test_unavailable_database_is_503(app: Flask, api: Api) -> None:
    execute(app, "ALTER TABLE users RENAME TO elsewhere")
    try:
        answer = api.create()
        error = check_error(answer, ExpectedError(503, "SERVICE_UNAVAILABLE", "server_error"))
        assert int(answer.headers["Retry-After"]) > 0
        assert "elsewhere" not in str(error)
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO users")
    assert api.create().status_code == 201


@pytest.mark.parametrize("settings", [{"ENROL_TRUSTED_HOSTS": "users.example.com,.intra.example,[::1]"}])
def test_untrusted_host_is_400(api: Api) -> None:
    for host in ("evil.example", "users.example.com.evil.example", "intra.example.evil", "[::2]:80", ""):
        answer = api.get("/v1/user/me", headers={"Host": host})
        check_error(answer, ExpectedError(400, "UNTRUSTED_HOST", REQUEST))
        assert api.get("/", headers={"Host": host}).status_code == 400
    for host in ("users.example.com", "users.example.com:8000", "users.example.com.", "a.intra.example", "[::1]:5000"):
        assert api.get("/v1/user/me", headers={"Host": host}).status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"])
def test_double_slash_is_404(api: Api, method: str) -> None:
    """A client with an empty id must not get all users. It is the answer to an unknown path, which needs no key."""
    for path in (
        "/v1/user//",
        "//v1/user/",
        "//v1/user",
        "/v1//user/",
        "/v1/user///",
        "/v1/user//me",
        "/v1/user//verification",
        "/v1/user//password-link",
        "/v1/user/me//",
        "/v1/user/batch//",
        "//v1/user/email/jo@example.com",
    ):
        answer = api.call(method, "/", key=None, environ_overrides={"PATH_INFO": path})
        assert answer.status_code == 404, path
        if method != "HEAD":
            assert answer.json["error"]["code"] == "NOT_FOUND"
    for path in ("/admin/users//", "//admin/users", "//", "//docs", "//healthz", "//openapi.json"):
        assert api.call(method, "/", environ_overrides={"PATH_INFO": path}).status_code == 404, path


def test_one_slash_at_the_end_is_no_redirect(api: Api) -> None:
    for path in ("/v1/user", "/v1/user/", "/healthz", "/healthz/", "/openapi.json/"):
        assert api.get(path).status_code == 200
    assert api.get("/v1/user/email/a//b@example.com").json["error"]["code"] == "USER_NOT_FOUND"


def test_405_names_the_allowed_methods(api: Api) -> None:
    assert api.call("DELETE", "/v1/user/").headers["Allow"] == "GET, HEAD, POST"
    for path in ("verify-password", "invite", "invite/"):
        for method in ("GET", "HEAD", "PATCH", "DELETE"):
            answer = api.call(method, f"/v1/user/{path}")
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert api.call("PUT", "/v1/user/usr_0/password-link").headers["Allow"] == "DELETE, GET, HEAD, POST"
    assert status_and_code(api.get("/v1/user/invite/password-link")) == (404, "NOT_FOUND")  # no word is an id
    assert api.call("OPTIONS", "/v1/user/me").headers["Allow"] == "GET, HEAD"
    assert (
        "Access-Control-Allow-Origin" not in api.call("OPTIONS", "/v1/user/", headers={"Origin": "https://x.y"}).headers
    )


def test_allow_with_and_without_slash(app: Flask, api: Api) -> None:
    """Werkzeug finds `/v1/user` by the methods of `/v1/user/` alone, and takes it for unknown under any other."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<\w+:email>", "jo@example.com", rule.rule)
        path = re.sub(r"<path:\w+>", "app.css", path)
        path = re.sub(r"<[^>]+>", "usr_0", path).rstrip("/")
        allowed = {api.call("BREW", one).headers.get("Allow") for one in (path or "/", f"{path}/")}
        (methods,) = allowed
        assert methods, path
        assert set(methods.split(", ")) >= (rule.methods or set())


def test_method_cannot_be_overridden(api: Api) -> None:
    answer = api.call("PUT", "/v1/user/", headers={"X-HTTP-Method-Override": "POST"})
    assert answer.status_code == 405


def test_head_is_get_without_the_body(app: Flask, api: Api) -> None:
    user = make_user(app, "jo@example.com")
    answer = api.call("HEAD", f"/v1/user/{user.id}")
    assert answer.status_code == 200
    assert answer.data == b""
    assert answer.headers["Content-Length"] == api.get(f"/v1/user/{user.id}").headers["Content-Length"]


def test_order_of_checks(app: Flask, api: Api) -> None:
    """Authenticate, authorise, parse, validate, act: an answer says nothing about the later steps."""
    weak = make_key(app)
    assert api.call("POST", "/v1/user/", key=None, data=b"{").status_code == 401
    assert api.call("POST", "/v1/user/", key=weak, data=b"{").status_code == 403
    assert api.call("POST", "/v1/user/", data=b"{").status_code == 415
    assert _send(api, b"{").status_code == 400
    assert _send(api, b"{}").status_code == 422


def test_paths_with_and_without_slash(app: Flask, api: Api) -> None:
    ada = make_user(app, "ada@example.com", Role.ADMIN)
    api.key = make_key(app, Permission.USERS_READ, Permission.USERS_CREATE, owner=ada)
    for path in ("me", "profile", "current", ada.id):
        assert api.get(f"/v1/user/{path}").json == api.get(f"/v1/user/{path}/").json
    body = {"email": "jo@example.com", "password": PASSWORD}
    assert api.call("POST", "/v1/user", json=body).status_code == 201


def test_unknown_query_parameter_is_ignored(api: Api) -> None:
    answer = api.call("POST", "/v1/user/?colour=blue", json={"email": "jo@example.com", "password": PASSWORD})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("req_abc123xyz", True),
        ("req_" + "a" * 60, True),
        ("req_" + "a" * 61, False),
        ("req_short", False),
        ("req_with-dash", False),
        ("xxreq_abc123xyz", False),
        ("a.client-1", False),
        ("", False),
    ],
)
def test_request_id_of_the_client(api: Api, events: list[logging.LogRecord], given: str, kept: bool) -> None:
    answer = api.get("/v1/nothing", headers={"X-Request-Id": given})
    trace_id = answer.headers["X-Request-Id"]
    assert (trace_id == given) is kept
    assert answer.json["error"]["trace_id"] == trace_id
    names_its_own = not kept and re.fullmatch(r"[A-Za-z0-9._-]{8,64}", given)
    assert logged(events, "request")["client_request_id"] == (given if names_its_own else None)
    assert ("request_id" in logged(events, "request")) is kept  # ours, which a line without it has as its trace id


def test_published_errors(app: Flask, api: Api) -> None:
    """The 401 and 403 are those of the published page, to the letter."""
    page = (Path(__file__).parents[1] / "reference/errors.json").read_text(encoding="utf-8")
    for key, status, published in zip((None, make_key(app)), (401, 403), json.loads(page), strict=True):
        answer = api.call("POST", "/v1/user/", key=key, json={})
        assert answer.status_code == status
        moving = {"trace_id": "", "timestamp": ""}
        assert {**answer.json["error"], **moving} == {**published["error"], **moving}
        assert list(answer.json["error"]) == list(published["error"])
        assert answer.json["success"] is published["success"] is False


def test_challenge_names_the_missing_scope(app: Flask, api: Api) -> None:
    assert api.call("POST", "/v1/user/", key=None).headers["WWW-Authenticate"] == 'Bearer realm="enrol"'
    answer = api.call("POST", "/v1/user/", key=make_key(app))
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="users:create"'


def test_error_is_a_page_outside_v1(api: Api) -> None:
    for path in ("/nothing", "/v1nothing", "/v11/user/"):
        answer = api.get(path)
        assert answer.status_code == 404
        assert answer.mimetype == "text/html"
        assert answer.headers["X-Request-Id"] in answer.text


def test_error_closes_the_connection(api: Api) -> None:
    """Otherwise a client that reuses the connection would send its next request into a closed one and lose it."""
    assert api.call("POST", "/v1/user/", key=None, json={}).headers["Connection"] == "close"
    assert api.create(email="jo").headers["Connection"] == "close"
    assert "Connection" not in api.create().headers
    assert "Connection" not in api.get("/v1/nothing").headers


def test_unread_body_closes_the_connection(app: Flask, api: Api) -> None:
    """The view reads no body, and the request has one."""
    user = make_user(app, "jo@example.com")
    assert api.get(f"/v1/user/{user.id}", json={}).headers["Connection"] == "close"
    assert "Connection" not in api.get(f"/v1/user/{user.id}").headers
