"""`GET /v1/user/export`: its parameters, headers and refusals."""

import json
import threading
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from support.api import Api
from support.databases import execute, rows
from support.people import Cast, make_key
from users.bulk import export
from users.bulk.export import COLUMNS
from users.errors import Unavailable
from users.roles import Permission
from users.services.lists import walk

pytestmark = pytest.mark.one_database
EXPORT = "/v1/user/export"


def emails(api: Api, query: str = "") -> list[str]:
    """Return the emails of an export."""
    answer = api.call("GET", f"{EXPORT}?format=jsonl{query}")
    assert answer.status_code == 200
    assert answer.headers["Content-Length"] == str(len(answer.data))
    return [json.loads(line)["email"].partition("@")[0] for line in answer.text.splitlines()]


def test_headers(api: Api, cast: Cast) -> None:
    """It is a file to keep, with a name and its length."""
    for form, kind in (("csv", "text/csv; charset=utf-8"), ("jsonl", "application/x-ndjson")):
        answer = api.call("GET", f"{EXPORT}?format={form}")
        assert answer.content_type == kind
        disposition = answer.headers["Content-Disposition"]
        assert disposition.startswith("attachment; filename=users-20")
        assert disposition.endswith(f".{form}")
    assert api.call("GET", EXPORT).text.splitlines()[0] == ",".join(COLUMNS)


def test_parameters(app: Flask, api: Api, cast: Cast) -> None:
    execute(app, "UPDATE users SET is_active = false WHERE id = :id", id=cast.omar.id)
    execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=cast.vera.id)
    assert emails(api) == ["ada", "omar", "sam"]
    assert emails(api, "&active_only=1") == ["ada", "sam"]
    assert emails(api, "&deactivated_only=true") == ["omar"]
    assert emails(api, "&deactivated_only=true&active_only=true") == []
    assert emails(api, f"&after={cast.ada.id}") == ["omar", "sam"]
    assert emails(api, "&domain=EXAMPLE.com") == ["ada", "omar", "sam"]
    assert emails(api, "&domain=example.org") == []
    assert api.call("GET", f"{EXPORT}?excel=1").data.startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("format=xlsx", "format"),
        ("after=ada", "after"),
        ("hashes=yes", "hashes"),
        ("domain=", "domain"),
        ("domain=a&domain=b", "domain"),
        ("domain=no%20domain", "domain"),
    ],
)
def test_wrong_parameters(app: Flask, api: Api, query: str, parameter: str) -> None:
    answer = api.call("GET", f"{EXPORT}?{query}")
    assert answer.json["error"]["details"] == {"parameter": parameter}
    assert answer.status_code == 400
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'user.export'") == []


def test_hashes_need_a_permission(app: Flask, api: Api, cast: Cast) -> None:
    answer = api.call("GET", f"{EXPORT}?hashes=1")
    assert answer.status_code == 403
    assert 'scope="hashes:read"' in answer.headers["WWW-Authenticate"]
    mighty = Api(api.client, make_key(app, Permission.USERS_READ, Permission.HASHES_READ))
    assert mighty.call("GET", f"{EXPORT}?hashes=1").text.splitlines()[0].endswith(",password_hash")


def test_head(app: Flask, api: Api, cast: Cast) -> None:
    """HEAD tells what GET would answer, and makes no export."""
    answer = api.call("HEAD", f"{EXPORT}?format=jsonl")
    assert answer.status_code == 200
    assert answer.content_type == "application/x-ndjson"
    assert "Content-Length" not in answer.headers
    assert rows(app, "SELECT 1 FROM audit_events WHERE action = 'user.export'") == []


@pytest.mark.parametrize("error", [Unavailable("it is gone"), export.TooManyExports()])
def test_status_is_right(api: Api, cast: Cast, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is lost while the export is made leaves no part of one: the status says so."""

    def lose(*_arguments: Any) -> Any:
        raise error

    monkeypatch.setattr(walk, "_read", lose)
    answer = api.call("GET", EXPORT)
    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    assert "Content-Disposition" not in answer.headers


def test_counts_as_one_request(app: Flask, api: Api, cast: Cast) -> None:
    left = [int(api.call("GET", EXPORT).headers["x-ratelimit-remaining-requests"]) for _ in range(2)]
    assert left[0] - left[1] in (0, 1)  # a token may have come back meanwhile


def test_export_is_no_id(api: Api) -> None:
    """Other methods do not take the word for a user."""
    assert api.call("PATCH", EXPORT, json={}).status_code == 405


@pytest.mark.one_database
def test_readers_hold_a_place(app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the answer until the server has sent the file and closed it, however long a reader takes."""
    monkeypatch.setattr(export, "_held", threading.BoundedSemaphore(1))
    monkeypatch.setattr(export, "MEMORY_BYTES", 10)
    key = make_key(app, Permission.USERS_READ)

    def statuses(count: int) -> list[str]:
        return [asked(app, key, found) for _ in range(count)]

    found: list[Any] = []
    assert statuses(2) == ["200 OK", "503 SERVICE UNAVAILABLE"]
    first = found[0]
    pieces = iter(first)
    assert next(pieces).startswith(b"id,email")
    assert statuses(1) == ["503 SERVICE UNAVAILABLE"]
    first.close()
    assert statuses(2) == ["200 OK", "503 SERVICE UNAVAILABLE"]
    for body in found:
        body.close()


def asked(app: Flask, key: str, bodies: list[Any]) -> str:
    """Ask for an export as a server does; return the status, and add the body that the server sends and closes."""
    environ = EnvironBuilder(path="/v1/user/export", headers=[("X-API-Key", key)]).get_environ()
    told: list[str] = []
    bodies.append(app.wsgi_app(environ, lambda status, *_: told.append(status)))  # type: ignore[arg-type]
    return told[0]
