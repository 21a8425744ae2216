"""/docs, its Markdown and /openapi.json are the same for every reader, kept in memory, compressed and revalidated."""

import gzip

import pytest
from flask import Flask, Response, jsonify, template_rendered
from flask.testing import FlaskClient

from app import create_app
from support.application import WITHOUT_DATABASE
from support.visitors import Visitor
from users.http import urls
from users.openapi.code_samples import LANGUAGES
from users.pages import docs
from users.storage import database

KINDS = {"/docs": "docs", "/docs.md": "markdown", "/llms.txt": "markdown", "/openapi.json": "openapi"}
PATHS = list(KINDS)


@pytest.fixture
def client() -> FlaskClient:
    """A client of an application whose database is away."""
    return create_app(WITHOUT_DATABASE).test_client()


@pytest.fixture(scope="module")
def reader() -> FlaskClient:
    """A client of such an application for tests that change nothing of it: it makes each page once."""
    return create_app(WITHOUT_DATABASE).test_client()


@pytest.mark.parametrize("path", PATHS)
def test_session_cookie_is_not_read(client: FlaskClient, reader: FlaskClient, path: str) -> None:
    """With one and without the database, the page is the same."""
    client.set_cookie("enrol", "x" * 43)
    answer = client.get(path)
    assert answer.status_code == 200
    assert "Sign out" not in answer.text
    assert answer.text == reader.get(path).text


@pytest.mark.parametrize("path", PATHS)
def test_administrator_sees_the_same(app: Flask, ada: Visitor, path: str) -> None:
    signed_in = ada.get(path)
    assert signed_in.data == app.test_client().get(path).data
    assert "csrf_token" not in signed_in.text
    assert "Set-Cookie" not in signed_in.headers
    if path == "/docs":
        assert '<a href="/admin/users">Administration</a>' in signed_in.text.partition("<main")[0]


@pytest.mark.parametrize("path", PATHS)
def test_database_is_not_queried(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    queries: list[str] = []
    monkeypatch.setattr(database, "reading", lambda: queries.append("reading"))
    monkeypatch.setattr(database, "_connection", lambda **_: queries.append("connection"))
    client.set_cookie("enrol", "x" * 43)
    assert client.get(path).status_code == client.head(path).status_code == 200
    assert queries == []


@pytest.mark.parametrize("path", PATHS)
def test_made_once(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
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


def test_kept_for_each_application(client: FlaskClient) -> None:
    """The page shows a setting."""
    other = create_app({**WITHOUT_DATABASE, "ENROL_RATE_LIMIT": "off"}).test_client()
    assert client.get("/docs").headers["ETag"] != other.get("/docs").headers["ETag"]


@pytest.mark.parametrize("path", PATHS)
def test_kept_for_a_few_base_urls(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was asked for longest ago is forgotten, with all its languages."""
    assert docs.KEPT == 8
    monkeypatch.setattr(docs, "KEPT", 2)  # to make as few pages
    client = create_app(WITHOUT_DATABASE).test_client()
    kept = client.application.extensions[f"enrol.{KINDS[path]}"]
    first = client.get(path, headers={"Host": "localhost:5000"}).data
    languages = [""] if path == "/openapi.json" else LANGUAGES
    for language in languages:
        for port in (5000, 5001):
            client.get(f"{path}?lang={language}", headers={"Host": f"localhost:{port}"})
    assert client.get(path, headers={"Host": "LOCALHOST:5000"}).data == first  # so 5001 is the oldest now
    client.get(path, headers={"Host": "localhost:5002"})
    assert kept.cache_info().currsize == kept.cache_info().maxsize == 2 * len(languages)
    for port, missed in ((5000, 0), (5002, 0), (5001, 1)):
        before = kept.cache_info().misses
        assert f"http://localhost:{port}" in client.get(path, headers={"Host": f"localhost:{port}"}).text
        assert kept.cache_info().misses - before == missed
    for stranger in ("elsewhere.example", "other.example"):
        client.get(path, headers={"Host": stranger})
    assert kept.cache_info().misses - before == 2  # untrusted hosts share one page, without a base URL


GZIP = {"Accept-Encoding": "gzip"}


ENCODINGS = {
    **dict.fromkeys(["gzip", "GZIP", "gzip, deflate, br, zstd", "br, *;q=0.1", "*", "gzip;q=0.001"], True),
    **dict.fromkeys(["identity;q=0.5, gzip;q=0.5", "identity;q=0, *", "gzip;q=0.9, identity;q=0.8"], True),
    **dict.fromkeys(["", "identity", "br", "deflate", "gzip;q=0", "gzip;q=0.0, *", "*;q=0", "identity, *;q=0"], False),
    **dict.fromkeys(["gzip;q=0.3, identity", "identity;q=1, gzip;q=0.9", "gzip;q=0, deflate", "gzipped"], False),
}


@pytest.mark.parametrize("path", PATHS)
def test_compression(reader: FlaskClient, path: str) -> None:
    plain = reader.get(path)
    for accepted, is_compressed in ENCODINGS.items():
        answer = reader.get(path, headers={"Accept-Encoding": accepted})
        assert answer.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
        assert answer.content_type == plain.content_type
        if not is_compressed:
            assert "Content-Encoding" not in answer.headers, accepted
            assert (answer.data, answer.headers["ETag"]) == (plain.data, plain.headers["ETag"])
            continue
        assert answer.headers["Content-Encoding"] == "gzip", accepted
        assert gzip.decompress(answer.data) == plain.data
        assert len(answer.data) < len(plain.data) / 5
        assert answer.headers["ETag"] != plain.headers["ETag"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("more", [{}, GZIP], ids=["plain", "gzip"])
def test_revalidation(reader: FlaskClient, path: str, more: dict[str, str]) -> None:
    """Each encoding has its own entity tag."""
    whole = reader.get(path, headers=more)
    tag = whole.headers["ETag"]
    other = reader.get(path, headers={} if more else GZIP).headers["ETag"]
    for method in ("GET", "HEAD"):
        for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            answer = reader.open(path, method=method, headers={**more, "If-None-Match": given})
            assert (answer.status_code, answer.data) == (304, b"")
            kept = ("ETag", "Vary", "Cache-Control", "Content-Security-Policy")  # RFC 9110, section 15.4.5
            assert [answer.headers[name] for name in kept] == [whole.headers[name] for name in kept]
            assert answer.headers["X-Request-Id"] != whole.headers["X-Request-Id"]
        for given in (other, '"other"'):
            answer = reader.open(path, method=method, headers={**more, "If-None-Match": given})
            assert answer.status_code == 200
            assert answer.headers["Content-Length"] == whole.headers["Content-Length"]
    assert whole.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", PATHS)
def test_same_tag_in_every_process(reader: FlaskClient, path: str) -> None:
    other = create_app(WITHOUT_DATABASE).test_client()
    for more in ({}, GZIP):
        assert reader.get(path, headers=more).headers["ETag"] == other.get(path, headers=more).headers["ETag"]


@pytest.mark.parametrize("path", PATHS)
def test_errors_are_not_kept(client: FlaskClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """An error at its path, or for another method."""
    monkeypatch.setattr(urls, "base_url", lambda: 1 / 0)
    client.application.config.update(TESTING=False)
    fault = client.get(path)
    assert (fault.status_code, fault.headers["Cache-Control"]) == (500, "no-store")
    assert client.post(path).headers["Cache-Control"] == "no-store"
