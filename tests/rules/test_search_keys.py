"""Search keys: any case, any Unicode form, and exactly the texts that begin with the query."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from users.rules import search_keys

storable = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
near_the_end = st.text(st.sampled_from("a\ud7fb\ue000\U0010fffe\U0010ffff"), max_size=4)


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("  Ada   LOVELACE ", "ada lovelace"),
        ("STRASSE", "strasse"),
        ("straße", "strasse"),
        ("Ｊｏ", "jo"),
        ("ΟΔΟΣ", "οδοσ"),
        ("Jose\u0301", "jose"),
        ("@Example.com", "example.com"),
        ("jo@xn--mller-kva.de", "jo@muller.de"),
        ("XN--MLLER-KVA.de", "muller.de"),
        ("xn--m", "xn--m"),
        ("xn--\U0010ffff", "xn--\x01"),
        (" \ufeff\u200b jo@example.com\ufe0f\u00a0", "jo@example.com"),
        ("\u3164jo@example.com", "jo@example.com"),
        ("\u200bJ\u00ado", "jo"),
        ("50% _*\\'", "50% _*\\'"),
        (" \t\n", ""),
        ("a\0\ud800", "a\x01\x01"),
        ("\ufdfa" * 300, search_keys.folded("\ufdfa" * 300)[:255]),
    ],
)
def test_query_key(typed: str, key: str) -> None:
    assert search_keys.query_key(typed) == key


def test_keys_of_a_user() -> None:
    assert search_keys.keys("usr_0123456789abcdef", "Jo@mail.Müller.DE", "JO", "Von der Heide") == {
        "search_email": "jo@mail.muller.de",
        "search_domain": "mail.muller.de",
        "search_parents": "de.muller.mail.",
        "search_name": "jo von der heide\x024SAF",
        "search_last_name": "von der heide jo",
    }


@pytest.mark.parametrize("names", [(None, None), ("", ""), (" ", None)])
def test_keys_without_a_name(names: tuple[str | None, str | None]) -> None:
    """They come after all names, the oldest user first."""
    found = search_keys.keys("usr_0123456789abcdef0123", "jo@example.com", *names)
    assert (found["search_name"], found["search_last_name"]) == ("\U0010ffff\x024SAF", None)


@given(prefix=storable | near_the_end, rest=storable | near_the_end, other=storable | near_the_end)
def test_range_of_a_prefix(prefix: str, rest: str, other: str) -> None:
    """The range holds exactly the texts that begin with the prefix."""
    for text in (prefix + rest, other):
        in_range = prefix.encode() <= text.encode() < search_keys.upper_bound(prefix).encode()
        assert in_range is text.startswith(prefix)
