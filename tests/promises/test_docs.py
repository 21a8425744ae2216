"""The reference page: whole, for everybody, and every example on it was run."""

import ast
import gzip
import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify, template_rendered
from flask.testing import FlaskClient

from app import create_app
from support.answers import documented, judge_of
from support.application import CHEAP, app_on
from support.installations import Installation, installed
from support.people import PASSWORD, make_key, make_user
from support.servers import Server
from support.skips import unavailable
from support.visitors import Visitor
from users.field_errors import FieldCode
from users.http import urls
from users.openapi import contract
from users.pages import docs
from users.roles import Permission, Role
from users.storage import database

pytestmark = pytest.mark.xdist_group("docs")  # they share servers, which one worker of xdist starts

RUN = {"curl": ["bash"], "python": [sys.executable], "javascript": ["node"]}
ENDINGS = {"curl": "sh", "python": "py", "javascript": "mjs"}
USER_ID = contract.document()["components"]["parameters"]["UserId"]["example"]
BOTH = ["/docs", "/openapi.json"]
UNREACHED = {**CHEAP, "DATABASE_URL": "sqlite:////nowhere/enrol.db", "TESTING": True}


@pytest.fixture
def client() -> FlaskClient:
    """Somebody without a key, at an application whose database is away."""
    return create_app(UNREACHED).test_client()


def test_it_tells_every_operation_with_its_fields_and_permissions(client: FlaskClient) -> None:
    page = client.get("/docs").text
    for one in contract.operations():
        section = page.partition(f'<section id="{one.id}"')[2].partition("</section>")[0]
        assert f"<code><b>{one.method}</b> {one.path}</code>" in section
        told = set(re.findall(r"<dt><code>([\w-]+)</code>", section))
        assert {field.name for field in (*one.parameters, *one.fields)} <= told
        assert re.findall(r'<span class="tag">([\w:]+)</span>', section) == one.permissions
        assert {str(answer.status) for answer in one.responses} <= set(re.findall(r"<code>(\d{3})</code>", section))


def test_it_tells_every_code_once_and_how_to_fix_it(client: FlaskClient) -> None:
    page = client.get("/docs").text
    rows = re.findall(r'<tr id="(\w+)">.*?<td data-label="Status">(\d+)</td>\s*<td>(.*?)</td>', page, re.DOTALL)
    codes = contract.codes()
    assert [(code, int(status)) for code, status, _ in rows] == [(one.code, one.status) for one in codes]
    for one, (_, _, words) in zip(codes, rows, strict=True):
        plain = html.unescape(re.sub(r"<.*?>", "", words))
        assert plain == f"{one.meaning} {one.fix}".replace("`", "")
    assert {one.code for one in codes} >= set(FieldCode)


def test_every_link_on_it_leads_somewhere(client: FlaskClient) -> None:
    page = client.get("/docs").text
    ids = re.findall(r'\bid="([\w-]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= set(ids)
    assert set(re.findall(r'(?:href|src)="(?!#)([^"?]+)', page)) <= {
        *("/", "/admin/keys", "/admin/users", "/docs", "/openapi.json"),
        *("/static/app.css", "/static/app.js", "/static/icon.svg"),
    }


def test_examples_use_the_address_of_this_server(client: FlaskClient) -> None:
    page = html.unescape(client.get("/docs", headers={"Host": "localhost:5000"}).text)
    assert page.count("http://localhost:5000/v1/user/") >= 3 * len(contract.operations())
    stranger = html.unescape(client.get("/docs", headers={"Host": "elsewhere.example"}).text)
    assert "elsewhere.example" not in stranger
    assert "https://your-enrol/v1/user/" in stranger


@pytest.mark.parametrize("rate", ["100/minute", "off"])
def test_it_tells_the_limit_that_this_server_sets(rate: str) -> None:
    page = create_app({**UNREACHED, "ENROL_RATE_LIMIT": rate}).test_client().get("/docs").text
    assert ("A key may send 100 requests in 60 seconds" in page) is (rate != "off")
    assert ("This server sets keys no limit." in page) is (rate == "off")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_whoever_was_signed_in_reads_it_without_the_database_too(path: str) -> None:
    client = create_app(UNREACHED).test_client()
    client.set_cookie("enrol", "x" * 43)
    answer = client.get(path)
    assert answer.status_code == 200
    assert "Sign out" not in answer.text
    assert answer.text == create_app(UNREACHED).test_client().get(path).text


@pytest.mark.parametrize("path", BOTH)
def test_an_administrator_sees_what_everybody_sees(app: Flask, ada: Visitor, path: str) -> None:
    signed_in = ada.get(path)
    assert signed_in.data == app.test_client().get(path).data
    assert "csrf_token" not in signed_in.text
    assert "Set-Cookie" not in signed_in.headers
    if path == "/docs":
        assert '<a href="/admin/users">Administration</a>' in signed_in.text.partition("<main")[0]


@pytest.mark.parametrize("path", BOTH)
def test_the_database_is_not_asked(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    asked: list[str] = []
    monkeypatch.setattr(database, "reading", lambda: asked.append("reading"))
    monkeypatch.setattr(database, "_connection", lambda **_: asked.append("connection"))
    client.set_cookie("enrol", "x" * 43)
    assert client.get(path).status_code == client.head(path).status_code == 200
    assert asked == []


@pytest.mark.parametrize("path", BOTH)
def test_it_is_made_once(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    made: list[object] = []

    def note(*_: object, **_more: object) -> None:
        made.append(1)

    def note_and_make(document: object) -> Response:
        made.append(1)
        return jsonify(document)

    monkeypatch.setattr(docs, "jsonify", note_and_make)
    with template_rendered.connected_to(note):
        tag = client.get(path).headers["ETag"]
        for more in ({}, GZIP, {"If-None-Match": tag}, {"Accept-Encoding": "identity"}):
            client.get(path, headers=more)
            client.head(f"{path}/", headers=more)
    assert len(made) == 1


def test_what_is_kept_is_the_applications_own(client: FlaskClient) -> None:
    """The page tells a setting."""
    other = create_app({**UNREACHED, "ENROL_RATE_LIMIT": "off"}).test_client()
    assert client.get("/docs").headers["ETag"] != other.get("/docs").headers["ETag"]


@pytest.mark.parametrize("path", BOTH)
def test_it_is_kept_for_the_eight_addresses_that_were_asked_for_last(client: FlaskClient, path: str) -> None:
    kept = client.application.extensions["enrol.docs" if path == "/docs" else "enrol.openapi"]
    first = client.get(path, headers={"Host": "localhost:5000"}).data
    for port in range(5001, 5008):
        client.get(path, headers={"Host": f"localhost:{port}"})
    assert client.get(path, headers={"Host": "LOCALHOST:5000"}).data == first  # so 5001 is the one to go
    client.get(path, headers={"Host": "localhost:5008"})
    assert kept.cache_info().currsize == kept.cache_info().maxsize == docs.KEPT == 8
    for port, missed in ((5000, 0), (5008, 0), (5001, 1)):
        before = kept.cache_info().misses
        assert f"http://localhost:{port}" in client.get(path, headers={"Host": f"localhost:{port}"}).text
        assert kept.cache_info().misses - before == missed
    for stranger in ("elsewhere.example", "other.example"):
        client.get(path, headers={"Host": stranger})
    assert kept.cache_info().misses - before == 2  # strangers' addresses are not believed, and so are one


GZIP = {"Accept-Encoding": "gzip"}
ENCODINGS = {
    **dict.fromkeys(["gzip", "GZIP", "gzip, deflate, br, zstd", "br, *;q=0.1", "*", "gzip;q=0.001"], True),
    **dict.fromkeys(["identity;q=0.5, gzip;q=0.5", "identity;q=0, *", "gzip;q=0.9, identity;q=0.8"], True),
    **dict.fromkeys(["", "identity", "br", "deflate", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "identity, *;q=0"], False),
    **dict.fromkeys(["gzip;q=0.3, identity", "identity;q=1, gzip;q=0.9", "gzip;q=0, deflate", "gzipped"], False),
}


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("accepted", ENCODINGS)
def test_it_is_compressed_for_whoever_takes_that(client: FlaskClient, path: str, accepted: str) -> None:
    plain, answer = client.get(path), client.get(path, headers={"Accept-Encoding": accepted})
    assert answer.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert answer.content_type == plain.content_type
    if not ENCODINGS[accepted]:
        assert "Content-Encoding" not in answer.headers
        assert (answer.data, answer.headers["ETag"]) == (plain.data, plain.headers["ETag"])
        return
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.data) == plain.data
    assert len(answer.data) < len(plain.data) / 5
    assert answer.headers["ETag"] != plain.headers["ETag"]


@pytest.mark.parametrize("path", BOTH)
@pytest.mark.parametrize("more", [{}, GZIP], ids=["plain", "gzip"])
def test_who_has_it_already_is_told_so_for_each_encoding(client: FlaskClient, path: str, more: dict[str, str]) -> None:
    whole = client.get(path, headers=more)
    tag = whole.headers["ETag"]
    other = client.get(path, headers={} if more else GZIP).headers["ETag"]
    for method in ("GET", "HEAD"):
        for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = client.open(path, method=method, headers={**more, "If-None-Match": given})
            assert (answer.status_code, answer.data) == (304, b"")
            kept = ("ETag", "Vary", "Cache-Control", "Content-Security-Policy")  # RFC 9110, section 15.4.5
            assert [answer.headers[name] for name in kept] == [whole.headers[name] for name in kept]
            assert answer.headers["X-Request-Id"] != whole.headers["X-Request-Id"]
        for given in (other, '"other"'):
            answer = client.open(path, method=method, headers={**more, "If-None-Match": given})
            assert answer.status_code == 200
            assert answer.headers["Content-Length"] == whole.headers["Content-Length"]
    assert whole.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", BOTH)
def test_every_process_gives_it_the_same_tag(client: FlaskClient, path: str) -> None:
    other = create_app(UNREACHED).test_client()
    for more in ({}, GZIP):
        assert client.get(path, headers=more).headers["ETag"] == other.get(path, headers=more).headers["ETag"]


@pytest.mark.parametrize("path", BOTH)
def test_only_itself_is_kept(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(urls, "base_url", lambda: 1 / 0)
    client.application.config.update(TESTING=False)
    fault = client.get(path)
    assert (fault.status_code, fault.headers["Cache-Control"]) == (500, "no-store")
    assert client.post(path).headers["Cache-Control"] == "no-store"


def test_every_page_leads_to_it(client: FlaskClient) -> None:
    for path in ("/admin/login", "/nothing", "/docs"):
        assert '<a href="/docs">Docs</a>' in client.get(path).text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Server]]:
    """A running server."""
    with installed(tmp_path_factory.mktemp("docs") / "enrol") as here:
        (server,) = here.start("granian")
        yield here, server


@pytest.fixture(scope="module")
def key(site: tuple[Installation, Server]) -> str:
    """The administrator's key, for everything."""
    with app_on(site[0]) as app:
        return make_key(app, *Permission, owner=make_user(app, "owner@example.com", Role.ADMIN))


def shown(site: tuple[Installation, Server]) -> dict[str, str]:
    """Return what the running server's page shows as code, by its id."""
    page = site[1].call("GET", "/docs").body.decode()
    return {
        name: html.unescape(text)
        for name, text in re.findall(r'<pre id="([\w-]+)".*?><code>(.*?)</code></pre>', page, re.DOTALL)
    }


def with_a_real_user(text: str, site: tuple[Installation, Server], key: str, name: str) -> str:
    """Return an example in which a user of its own stands where the page's does."""
    email = f"{name}@example.com"
    text = text.replace("ada@example.com", email).replace('"PASSWORD"', f'"{PASSWORD}"')
    if name.startswith("createUser"):
        return text
    made = site[1].call("POST", "/v1/user/", key=key, body={"email": email, "password": PASSWORD}).json
    return text.replace(USER_ID, made["id"])


EXAMPLES = [(one.id, language) for one in contract.operations() for language in RUN]


@pytest.mark.parametrize(("operation", "language"), EXAMPLES)
def test_the_example_was_run(
    site: tuple[Installation, Server], key: str, operation: str, language: str, tmp_path: Path
) -> None:
    if shutil.which(RUN[language][0]) is None:
        unavailable(f"{RUN[language][0]} to run the page's example")
    name = f"{operation}-{language}"
    script = tmp_path / f"example.{ENDINGS[language]}"
    script.write_text(with_a_real_user(shown(site)[name], site, key, name), encoding="utf-8")
    environment = {**os.environ, "API_KEY": key, "NODE_OPTIONS": "", "NO_COLOR": "1"}
    output = subprocess.check_output(
        [*RUN[language], str(script)], env=environment, text=True, stderr=subprocess.DEVNULL
    )
    (one,) = [one for one in contract.operations() if one.id == operation]
    first = one.responses[0].status
    schema = documented((one.method.lower(), one.path), first)["content"]["application/json"]["schema"]
    judge_of(schema).validate(read(output, language))


def read(output: str, language: str) -> Any:
    """Read what an example printed: JSON, or how Python and Node.js show an object."""
    if language == "curl":
        return json.loads(output)
    if language == "python":
        return ast.literal_eval(output)
    return json.loads(subprocess.check_output(["node", "-e", f"console.log(JSON.stringify({output}))"], text=True))
