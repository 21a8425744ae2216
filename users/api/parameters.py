"""Query parameters and request headers, read strictly. Each function raises InvalidParameter for a malformed value."""

import re
from collections.abc import Sequence

from flask import Request

from users import ids
from users.request_errors import InvalidParameter
from users.rules import search_keys
from users.services.lists.walk import Domain, NoDomain

MAX_SKIP = 100_000  # without a bound, each request could make the database count all users
MAX_SEARCH = 512  # two names and a space
MAX_FOUND = 300
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")
# RFC 9110, 8.8.3 and 5.6.1: entity tags, with at least one comma between two.
_ENTITY_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"'
_ENTITY_TAGS = re.compile(rf"[ \t,]*{_ENTITY_TAG}(?:[ \t]*,[ \t,]*{_ENTITY_TAG})*[ \t,]*")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_WHOLE_NUMBER = re.compile(r"[0-9]{1,20}")


def boolean(request: Request, name: str) -> bool:
    """Return the query parameter `name`: true, false, 1 or 0 in any case; False if it is absent."""
    values = [value.lower() for value in request.args.getlist(name)] or ["false"]
    if len(values) != 1 or values[0] not in _BOOLEANS:
        raise InvalidParameter(name, "true, false, 1 or 0, once")
    return _BOOLEANS[values[0]]


def optional_boolean(request: Request, name: str) -> bool | None:
    """Return the query parameter `name` as `boolean` does; None if it is absent."""
    return boolean(request, name) if name in request.args else None


def one_of(request: Request, name: str, allowed: Sequence[str]) -> str | None:
    """Return the query parameter `name`, one of the words `allowed`; None if it is absent."""
    values = request.args.getlist(name)
    if values and (len(values) != 1 or values[0] not in allowed):
        raise InvalidParameter(name, f"{', '.join(allowed[:-1])} or {allowed[-1]}, once")
    return values[0] if values else None


def search(request: Request) -> str | None:
    """Return the text of a search, `q`; None if it is absent. An empty text is an error: it would find everybody."""
    values = request.args.getlist("q")
    if values and (len(values) != 1 or len(values[0]) > MAX_SEARCH or not search_keys.query_key(values[0])):
        raise InvalidParameter("q", f"a text of 1 to {MAX_SEARCH} characters, once")
    return values[0] if values else None


def skip(request: Request) -> int:
    """Return how many users a list leaves out; 0 if the parameter is absent."""
    advice = "; to go further, use after, the last id of the page before"
    return _whole_number(request, "skip", 0, least=0, most=MAX_SKIP, advice=advice)


def limit(request: Request, default: int = 100, *, most: int = 1000) -> int:
    """Return how many things a list has at most, up to `most`; the default if the parameter is absent."""
    return _whole_number(request, "limit", default, least=1, most=most)


def _whole_number(request: Request, name: str, default: int, *, least: int, most: int, advice: str = "") -> int:
    values = request.args.getlist(name) or [str(default)]
    if len(values) != 1 or not _WHOLE_NUMBER.fullmatch(values[0]) or not least <= int(values[0]) <= most:
        raise InvalidParameter(name, f"a whole number from {least} to {most}, once{advice}")
    return int(values[0])


def after(request: Request) -> str:
    """Return the id after which a list of users starts; "" if the parameter is absent."""
    values = request.args.getlist("after")
    if values and (len(values) != 1 or not ids.is_user_id(values[0])):
        raise InvalidParameter("after", "the id of a user, once")
    return values[0] if values else ""


def domain(request: Request) -> Domain | None:
    """Return the domain whose users are asked for; None if the parameter is absent."""
    values = request.args.getlist("domain")
    try:
        return Domain(*values) if values else None
    except (NoDomain, TypeError):  # TypeError: several
        raise InvalidParameter("domain", "the domain of email addresses, like example.org, once") from None


def before(request: Request) -> str | None:
    """Return the id of the import before which a list of imports ends; None if the parameter is absent."""
    values = request.args.getlist("before")
    if values and (len(values) != 1 or not ids.is_import_id(values[0])):
        raise InvalidParameter("before", "the id of an import, once")
    return values[0] if values else None


def text(request: Request, name: str, most: int) -> str | None:
    """Return the query parameter `name`, a text of `most` characters at most; None if it is absent."""
    values = request.args.getlist(name)
    if values and (len(values) != 1 or not 0 < len(values[0]) <= most):
        raise InvalidParameter(name, f"a text of 1 to {most} characters, once")
    return values[0] if values else None


def if_match(request: Request) -> frozenset[str] | None:
    """Return the entity tags in the header If-Match, one of which must match; None if any state will do.

    A weak tag keeps its `W/` and so never matches a strong one (RFC 9110, section 13.1.1). A header that is no list
    of tags is an error: to ignore it, or to answer that the user has changed, would mislead the caller.
    """
    value = request.headers.get("If-Match", "*").strip(" \t")
    if value == "*":
        return None
    if not _ENTITY_TAGS.fullmatch(value):
        raise InvalidParameter("If-Match", '* or entity tags in double quotes, as in "abc", "def"')
    return frozenset(re.findall(_ENTITY_TAG, value))


def idempotency_key(request: Request) -> str | None:
    """Return the header Idempotency-Key, None if it is absent.

    A comma is allowed like any other visible character: a header sent twice arrives as one value with a comma, which
    is the same key when the caller sends both again.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidParameter("Idempotency-Key", "1 to 255 visible ASCII characters")
    return key
