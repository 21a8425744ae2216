"""Search keys: the texts by which users are found, compared byte by byte, and the range of keys with a prefix."""

import re
import unicodedata

import idna

from users.rules import invisible

# Enough for all that people type. Without a limit NFKC could make a name longer than a Postgres index allows (2,704
# bytes).
KEY_LENGTH = 255
_LAST = "\U0010ffff"  # the highest character

_ENCODED_LABEL = re.compile(r"xn--[0-9a-z-]+", re.ASCII)
# Postgres allows neither NUL nor lone surrogates in a text. In a query they become a control character, which no name
# or email can hold.
_NOT_STORED = re.compile("[\0\ud800-\udfff]")
_NO_MATCH = "\x01"
# Older versions took emails that begin with an invisible letter or symbol, like U+3164.
_PASTED = " " + "".join(c for c in invisible.INVISIBLE if unicodedata.category(c)[0] not in "LS")


def folded(text: str) -> str:
    """Return `text` as it is compared: without differences of case and of compatible characters."""
    return unicodedata.normalize("NFKC", text).casefold()


def keys(email: str, first_name: str | None, last_name: str | None) -> dict[str, str | None]:
    """Return the search keys of a user: the email, its domain, the full name, and the last name."""
    return {
        "search_email": _key(email),
        "search_domain": _key(email.rpartition("@")[2]),
        "search_name": _key(" ".join(name for name in (first_name, last_name) if name)) or None,
        "search_last_name": _key(last_name or "") or None,
    }


def query_key(text: str) -> str:
    """Return the key for a typed query, "" for an empty one. `@domain` and `xn--…` mean the domain.

    No email has one of `_PASTED` at its ends, but a name may: only a text with @ is an email for certain.
    """
    text = " ".join(_NOT_STORED.sub(_NO_MATCH, text).split())
    local_part, at, domain = _key(text.strip(_PASTED) if "@" in folded(text) else text).rpartition("@")
    return (local_part and local_part + at) + _ENCODED_LABEL.sub(_in_unicode, domain)


def upper_bound(prefix: str) -> str:
    """Return a text above all keys that begin with `prefix` and below all higher keys."""
    return prefix + _LAST * KEY_LENGTH


def _key(text: str) -> str:
    return folded(" ".join(text.split()))[:KEY_LENGTH]


def _in_unicode(label: re.Match[str]) -> str:
    try:
        return idna.decode(label[0])
    except idna.IDNAError:  # for example, only its beginning
        return label[0]
