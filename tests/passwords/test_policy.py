"""The password policy: the generator. The rules for passwords: rules/test_validation.py."""

import math

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
