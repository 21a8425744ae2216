"""What users are found by: keys that are compared byte by byte, and the range of those that begin with a text."""

import re
import unicodedata

import idna

# Enough for whatever is typed. Uncut, NFKC could make of a name more than Postgres takes in an index (2,704 bytes).
KEY_LENGTH = 255
_LAST = "\U0010ffff"  # no character is above it

_ENCODED_LABEL = re.compile(r"xn--[0-9a-z-]+", re.ASCII)
# Postgres takes neither NUL nor lone surrogates in a text. A control character, which nobody's name or address may
# hold, stands for them in what is looked for.
_NOT_STORED = re.compile("[\0\ud800-\udfff]")
_NOBODY_S = "\x01"


def folded(text: str) -> str:
    """Return `text` as it is compared with others, whatever its case and its compatible forms."""
    return unicodedata.normalize("NFKC", text).casefold()


def keys(email: str, first_name: str | None, last_name: str | None) -> dict[str, str | None]:
    """Return what a user is found by: the address, its domain, the name, which begins with the first, and the last."""
    return {
        "search_email": _key(email),
        "search_domain": _key(email.rpartition("@")[2]),
        "search_name": _key(" ".join(name for name in (first_name, last_name) if name)) or None,
        "search_last_name": _key(last_name or "") or None,
    }


def sought(text: str) -> str:
    """Return the key to what somebody types, nothing if that is nothing: `@domain` and `xn--…` mean the domain."""
    key = _key(_NOT_STORED.sub(_NOBODY_S, text).strip().removeprefix("@"))
    return _ENCODED_LABEL.sub(_in_unicode, key)


def above(prefix: str) -> str:
    """Return a text above all keys that begin with `prefix` and below all other keys that are above it."""
    return prefix + _LAST * KEY_LENGTH


def _key(text: str) -> str:
    return folded(" ".join(text.split()))[:KEY_LENGTH]


def _in_unicode(label: re.Match[str]) -> str:
    try:
        return idna.decode(label[0])
    except idna.IDNAError:  # the beginning of one, say
        return label[0]
