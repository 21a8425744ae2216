"""The password policy: what is generated, and the list of common passwords."""

import unicodedata

import pytest

from users.passwords import policy
from users.rules import validation


def test_a_generated_password_is_16_characters_without_look_alikes_and_90_bits_or_more() -> None:
    made = [policy.generate() for _ in range(200)]
    assert len(set(made)) == 200
    assert all(len(one) == 16 and one.isascii() and one.isalnum() for one in made)
    assert not set("".join(made)) & set("0O1Il")
    assert len(set("".join(made))) == len(policy.GENERATED_ALPHABET)  # each is missing in 1 of 10**22 runs
    assert policy.GENERATED_BITS >= 90


def test_a_generated_password_passes_the_strictest_usual_rules() -> None:
    strict = validation.Rules(password_min_length=16, password_blocklist=True)
    made = policy.generate()
    assert validation.new_password(made, strict) == made


@pytest.mark.parametrize(
    "common", ["password1", "PASSWORD1", "Password1", "ｐａｓｓｗｏｒｄ１", "12345678", "qwertyuiop"]
)
def test_a_common_password_is_known_in_any_case_and_width(common: str) -> None:
    assert policy.is_common(common)


@pytest.mark.parametrize("uncommon", ["correct horse battery", "password1 ", "", "---", "MIT", "SOFTWARE."])
def test_what_is_not_on_the_list_is_not_common(uncommon: str) -> None:
    assert not policy.is_common(uncommon)


def test_the_list_has_10000_passwords_of_8_and_more_as_they_are_compared() -> None:
    listed = policy.common_passwords()
    assert len(listed) >= 10_000
    assert [word for word in listed if len(word) < policy.MIN_LENGTH] == []
    assert [word for word in listed if unicodedata.normalize("NFKC", word).casefold() != word] == []
