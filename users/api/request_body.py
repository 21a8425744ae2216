"""The request body as one JSON object, read strictly (RFC 8259 with the restrictions of RFC 7493)."""

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from users.request_errors import InvalidJson, PayloadTooLarge, UnsupportedContentEncoding, UnsupportedMediaType

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
# The media types of the body, and the header that names them in a 415 (RFC 9110, section 15.5.16; RFC 5789, 2.2).
_ACCEPTED = {
    "POST": ("Accept", ("application/json",)),
    "PATCH": ("Accept-Patch", ("application/json", "application/merge-patch+json")),  # RFC 7396
}
_TOO_LARGE = "The request body holds a number that is too large."


def json_object(request: Request) -> dict[str, object]:
    """Return the body of `request`, one JSON object in strict UTF-8.

    Raises UnsupportedMediaType, PayloadTooLarge or InvalidJson, with the line and column in `details` if known.
    """
    _require_json(request)
    try:
        # UTF-16 and UTF-32 fail here or, if their bytes are valid UTF-8 too, as JSON: they contain NULs.
        text = _body(request).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson("The request body must be encoded in UTF-8.") from None
    if text.startswith("\ufeff"):  # RFC 8259, 8.1; no line and column: the mark is invisible
        raise InvalidJson("The request body must not start with a byte order mark.")
    members = _parse(text)
    if not isinstance(members, dict):
        raise InvalidJson('The request body must be one JSON object, like {"email": "name@example.com"}.')
    _check_contents(members)
    return members


def _require_json(request: Request) -> None:
    header, accepted = _ACCEPTED.get(request.method, _ACCEPTED["POST"])
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype not in accepted or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(headers={header: ", ".join(accepted)})
    codings = request.headers.get("Content-Encoding", "").lower().split(",")
    if any(coding.strip() not in ("", "identity") for coding in codings):
        raise UnsupportedContentEncoding


def _body(request: Request) -> bytes:
    """Return the bytes of the body, counted while they arrive: a chunked body announces no length."""
    request.max_content_length = MAX_BYTES + 1  # one more: Werkzeug truncates a chunked body there without an error
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise PayloadTooLarge from None
    except Exception:  # a malformed chunk or a closed connection, for which each server raises its own error
        raise InvalidJson("The request body did not arrive whole.") from None
    if len(body) > MAX_BYTES:
        raise PayloadTooLarge
    if request.content_length not in (None, len(body)):  # some servers pass on the part before the connection closed
        raise InvalidJson("The request body did not arrive whole.")
    return body


def _parse(text: str) -> object:
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_constant=_refuse_constant,
            parse_float=_finite_number,
        )
    except json.JSONDecodeError as error:
        details = {"line": error.lineno, "column": error.colno}
        message = f"The request body is not JSON: look at line {error.lineno}, column {error.colno}."
        raise InvalidJson(message, details=details) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # an integer of more digits than Python reads, by default 4,300
        raise InvalidJson(_TOO_LARGE) from None


def _too_deep() -> InvalidJson:
    return InvalidJson(f"The request body must be nested {MAX_DEPTH} levels deep or less.")


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidJson("The request body names a member twice.")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise InvalidJson("The request body must not hold NaN or Infinity, which JSON does not have.")


def _finite_number(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise InvalidJson(_TOO_LARGE)
    return number


def _check_contents(members: dict[str, Any]) -> None:
    """Raise InvalidJson for JSON that cannot be stored or passed on: deep nesting, NUL and lone surrogates."""
    for text in _strings(members, depth=1):
        if "\0" in text:
            raise InvalidJson("The request body must not hold the character NUL.")
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise InvalidJson("The request body holds half of a surrogate pair.")


def _strings(value: object, depth: int) -> Iterator[str]:
    """Yield every string in `value`, names of members too. Raises InvalidJson below MAX_DEPTH levels."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise _too_deep()
        inside = value if isinstance(value, list) else [*value, *value.values()]
        for item in inside:
            yield from _strings(item, depth + 1)
