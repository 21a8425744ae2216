"""Texts that are no hashes, or hashes at the edge of what is kept: each is kept or refused, and never an exception."""

import pytest

from support.foreign_hashes import AT_THE_EDGE, B64, DIGEST_32, HEX_64, IN_USE, argon2, part_of_most, scrypt
from support.foreign_texts import HOSTILE, generated, verify
from users.field_errors import RowCode
from users.passwords import foreign
from users.passwords.foreign import NotKept
from users.passwords.hashing import WrongPassword

INVALID, WEAK = RowCode.PASSWORD_HASH_INVALID, RowCode.PASSWORD_HASH_WEAK
COSTLY, UNSUPPORTED = RowCode.PASSWORD_HASH_TOO_COSTLY, RowCode.PASSWORD_HASH_UNSUPPORTED


REFUSED = [
    (f"$2b$12${'a' * 52}", INVALID, "This bcrypt hash is damaged: 59 characters instead of 60"),
    (f"$2b$12${'a' * 54}", INVALID, "This bcrypt hash is damaged: 61 characters instead of 60"),
    (f"$2b$12${'a' * 52}=", INVALID, "This bcrypt hash is damaged: it has a character that no bcrypt hash has there"),
    (f"$2b$12${'a' * 53}\n", INVALID, "This bcrypt hash is damaged: 61 characters instead of 60"),
    (f"$2b$03${'a' * 53}", INVALID, "This bcrypt hash is damaged: its cost is not from 4 to 31"),
    (f"$2b$07${'a' * 53}", WEAK, "bcrypt of cost 7 is too weak to keep."),
    (f"$2b$16${'a' * 53}", COSTLY, "bcrypt of cost 16 would take too long to check. The most is 14"),
    (f"$wp$2b$12${'a' * 53}", INVALID, "This bcrypt hash is damaged: after its prefix comes no bcrypt hash"),
    (f"$2x$12${'a' * 53}", UNSUPPORTED, "This is no hash that Enrol knows. It knows: argon2, bcrypt, "),
    (argon2("m=131073,t=1,p=1"), COSTLY, "argon2 of m=131073,t=1,p=1 would take too long to check. The most is "),
    (argon2("m=65536,t=11,p=1"), COSTLY, "argon2 of "),
    (argon2("m=65536,t=3,p=17"), COSTLY, "argon2 of "),
    (argon2("m=128,t=6250,p=16"), COSTLY, "argon2 of "),
    (argon2("m=4095,t=1,p=1"), WEAK, "argon2 of m=4095,t=1,p=1 is too weak to keep."),
    (argon2("m=64,t=64,p=16"), COSTLY, "argon2 of "),
    (argon2("m=120,t=40,p=16").replace("m=120", "m=127"), COSTLY, "argon2 of "),
    (argon2("m=127,t=32,p=16"), INVALID, "This argon2 hash is damaged: its memory is less than 8 times its lanes"),
    (argon2("m=65536,t=3,p=4", kind="x"), INVALID, "This argon2 hash is damaged: "),
    (argon2("m=65536,t=3,p=4").replace("v=19", "v=16"), INVALID, "This argon2 hash is damaged: "),
    (f"$argon2id$v=19$m=65536,t=3,p=4$AAAA${DIGEST_32}", INVALID, "This argon2 hash is damaged: its salt or its "),
    (f"$argon2id$v=19$m=65536,t=3,p=4${B64}$AAAA", INVALID, "This argon2 hash is damaged: its salt or its digest"),
    (f"pbkdf2:sha256:9999$salt${HEX_64}", WEAK, "PBKDF2 of 9,999 iterations is too weak to keep."),
    (f"pbkdf2:sha256:3000001$salt${HEX_64}", COSTLY, "PBKDF2 of 3,000,001 iterations of sha256 would take too long"),
    (f"pbkdf2:sha1:2000001$salt${'0' * 40}", COSTLY, "PBKDF2 of "),
    (f"pbkdf2:sha512:1300001$salt${'0' * 128}", COSTLY, "PBKDF2 of "),
    (f"$pbkdf2-sha256$1500001${B64}${'A' * 86}", COSTLY, "PBKDF2 of 1,500,001 iterations of sha256 would take too"),
    (f"pbkdf2:sha256:10000$salt${HEX_64[2:]}", INVALID, "This PBKDF2 hash is damaged: a digest of 31 bytes instead of"),
    (f"pbkdf2:sha256:10000$salt${HEX_64[1:]}", INVALID, "This PBKDF2 hash is damaged: a part of it is missing"),
    (f"pbkdf2_sha256$10000$${DIGEST_32}=", INVALID, "This PBKDF2 hash is damaged: "),
    (f"pbkdf2_md5$10000$salt${DIGEST_32}=", UNSUPPORTED, "This is no hash that Enrol knows."),
    (f"AQAAAA{'A' * 76}==", INVALID, "This PBKDF2 hash is damaged: "),
    (f"scrypt:6000:8:1$salt${'0' * 128}", INVALID, "This scrypt hash is damaged: its N is no power of 2"),
    (f"scrypt:2048:8:1$salt${'0' * 128}", WEAK, "scrypt of N=2048,r=8,p=1 is too weak to keep."),
    (scrypt("ln=18,r=8,p=1"), COSTLY, "scrypt of N=262144,r=8,p=1 would take too long to check. The most is 128 MiB"),
    (scrypt("ln=17,r=8,p=2"), COSTLY, "scrypt of "),
    (scrypt("ln=99,r=8,p=3"), COSTLY, "scrypt of "),
    (scrypt("ln=16,r=1,p=1"), INVALID, "This scrypt hash is damaged: its N is too large for its r"),
    (scrypt("ln=12,r=0,p=3"), INVALID, "This scrypt hash is damaged: "),
    ("$P$BabcdefghijklmnopqrstuvwxyzABCDE", WEAK, "phpass is too weak to keep. Import these rows without a password"),
    ("$H$9abcdefghijklmnopqrstuvwxyzABCDE", WEAK, "phpass is too weak to keep."),
    (f"$S$D{'a' * 51}", WEAK, "Drupal's SHA-512 is too weak to keep."),
    ("{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==", WEAK, "SSHA is too weak to keep."),
    ("{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=", WEAK, "SHA-1 is too weak to keep."),
    (f"md5$salt${'0' * 32}", WEAK, "MD5 is too weak to keep. Import these rows without a password and hand out "),
    (f"sha1$salt${'0' * 40}", WEAK, "SHA-1 is too weak to keep."),
    ("0" * 32, WEAK, "MD5 is too weak to keep."),
    ("F" * 40, WEAK, "SHA-1 is too weak to keep."),
    (f"AA{'B' * 64}==", WEAK, "ASP.NET Identity version 2 is too weak to keep."),
    ("", UNSUPPORTED, "This is no hash that Enrol knows."),
    ("correct horse battery", UNSUPPORTED, "This is no hash that Enrol knows."),
    (f"!{'a' * 40}", UNSUPPORTED, "This is no hash that Enrol knows."),
    (f" $2b$12${'a' * 53}", UNSUPPORTED, "This is no hash that Enrol knows."),
    ("$2b$12$" * 1000, UNSUPPORTED, "This is no hash that Enrol knows."),
]


@pytest.mark.parametrize(("text", "code", "beginning"), REFUSED, ids=[text[:28] for text, _, _ in REFUSED])
def test_refused(text: str, code: RowCode, beginning: str) -> None:
    """The words say what is wrong and what would be right, and never the text."""
    with pytest.raises(NotKept) as refusal:
        foreign.judge(text)
    assert (refusal.value.code, refusal.value.message[: len(beginning)]) == (code, beginning)
    assert not foreign.matches(text, "correct horse battery")


@pytest.mark.parametrize(("text", "make"), AT_THE_EDGE, ids=[make for _, make in AT_THE_EDGE])
def test_kept(text: str, make: str) -> None:
    """The cheapest and the costliest that are kept. `tests/bench/foreign_hashes.py` times them."""
    assert foreign.judge(text).make == make


@pytest.mark.parametrize(("text", "make"), IN_USE, ids=[make for _, make in IN_USE])
def test_in_use(text: str, make: str) -> None:
    """What is in use now, or will be in the next years, is kept."""
    assert foreign.judge(text).make == make


def test_generated_texts() -> None:
    """Of 20,000 generated texts none is an exception, and what is kept is within the bounds and can be checked.

    The cheap ones are checked here. `tests/bench/foreign_hashes.py --texts 20000` checks all of them, and the time.
    """
    kept, told = dict[str, str](), 0
    for text in generated(20_000, seed=17):
        try:
            kept.setdefault(foreign.judge(text).make, text)
        except NotKept as refusal:
            told += len(text) > 20 and text in refusal.message
    assert told == 0, "the words do not hold the text"
    assert len(kept) > 1_000
    assert [make for make in kept if part_of_most(make) > 1] == []
    # bcrypt has few makes: `test_vectors` checks the cheapest.
    cheap = [make for make in kept if part_of_most(make) < 1 / 100]
    assert {make.split("-")[0] for make in cheap} == {"argon2id", "argon2i", "argon2d", "pbkdf2", "scrypt"}
    for make in cheap[:60]:
        with pytest.raises(WrongPassword):
            verify(kept[make], HOSTILE, make)
        assert foreign.judge(foreign.decoy(make) or "").make == make
