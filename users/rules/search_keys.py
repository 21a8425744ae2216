"""Search keys: the texts by which users are found and sorted, compared byte by byte, and the range of a prefix.

A key leaves aside what people do not type alike: case, accents, kinds of apostrophe and hyphen, invisible characters.
"""

import re
import unicodedata

import idna

from users.rules.invisible import INVISIBLE

# Enough for all that people type. Without a limit NFKD could make a name longer than a Postgres index allows (2,704
# bytes).
KEY_LENGTH = 255
_LAST = "\U0010ffff"  # the highest character, which no query holds
_END = "\x02"  # the end of a name: a low character, which neither a name nor a query holds

_ENCODED_LABEL = re.compile(r"xn--[0-9a-z-]+", re.ASCII)
# Postgres allows neither NUL nor lone surrogates in a text. In a query they become a control character, which no name
# or email can hold.
_NOT_IN_A_QUERY = re.compile(f"[\0{_END}\ud800-\udfff{_LAST}]")
_NO_MATCH = "\x01"
# Marks that are left out when people type: those on Latin, Greek and Cyrillic letters, Hebrew points, Arabic vowels.
# Other marks, as in Devanagari, are letters of their own.
_MARKS = (range(0x300, 0x370), range(0x591, 0x5BE), range(0x5BF, 0x5C8), range(0x64B, 0x660), range(0x1DC0, 0x1E00))
_SPELLED = {
    **dict.fromkeys("‘’‛ʹʻʼʽˈ´′＇`", "'"),
    **dict.fromkeys("‐‑‒–—−－", "-"),
    **dict.fromkeys(INVISIBLE, ""),
}
# Letters with a stroke and ligatures, which Unicode does not take apart, and the Turkish dotless i.
_PLAIN = {
    "ı": "i",
    "ł": "l",
    "ø": "o",
    "đ": "d",
    "ħ": "h",
    "ŧ": "t",
    "æ": "ae",
    "œ": "oe",
    "ð": "d",
    "þ": "th",
    **{chr(code): "" for marks in _MARKS for code in marks},
}
# Chinese, Japanese and Korean names are typed with a space or without.
_EASTERN = "\u1100-\u11ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_EASTERN_SPACE = re.compile(f"(?<=[{_EASTERN}]) (?=[{_EASTERN}])")
_BEFORE, _AFTER = str.maketrans(_SPELLED), str.maketrans(_PLAIN)


def folded(text: str) -> str:
    """Return `text` without differences of case and of compatible characters, as emails are compared."""
    return unicodedata.normalize("NFKC", text).casefold()


def keys(user_id: str, email: str, first_name: str | None, last_name: str | None) -> dict[str, str | None]:
    """Return the search keys of a user: the email, its domain, that domain from its end, the name, the last name first.

    The name is also the order of the list by name, and ends with the time of the id: so many users may have one name,
    and each page of them is still a range of the index. A user without a name comes after all others.
    """
    email_key = of_email(email)
    domain = email_key.rpartition("@")[2]
    return {
        "search_email": email_key,
        "search_domain": domain,
        "search_parents": _from_its_end(domain),
        "search_name": (_key(" ".join(name for name in (first_name, last_name) if name)) or _LAST) + _end(user_id),
        "search_last_name": (first_name and last_name and _key(f"{last_name} {first_name}")) or None,
    }


def _end(user_id: str) -> str:
    """Return the end of a name: the time of the id, to a quarter of an hour, in four characters instead of seven."""
    quarters = int(user_id[4:11], 16)
    return _END + "".join(chr(ord("0") + (quarters >> bits & 63)) for bits in (18, 12, 6, 0))


def of_email(email: str) -> str:
    """Return the key of an email."""
    return _key(email)


def query_key(text: str) -> str:
    """Return the key for a typed query, "" for an empty one. `@domain` and `xn--…` mean the domain."""
    local_part, at, domain = _key(_NOT_IN_A_QUERY.sub(_NO_MATCH, text)).rpartition("@")
    return (local_part and local_part + at) + _key(_ENCODED_LABEL.sub(_in_unicode, domain))


def parents_key(query: str) -> str | None:
    """Return the prefix of `search_parents` for a domain and all below it, None if the key `query` is no domain."""
    domain = query.strip(".")
    return _from_its_end(domain) if "." in domain and not re.search("[ @]", domain) else None


def upper_bound(prefix: str) -> str:
    """Return a text above all keys that begin with `prefix` and below all higher keys."""
    return prefix + _LAST * KEY_LENGTH


def _key(text: str) -> str:
    if text.isascii():  # a short cut: `_plain` would return the same
        return " ".join(text.lower().replace("`", "'").split())[:KEY_LENGTH]
    return _EASTERN_SPACE.sub("", " ".join(_plain(text).split()))[:KEY_LENGTH]


def _plain(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text.translate(_BEFORE)).casefold()
    # Not put together again, so that the first letters of a Hangul syllable are a prefix of it.
    return unicodedata.normalize("NFKD", apart).translate(_AFTER)


def _from_its_end(domain: str) -> str:
    """Return the labels of `domain` from the last to the first, each with a dot: `org.example.` for `example.org`."""
    return "".join(f"{label}." for label in reversed(domain.split(".")))


def _in_unicode(label: re.Match[str]) -> str:
    try:
        return idna.decode(label[0])
    except idna.IDNAError:  # for example, only its beginning
        return label[0]
