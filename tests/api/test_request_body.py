"""A body becomes one strict JSON object, or an error that says why not."""

import contextlib
import io
import json
from typing import Any

import pytest
from flask import Flask, request
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.api import Api
from users.api.request_body import MAX_BYTES, json_object
from users.request_errors import InvalidJson, PayloadTooLarge, UnsupportedMediaType
from users.rules.strict_json import MAX_DEPTH

flask = Flask(__name__)


def parse(body: bytes = b"", **more: Any) -> dict[str, object]:
    """Return what `json_object` reads from a request with this body, or with what `more` says instead."""
    given = {"method": "POST", "data": body, "content_type": "application/json", **more}
    with flask.test_request_context("/v1/user/", **given):
        return json_object(request)


def chunked(stream: io.IOBase) -> dict[str, Any]:
    """Return the parts of a chunked request, which has no Content-Length."""
    environ = {"wsgi.input": stream, "wsgi.input_terminated": True}
    return {"data": None, "headers": {"Transfer-Encoding": "chunked"}, "environ_overrides": environ}


def padded(size: int) -> bytes:
    """Return a valid body of `size` bytes."""
    return b'{"a": 1}'.ljust(size)


def nested(levels: int) -> bytes:
    """Return an object `levels` deep, itself counted, with a list of lists."""
    return b'{"a": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


class BrokenStream(io.RawIOBase):
    """A body that fails while it is read, as with a malformed chunk in some servers."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def readinto(self, buffer: Any) -> int:
        """Raise the server's own error."""
        raise self.error


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", {}),
        (b' {"email": "a"}\r\n', {"email": "a"}),
        (b'{"a": null, "b": [true, -0.5], "c": {"d": "e"}}', {"a": None, "b": [True, -0.5], "c": {"d": "e"}}),
        ('{"a": "Zoë 😀"}'.encode(), {"a": "Zoë 😀"}),
        (rb'{"a": "\ud83d\ude00"}', {"a": "😀"}),
        ('{"a": "\ufeff"}'.encode(), {"a": "\ufeff"}),
        (b'{"a": {"x": 1}, "b": {"x": 1}}', {"a": {"x": 1}, "b": {"x": 1}}),
        (b'{"a": 1e308}', {"a": 1e308}),
        (b'{"a": ' + b"9" * 4300 + b"}", {"a": 10**4300 - 1}),
        (b'{"a": ' * MAX_DEPTH + b"1" + b"}" * MAX_DEPTH, None),
        (nested(MAX_DEPTH), None),
    ],
)
def test_reads_one_object(body: bytes, expected: dict[str, object] | None) -> None:
    assert parse(body) == (json.loads(body) if expected is None else expected)


TOO_DEEP = "The request body must be nested 32 levels deep or less."
TOO_LARGE_NUMBER = "The request body holds a number that is too large."
NOT_UTF8 = "The request body must be encoded in UTF-8."
NO_OBJECT = 'The request body must be one JSON object, like {"email": "name@example.com"}.'
NO_NAN = "The request body must not hold NaN or Infinity, which JSON does not have."
TWICE = "The request body names a member twice."
NUL = "The request body must not hold the character NUL."
SURROGATE = "The request body holds half of a surrogate pair."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", NO_OBJECT),
        (b'[{"email": "a"}]', NO_OBJECT),
        (b"null", NO_OBJECT),
        (b"7", NO_OBJECT),
        (b'"email"', NO_OBJECT),
        (nested(MAX_DEPTH + 1), TOO_DEEP),
        (b'{"a": ' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), TOO_DEEP),
        (b"[" * 60_000, TOO_DEEP),
        (b'{"a": ' * 10_000, TOO_DEEP),
        (b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}", TOO_DEEP),
        (b'{"a": ' + b"9" * 4301 + b"}", TOO_LARGE_NUMBER),
        (b'{"a": -' + b"9" * 4301 + b"}", TOO_LARGE_NUMBER),
        (b'{"a": 1e999}', TOO_LARGE_NUMBER),
        (b'{"a": [-1e999]}', TOO_LARGE_NUMBER),
        (b'{"a": NaN}', NO_NAN),
        (b'{"a": [Infinity]}', NO_NAN),
        (b'{"a": -Infinity}', NO_NAN),
        (b'{"email": "a", "email": "a"}', TWICE),
        (rb'{"email": "a", "\u0065mail": "b"}', TWICE),
        (b'{"a": [{"x": 1, "x": 2}]}', TWICE),
        (b"\xef\xbb\xbf{}", "The request body must not start with a byte order mark."),
        ('{"a": "é"}'.encode("latin-1"), NOT_UTF8),
        (b'{"a": "\xed\xa0\x80"}', NOT_UTF8),  # a surrogate as if it were a character of UTF-8
        (b'{"a": "\xc0\x80"}', NOT_UTF8),  # an overlong NUL
        ('{"a": "é"}'.encode("utf-16"), NOT_UTF8),
        ("{}".encode("utf-32"), NOT_UTF8),
        (rb'{"a": "\u0000"}', NUL),
        (rb'{"a\u0000": 1}', NUL),
        (rb'{"a": [{"b": ["x\u0000"]}]}', NUL),
        (rb'{"a": "\ud800"}', SURROGATE),
        (rb'{"a": "\udc00\ud800"}', SURROGATE),
        (rb'{"a": {"b": ["\udfff!"]}}', SURROGATE),
        (rb'{"\ud800": 1}', SURROGATE),
        (rb'{"a": {"b\udbff": 1}}', SURROGATE),
    ],
)
def test_rejects_loose_json(body: bytes, words: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse(body)
    assert (caught.value.message, caught.value.details) == (words, {})


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [
        (b"", 1, 1),
        (b"  ", 1, 3),
        (b"email=a", 1, 1),
        (b"{'a': 1}", 1, 2),
        (b'{"a": 1}{}', 1, 9),
        (b'{\n  "a": 1\n  "b": 2\n}', 3, 3),
        (b'{"a": "\x01"}', 1, 8),
        (b'{"a": "\x00"}', 1, 8),
        (b'{"a": 1} // why', 1, 10),
        (b'{"a": 01}', 1, 8),
        (rb'{"a": "\x41"}', 1, 8),
        ('{"a": 1}'.encode("utf-16-le"), 1, 2),
        ('{"a": 1}'.encode("utf-16-be"), 1, 1),
        ('{"a": 1}'.encode("utf-32-le"), 1, 2),
        ('{"a": 1}'.encode("utf-32-be"), 1, 1),
    ],
)
def test_names_line_and_column(body: bytes, line: int, column: int) -> None:
    with pytest.raises(InvalidJson) as caught:
        parse(body)
    assert caught.value.details == {"line": line, "column": column}
    assert caught.value.message == f"The request body is not JSON: look at line {line}, column {column}."


def test_error_does_not_quote_the_body() -> None:
    with pytest.raises(InvalidJson) as caught:
        parse(b'{"password": "hunter2hunter2}')
    assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.message} {caught.value.details}"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json; charset=utf8",
    ],
)
def test_media_type_json(content_type: str) -> None:
    assert parse(b'{"a": 1}', content_type=content_type) == {"a": 1}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/json"},
        {"Content-Type": "application/json, application/json"},
        {"Content-Type": "application/merge-patch+json"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "text/json", "Content-Encoding": "gzip"},
    ],
)
def test_other_media_type(headers: dict[str, str]) -> None:
    """The error says what is taken."""
    with pytest.raises(UnsupportedMediaType) as caught:
        parse(b"not even JSON", content_type=None, headers=headers)
    assert caught.value.headers == {"Accept": "application/json"}


def test_media_types_of_a_patch() -> None:
    """A PATCH is a merge patch (RFC 7396), under either name."""
    for content_type in ("application/merge-patch+json", "Application/Merge-Patch+JSON; charset=utf-8"):
        assert parse(b'{"a": null}', method="PATCH", content_type=content_type) == {"a": None}
    for content_type in ("application/json-patch+json", "application/merge-patch+json; charset=utf-16"):
        with pytest.raises(UnsupportedMediaType) as caught:
            parse(b"{}", method="PATCH", content_type=content_type)
        assert caught.value.headers == {"Accept-Patch": "application/json, application/merge-patch+json"}


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate", "identity, gzip", "x"])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_compressed_body(coding: str, method: str) -> None:
    """The error names the header and, with Accept-Encoding, what is taken (RFC 9110, section 15.5.16)."""
    with pytest.raises(UnsupportedMediaType) as caught:
        parse(b"{}", method=method, headers={"Content-Encoding": coding})
    assert "Content-Encoding" in caught.value.message
    assert caught.value.headers == {"Accept-Encoding": "identity"}


@pytest.mark.parametrize("coding", ["identity", "Identity", "", "identity, identity"])
def test_body_in_no_coding(coding: str) -> None:
    assert parse(b"{}", headers={"Content-Encoding": coding}) == {}


@pytest.mark.parametrize("size", [MAX_BYTES - 1, MAX_BYTES])
def test_body_of_64_kib(size: int) -> None:
    assert parse(padded(size)) == {"a": 1}
    assert parse(**chunked(io.BytesIO(padded(size)))) == {"a": 1}


@pytest.mark.parametrize("size", [MAX_BYTES + 1, MAX_BYTES + 2, 10 * MAX_BYTES])
def test_larger_body(size: int) -> None:
    with pytest.raises(PayloadTooLarge):
        parse(padded(size))
    with pytest.raises(PayloadTooLarge):
        parse(**chunked(io.BytesIO(padded(size))))


def test_large_chunked_body_is_not_read_to_its_end() -> None:
    stream = io.BytesIO(padded(100 * MAX_BYTES))
    with pytest.raises(PayloadTooLarge):
        parse(**chunked(stream))
    assert stream.tell() <= 2 * MAX_BYTES


@pytest.mark.parametrize("error", [OSError("reset"), ValueError("no chunk size"), RuntimeError("a server's own")])
def test_broken_stream(error: Exception) -> None:
    """It is the caller's error, a 400."""
    with pytest.raises(InvalidJson, match="INVALID_JSON") as caught:
        parse(**chunked(BrokenStream(error)))
    assert caught.value.message == "The request body did not arrive whole."


@pytest.mark.parametrize("terminated", [False, True], ids=["a server that limits", "a server that ends the stream"])
def test_body_shorter_than_its_length(terminated: bool) -> None:
    environ = {"wsgi.input": io.BytesIO(b"{}"), "wsgi.input_terminated": terminated, "CONTENT_LENGTH": "50"}
    with pytest.raises(InvalidJson) as caught:
        parse(data=None, environ_overrides=environ)
    assert caught.value.message == "The request body did not arrive whole."


@given(st.binary(max_size=100) | st.text('{}[]":,0eE-+.\\u d8NaN\0', max_size=40).map(str.encode))
@hypothesis_settings(deadline=None, max_examples=150)
def test_any_bytes(body: bytes) -> None:
    found: object = {}
    with contextlib.suppress(InvalidJson):
        found = parse(body)
    assert isinstance(found, dict)


plain_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | plain_text
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain_text, inner), max_leaves=10
)


@given(st.dictionaries(plain_text, values, max_size=4), st.booleans())
@hypothesis_settings(deadline=None, max_examples=50)
def test_any_json_object(value: dict[str, object], escaped: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=escaped).encode()) == value


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (lambda: chunked(io.BytesIO(padded(MAX_BYTES + 1))), 413, "PAYLOAD_TOO_LARGE"),
        (lambda: chunked(BrokenStream(RuntimeError("malformed chunk"))), 400, "INVALID_JSON"),
        (lambda: {"data": b"[" * 60_000}, 400, "INVALID_JSON"),
        (lambda: {"data": rb'{"email": "\ud800"}'}, 400, "INVALID_JSON"),
        (lambda: {"data": rb'{"email": "\u0000"}'}, 400, "INVALID_JSON"),
        (lambda: {"data": b"{}", "content_type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
    ids=["chunked", "malformed", "nested", "surrogate", "nul", "text"],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the database plays no part
def test_api_answers_with_the_code(api: Api, sent: Any, status: int, code: str) -> None:
    answer = api.call("POST", "/v1/user/", **{"content_type": "application/json", **sent()})
    assert (answer.status_code, answer.json["error"]["code"]) == (status, code)
