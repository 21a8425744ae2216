"""Texts that are no hashes, or hashes at the edge of what is kept: each is kept or refused, and never an exception."""

import random
import string
import time
from collections.abc import Iterator

import pytest

from support.foreign_hashes import AT_THE_EDGE, B64, DIGEST_32, HEX_64, argon2, scrypt
from users.field_errors import RowCode
from users.passwords import foreign
from users.passwords.foreign import NotKept

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
    (argon2("m=65536,t=13,p=1"), COSTLY, "argon2 of "),
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
    (f"pbkdf2:sha256:4000001$salt${HEX_64}", COSTLY, "PBKDF2 of 4,000,001 iterations of sha256 would take too long"),
    (f"pbkdf2:sha1:2000001$salt${'0' * 40}", COSTLY, "PBKDF2 of "),
    (f"pbkdf2:sha512:1600001$salt${'0' * 128}", COSTLY, "PBKDF2 of "),
    (f"$pbkdf2-sha256$2000001${B64}${'A' * 86}", COSTLY, "PBKDF2 of 2,000,001 iterations of sha256 would take too"),
    (f"pbkdf2:sha256:10000$salt${HEX_64[2:]}", INVALID, "This PBKDF2 hash is damaged: a digest of 31 bytes instead of"),
    (f"pbkdf2:sha256:10000$salt${HEX_64[1:]}", INVALID, "This PBKDF2 hash is damaged: a part of it is missing"),
    (f"pbkdf2_sha256$10000$${DIGEST_32}=", INVALID, "This PBKDF2 hash is damaged: "),
    (f"pbkdf2_md5$10000$salt${DIGEST_32}=", UNSUPPORTED, "This is no hash that Enrol knows."),
    (f"AQAAAA{'A' * 76}==", INVALID, "This PBKDF2 hash is damaged: "),
    (f"scrypt:6000:8:1$salt${'0' * 128}", INVALID, "This scrypt hash is damaged: its N is no power of 2"),
    (f"scrypt:2048:8:1$salt${'0' * 128}", WEAK, "scrypt of N=2048,r=8,p=1 is too weak to keep."),
    (scrypt("ln=18,r=8,p=1"), COSTLY, "scrypt of N=262144,r=8,p=1 would take too long to check. The most is 128 MiB"),
    (scrypt("ln=17,r=8,p=3"), COSTLY, "scrypt of "),
    (scrypt("ln=99,r=8,p=3"), COSTLY, "scrypt of "),
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


def generated(number: int, seed: int) -> Iterator[str]:
    """Yield texts put together of the pieces of hashes, and whole ones with other characters in them."""
    dice = random.Random(seed)  # noqa: S311  (the same texts in every run)
    pieces = [
        *("$2b$", "$2a$", "12$", "31$", "bcrypt$", "{bcrypt}", "bcrypt_sha256$$2b$12$", "$wp", "$wp$2y$10$", "a" * 53),
        *("$argon2id$", "argon2$", "v=19$", "m=65536,t=3,p=4$", "m=0,t=0,p=0$", "m=9999999999,t=1,p=1$", B64),
        *("pbkdf2_sha256$", "pbkdf2:sha1:", "$pbkdf2$", "$pbkdf2-sha512$", "600000$", "0$", "99999999999$", "salt$"),
        *("scrypt:", "scrypt$", "$scrypt$", "ln=16,r=8,p=1$", "16384$", "32768:8:1$", "AQAAAA", "AQAAAAIAAYag"),
        *(DIGEST_32, DIGEST_32 + "=", HEX_64, "$", ":", "=", "\0", "\ud800", "é", "٣", "\n", " ", "/", ".", "+"),
    ]
    whole = [text for text, _make in AT_THE_EDGE]
    for _ in range(number):
        if dice.random() < 0.5:
            yield "".join(dice.choices(pieces, k=dice.randint(1, 7)))
        else:
            text = list(dice.choice(whole))
            for _ in range(dice.randint(1, 3)):
                text[dice.randrange(len(text))] = dice.choice(string.printable + "\0\ud800é٣")
            yield "".join(text)


def test_generated_texts() -> None:
    """Of 20,000 generated texts none is an exception, and of those that are kept, each make is within the bounds."""
    start = time.perf_counter()
    makes, told = set[str](), 0
    for text in generated(20_000, seed=17):
        try:
            makes.add(foreign.judge(text).make)
        except NotKept as refusal:
            told += len(text) > 20 and text in refusal.message
    assert told == 0, "the words do not hold the text"
    assert time.perf_counter() - start < 20
    assert len(makes) > 20
    for make in makes:
        assert cost(make) <= 1, make


def cost(make: str) -> float:
    """Return the part of the most that hashes of a make may cost."""
    name, *numbers = make.split("-")
    if name == "bcrypt":
        return 2.0 ** (int(numbers[0]) - 14)
    if name.startswith("argon2"):
        memory, passes, lanes = map(int, numbers)
        return max(memory / 131_072, memory * passes / 800_000, lanes / 16, passes * lanes / 512)
    if name == "scrypt":
        n, r, p = map(int, numbers)
        return max(128 * n * r / 2**27, n * r * p / 2**21)
    iterations, _, blocks = numbers[1].partition("x")
    most = {"sha1": 2_000_000, "sha256": 4_000_000, "sha512": 1_600_000}[numbers[0]]
    return int(iterations) * int(blocks or 1) / most
