"""Invisible characters: the list, and what becomes of them in emails and names."""

import time

import pytest

from users.errors import Invalid
from users.field_errors import FieldCode
from users.rules import email_faults, invisible
from users.rules.emails import BadEmail, likely_meant, parse_email, tidied
from users.rules.validation import new_key

# From Unicode's DerivedCoreProperties.txt, Default_Ignorable_Code_Point, as ranges of hexadecimal numbers.
IGNORABLE = """
00AD 034F 061C 115F-1160 17B4-17B5 180B-180F 200B-200F 202A-202E 2060-206F 3164 FE00-FE0F FEFF FFA0 FFF0-FFF8
1BCA0-1BCA3 1D173-1D17A E0000-E0FFF
"""


def characters(ranges: str) -> list[str]:
    """Return the characters of ranges like `200B-200F`."""
    ends = [(one.split("-")[0], one.split("-")[-1]) for one in ranges.split()]
    return [chr(code) for first, last in ends for code in range(int(first, 16), int(last, 16) + 1)]


def test_list_is_unicodes() -> None:
    assert set(characters(IGNORABLE)) == invisible.DEFAULT_IGNORABLE
    assert len(invisible.DEFAULT_IGNORABLE) == 4174  # as the file itself counts them
    assert {"\u2800"} < invisible.INVISIBLE - invisible.DEFAULT_IGNORABLE


def test_each_character_of_the_list() -> None:
    """It is dropped at the ends of an email, refused inside, and makes no name."""
    for c in sorted(invisible.INVISIBLE)[:600]:  # with a fifth of the tags, which are most of the list
        assert parse_email(f"{c} jo@example.com{c}").text == "jo@example.com"
        for text in (f"j{c}o@example.com", f"jo@exam{c}ple.com", f"jo{c}@example.com", f"jo@{c}example.com"):
            with pytest.raises(BadEmail) as caught:
                parse_email(text)
            assert caught.value.code == FieldCode.INVALID_EMAIL_FORMAT
            words = email_faults.describe(text)
            assert words.startswith(f"Email address must not contain an invisible character: U+{ord(c):04X}")
            assert c not in words
        assert invisible.shows_nothing(f"{c} {c}")
        assert not invisible.shows_nothing(f"{c}x")


@pytest.mark.parametrize("shown", ["\u0301", "\u0600", ".", "⠁", "\ue000", "\u0378"])
def test_others_are_seen(shown: str) -> None:
    assert invisible.trimmed(shown) == shown
    assert not invisible.shows_nothing(shown)


def test_many_are_trimmed_quickly() -> None:
    text = "a" + "\u200b" * 30_000 + " " * 30_000 + "a"
    start = time.thread_time()
    assert invisible.trimmed(f"\u200b{text}\u3164 ") == text
    assert tidied("\u200b" * 60_000) == ""
    assert time.thread_time() - start < 0.5


@pytest.mark.parametrize("name", ["\u3164", "\U00013441", "\u2800\u200b ", "\u034f\ufe0f"])
def test_key_without_a_name_that_shows(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        new_key(name, frozenset())
    assert [(one.code, one.message) for one in caught.value.errors] == [("REQUIRED_FIELD", "Enter a name")]


@pytest.mark.parametrize("mark", "‘’‛ʻʼ′´`＇")
def test_apostrophe_that_was_meant(mark: str) -> None:
    """It is kept as it was sent, and the address with a plain one is proposed."""
    email = f"o{mark}brien@example.com"
    assert parse_email(email).text == email
    assert likely_meant(email) == "o'brien@example.com"
    assert likely_meant(f"o{mark}brien@gmial.com") == "o'brien@gmail.com"
    assert likely_meant("o'brien@example.com") is None


def test_words_never_quote() -> None:
    """No word of a refused email is in the message."""
    for text in (
        "secret;",
        "secret@@example.com",
        "a secret@example.com",
        '"secret"@example.com',
        "secret.@x",
        "s" * 65,
    ):
        assert "secret" not in email_faults.describe(text)
