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
        ("Jose\u0301", "josé"),
        ("@Example.com", "example.com"),
        ("jo@xn--mller-kva.de", "jo@müller.de"),
        ("XN--MLLER-KVA.de", "müller.de"),
        ("xn--m", "xn--m"),
        ("xn--\U0010ffff", "xn--\U0010ffff"),
        (" \ufeff\u200b jo@example.com\ufe0f\u00a0", "jo@example.com"),
        ("\u3164jo@example.com", "\u1160jo@example.com"),  # of an older version
        ("\u200bJo", "\u200bjo"),
        ("50% _*\\'", "50% _*\\'"),
        (" \t\n", ""),
        ("a\0\ud800", "a\x01\x01"),
        ("\ufdfa" * 300, search_keys.folded("\ufdfa" * 300)[:255]),
    ],
)
def test_query_key(typed: str, key: str) -> None:
    assert search_keys.query_key(typed) == key


def test_keys_of_a_user() -> None:
    assert search_keys.keys("usr_0123456789abcdef", "Jo@Müller.DE", "JO", "Von der Heide") == {
        "search_email": "jo@müller.de",
        "search_domain": "müller.de",
        "search_name": "jo von der heide",
        "search_last_name": "von der heide",
    }


def test_keys_without_a_name() -> None:
    found = search_keys.keys("usr_0123456789abcdef", "jo@example.com", None, None)
    assert (found["search_name"], found["search_last_name"]) == (None, None)


@given(prefix=storable | near_the_end, rest=storable | near_the_end, other=storable | near_the_end)
def test_range_of_a_prefix(prefix: str, rest: str, other: str) -> None:
    """The range holds exactly the texts that begin with the prefix."""
    for text in (prefix + rest, other):
        in_range = prefix.encode() <= text.encode() < search_keys.upper_bound(prefix).encode()
        assert in_range is text.startswith(prefix)
