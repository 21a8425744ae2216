"""What a request carries, read strictly: its body as one JSON object (RFC 8259, read as RFC 7493 asks), its flags.

A page's form is read by Flask, once it is known that all of it is UTF-8.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from users import ids
from users.request_errors import InvalidJson, InvalidParameter, PayloadTooLarge, UnsupportedMediaType

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
MAX_SKIP = 100_000  # without a bound, each request could let the database count all users
# RFC 9110, 8.8.3 and 5.6.1: entity tags, with at least one comma between two.
_ENTITY_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_ENTITY_TAGS = re.compile(rf"[ \t,]*{_ENTITY_TAG}(?:[ \t]*,[ \t,]*{_ENTITY_TAG})*[ \t,]*")
_WHOLE = re.compile(r"[0-9]{1,20}")
_TOO_LARGE = "The request body holds a number that is too large."


def boolean(request: Request, name: str) -> bool:
    """Return the query parameter `name`, "true" or "false"; False where it is absent. Raises InvalidParameter."""
    given = request.args.getlist(name) or ["false"]
    if given not in (["true"], ["false"]):
        raise InvalidParameter(name, "true or false, once")
    return given == ["true"]


def skip(request: Request) -> int:
    """Return how many users a list leaves out; 0 where that is not said. Raises InvalidParameter."""
    advice = "; to go further, use after, the last id of the page before"
    return _whole(request, "skip", 0, least=0, most=MAX_SKIP, advice=advice)


def limit(request: Request) -> int:
    """Return how many users a list has at most; 100 where that is not said. Raises InvalidParameter."""
    return _whole(request, "limit", 100, least=1, most=1000)


def _whole(request: Request, name: str, default: int, *, least: int, most: int, advice: str = "") -> int:
    given = request.args.getlist(name) or [str(default)]
    if len(given) != 1 or not _WHOLE.fullmatch(given[0]) or not least <= int(given[0]) <= most:
        raise InvalidParameter(name, f"a whole number from {least} to {most}, once{advice}")
    return int(given[0])


def user_id(request: Request, name: str) -> str:
    """Return the query parameter `name`, a user's id; "" where it is absent. Raises InvalidParameter."""
    given = request.args.getlist(name)
    if given and (len(given) != 1 or not ids.is_user_id(given[0])):
        raise InvalidParameter(name, "the id of a user, once")
    return given[0] if given else ""


def if_match(request: Request) -> frozenset[str] | None:
    """Return the strong tags in the header If-Match, of which one must fit; None where any state will do.

    A weak tag never fits (RFC 9110, section 13.1.1). Raises InvalidParameter for what is no list of tags: done all
    the same, or told that the user has changed, the caller would be misled.
    """
    given = request.headers.get("If-Match", "*").strip(" \t")
    if given == "*":
        return None
    if not _ENTITY_TAGS.fullmatch(given):
        raise InvalidParameter("If-Match", '* or entity tags in double quotes, as in "abc", "def"')
    return frozenset(tag for tag in re.findall(_ENTITY_TAG, given) if not tag.startswith("W/"))


def idempotency_key(request: Request) -> str | None:
    """Return the header Idempotency-Key, None where it is absent. Raises InvalidParameter.

    A comma is a visible character like another: a header sent twice arrives joined by one and is one key, the same
    for whoever sends it twice again.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidParameter("Idempotency-Key", "1 to 255 visible ASCII characters")
    return key


def json_object(request: Request) -> dict[str, object]:
    """Return the body of `request`, one JSON object in strict UTF-8.

    Raises UnsupportedMediaType, PayloadTooLarge or InvalidJson, whose `details` has the line and column where known.
    """
    _require_json(request)
    try:
        # UTF-16 and UTF-32 end here or, where they happen to be UTF-8 too, as JSON: they hold NULs.
        text = _body(request).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson("The request body must be encoded in UTF-8.") from None
    if text.startswith("\ufeff"):  # RFC 8259, 8.1; it is invisible, so a line and a column would help nobody
        raise InvalidJson("The request body must not start with a byte order mark.")
    found = _parse(text)
    if not isinstance(found, dict):
        raise InvalidJson('The request body must be one JSON object, like {"email": "name@example.com"}.')
    _check_contents(found)
    return found


def _require_json(request: Request) -> None:
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if request.mimetype != "application/json" or charset not in ("utf-8", "utf8") or encoding != "identity":
        raise UnsupportedMediaType


def _body(request: Request) -> bytes:
    """Return the body's bytes, counted while they arrive: a chunked body announces no length."""
    request.max_content_length = MAX_BYTES + 1  # one more: Werkzeug cuts a chunked body at the bound without a word
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise PayloadTooLarge from None
    except Exception:  # a malformed chunk or a caller who hung up; each server raises an error of its own for it
        raise InvalidJson("The request body did not arrive whole.") from None
    if len(body) > MAX_BYTES:
        raise PayloadTooLarge
    if request.content_length not in (None, len(body)):  # some servers hand on what came before the caller hung up
        raise InvalidJson("The request body did not arrive whole.")
    return body


def _parse(text: str) -> object:
    try:
        return json.loads(
            text,
            object_pairs_hook=_unique_members,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except json.JSONDecodeError as error:
        details = {"line": error.lineno, "column": error.colno}
        words = f"The request body is not JSON: look at line {error.lineno}, column {error.colno}."
        raise InvalidJson(words, details=details) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:  # an integer of more digits than Python reads, 4,300 unless it is told otherwise
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


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise InvalidJson(_TOO_LARGE)
    return number


def _check_contents(found: dict[str, Any]) -> None:
    """Refuse what parses but cannot be stored or passed on: deep nesting, NUL and lone surrogates."""
    for text in _strings(found, depth=1):
        if "\0" in text:
            raise InvalidJson("The request body must not hold the character NUL.")
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise InvalidJson("The request body holds half of a surrogate pair.")


def _strings(value: object, depth: int) -> Iterator[str]:
    """Yield every text in `value`, member names too, no deeper than MAX_DEPTH."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        if depth > MAX_DEPTH:
            raise _too_deep()
        inside = value if isinstance(value, list) else [*value, *value.values()]
        for item in inside:
            yield from _strings(item, depth + 1)
