"""The password policy: the generator and the list of common passwords. The other rules: rules/test_validation.py."""

import math
import unicodedata

import pytest

from users.passwords import policy
from users.rules import validation


def test_generated_password() -> None:
    """16 characters without look-alikes, at least 90 bits."""
    made = [policy.generate() for _ in range(200)]
    assert len(set(made)) == 200
    assert all(len(one) == 16 and one.isascii() and one.isalnum() for one in made)
    assert not set("".join(made)) & set("0O1Il")
    assert len(set("".join(made))) == len(policy.GENERATED_ALPHABET)  # a character is missing in 1 of 10**22 runs
    assert policy.GENERATED_LENGTH * math.log2(len(policy.GENERATED_ALPHABET)) >= 90


def test_generated_password_passes_strict_rules() -> None:
    strict = validation.Rules(password_min_length=16, password_blocklist=True)
    made = policy.generate()
    assert validation.new_password(made, strict) == made


@pytest.mark.parametrize(
    "common", ["password1", "PASSWORD1", "Password1", "ｐａｓｓｗｏｒｄ１", "12345678", "qwertyuiop"]
)
def test_common_passwords(common: str) -> None:
    """A common password is found in any case and width."""
    assert policy.is_common(common)


@pytest.mark.parametrize("uncommon", ["correct horse battery", "password1 ", "", "---", "MIT", "SOFTWARE."])
def test_uncommon_passwords(uncommon: str) -> None:
    assert not policy.is_common(uncommon)


def test_list_of_common_passwords() -> None:
    """At least 10,000 passwords of 8 and more characters, in the compared form."""
    listed = policy.common_passwords()
    assert len(listed) >= 10_000
    assert [word for word in listed if len(word) < policy.MIN_LENGTH] == []
    assert [word for word in listed if unicodedata.normalize("NFKC", word).casefold() != word] == []
