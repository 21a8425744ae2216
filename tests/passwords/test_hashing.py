"""Passwords: how costly a hash is, what goes into it, what is generated and what everybody uses."""

import unicodedata

import argon2
import pytest

from users.passwords import argon2id, policy
from users.passwords.argon2id import HashParameters
from users.passwords.hash_queue import HashQueue, Share
from users.passwords.hashing import Hasher, WrongPassword

cheap = Hasher(HashParameters(memory=8, time=1, lanes=1), HashQueue(1))


def hash_of(password: str, hasher: Hasher = cheap) -> str:
    """Return the hash of a password."""
    with hasher.place(Share.CREATE) as place:
        return place.hash(password)


def verify(stored: str | None, password: str, hasher: Hasher = cheap) -> str:
    """Return the hash to keep."""
    with hasher.place(Share.TYPED) as place:
        return place.verify(stored, password)


def test_the_default_cost_is_argon2_cffis_own() -> None:
    assert str(HashParameters()) == "m=65536,t=3,p=4"
    assert not HashParameters().below_floor()


@pytest.mark.parametrize(("memory", "time"), [(47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5)])
def test_the_floor_is_owasps_and_each_of_its_equals(memory: int, time: int) -> None:
    assert not HashParameters(memory, time, 1).below_floor()
    assert not HashParameters(memory, time, 4).below_floor()
    assert not HashParameters(memory + 1, time + 1, 1).below_floor()
    assert HashParameters(memory - 1, time, 1).below_floor()
    assert HashParameters(memory, time - 1, 1).below_floor()


@pytest.mark.parametrize(("memory", "time"), [(8, 1), (7167, 100), (2**22, 0)])
def test_no_other_cost_makes_up_for_too_little_memory_or_no_pass(memory: int, time: int) -> None:
    assert HashParameters(memory, time, 1).below_floor()


def test_a_hash_is_argon2id_with_the_given_parameters_and_a_salt_of_its_own() -> None:
    first, second = (
        hash_of("correct horse", Hasher(HashParameters(memory=16, time=2, lanes=2), HashQueue(1))) for _ in range(2)
    )
    assert first.startswith("$argon2id$v=19$m=16,t=2,p=2$")
    assert first != second
    assert "correct horse" not in first


@pytest.mark.parametrize(
    ("typed", "typed_elsewhere"),
    [
        ("correct horse battery", "correct horse battery"),
        ("Zoë's password", "Zoe\u0308's password"),
        ("ｆｕｌｌｗｉｄｔｈ", "fullwidth"),
        ("ﬁfty ﬁshes", "fifty fishes"),
        (" spaces are kept ", " spaces are kept "),
    ],
)
def test_a_password_has_one_hash_whichever_keyboard_typed_it(typed: str, typed_elsewhere: str) -> None:
    stored = hash_of(typed)
    assert argon2.PasswordHasher().verify(stored, unicodedata.normalize("NFKC", typed_elsewhere))
    assert argon2.PasswordHasher().verify(hash_of(typed_elsewhere), unicodedata.normalize("NFKC", typed))


@pytest.mark.parametrize("other", ["correct horse", " correct horse battery", "Correct horse battery", ""])
def test_nothing_is_trimmed_cut_or_folded_before_hashing(other: str) -> None:
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(hash_of("correct horse battery"), other)


def test_every_byte_of_the_longest_password_counts() -> None:
    longest = "x" * policy.MAX_BYTES
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(hash_of(longest), longest[:-1] + "y")


def test_argon2_cannot_hash_a_lone_surrogate_which_is_why_validation_refuses_it() -> None:
    with pytest.raises(UnicodeEncodeError):
        hash_of("pass\ud800word")


@pytest.mark.parametrize("stored", ["", "plain text", "$2b$12$CjwKCAjw", "$argon2id$v=19$m=8,t=1,p=1$c2Fsd$ZGlnZXN0"])
def test_no_password_fits_what_is_no_hash(stored: str) -> None:
    with pytest.raises(WrongPassword):
        verify(stored, "correct horse battery")


def test_right_or_wrong_takes_the_same_hashes_and_is_never_cheaper_than_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    today = HashParameters(memory=64, time=2, lanes=1)
    costlier, made = Hasher(today, HashQueue(1)), []
    fitting, making = argon2id.is_hash_of, argon2id.hash_of

    def fits(known: str, password: bytes) -> bool:
        made.append(known.split("$")[3])
        return fitting(known, password)

    def make(password: bytes, parameters: HashParameters) -> str:
        made.append(str(parameters))
        return making(password, parameters)

    right, old = hash_of("correct horse battery", costlier), hash_of("correct horse battery")
    monkeypatch.setattr(argon2id, "is_hash_of", fits)
    monkeypatch.setattr(argon2id, "hash_of", make)
    for stored, work in [
        (None, [str(today)]),
        (right, [str(today)]),
        (old, ["m=8,t=1,p=1", str(today)]),
        ("$2b$12$CjwKCAjw", ["CjwKCAjw", str(today)]),
    ]:
        made.clear()
        with pytest.raises(WrongPassword):
            verify(stored, "battery horse \ud800", costlier)
        assert made == work
        if stored in (right, old):
            made.clear()
            kept = verify(stored, "correct horse battery", costlier)
            assert made == work
            assert (kept == stored) is (stored == right)
            assert verify(kept, "correct horse battery", costlier) == kept


def test_a_hasher_shows_neither_password_nor_hash() -> None:
    hash_of("correct horse battery")
    assert "correct horse" not in repr(vars(cheap))
