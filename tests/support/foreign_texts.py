"""Texts that are given as password hashes: put together of pieces, damaged, or whole and of any cost."""

import base64
import random
import string
import struct
from collections.abc import Callable, Iterator

from support.foreign_hashes import AT_THE_EDGE, B64, DIGEST_32, HEX_64, IN_USE
from users.passwords.argon2id import HashParameters
from users.passwords.hash_queue import HashQueue, Share
from users.passwords.hashing import Hasher

# What a client may send: two forms of the text, NUL, and half of a pair.
HOSTILE = "Zoe\u0308 \ufb01nds \0 and \ud800"

_PIECES = [
    *("$2b$", "$2a$", "12$", "31$", "bcrypt$", "{bcrypt}", "bcrypt_sha256$$2b$12$", "$wp", "$wp$2y$10$", "a" * 53),
    *("$argon2id$", "argon2$", "v=19$", "m=65536,t=3,p=4$", "m=0,t=0,p=0$", "m=9999999999,t=1,p=1$", B64),
    *("pbkdf2_sha256$", "pbkdf2:sha1:", "$pbkdf2$", "$pbkdf2-sha512$", "600000$", "0$", "99999999999$", "salt$"),
    *("scrypt:", "scrypt$", "$scrypt$", "ln=16,r=8,p=1$", "16384$", "32768:8:1$", "AQAAAA", "AQAAAAIAAYag"),
    *(DIGEST_32, DIGEST_32 + "=", HEX_64, "$", ":", "=", "\0", "\ud800", "é", "٣", "\n", " ", "/", ".", "+"),
]
_WHOLE = [text for text, _make in (*AT_THE_EDGE, *IN_USE)]
_SIZES = {"sha1": 20, "sha256": 32, "sha512": 64}


def generated(number: int, seed: int) -> Iterator[str]:
    """Yield `number` texts, the same for each `seed`."""
    dice = random.Random(seed)  # noqa: S311  (the same texts in every run)
    for _ in range(number):
        yield dice.choice([_pieces, _damaged, *_OF_ANY_COST, *_OF_ANY_COST])(dice)


def verify(text: str, password: str, make: str) -> str:
    """Check the password as a sign-in does, with the cheapest hash of our own."""
    with _hasher.place(Share.TYPED) as place:
        return place.verify(text, password, make)


_hasher = Hasher(HashParameters(memory=8, time=1, lanes=1), HashQueue(1))


def _pieces(dice: random.Random) -> str:
    return "".join(dice.choices(_PIECES, k=dice.randint(1, 7)))


def _damaged(dice: random.Random) -> str:
    text = list(dice.choice(_WHOLE))
    for _ in range(dice.randint(1, 3)):
        text[dice.randrange(len(text))] = dice.choice(string.printable + "\0\ud800é٣")
    return "".join(text)


def _bcrypt(dice: random.Random) -> str:
    beginning = dice.choice(["$2a$", "$2b$", "$2y$", "bcrypt$$2b$", "bcrypt_sha256$$2b$", "{bcrypt}$2a$", "$wp$2y$"])
    return f"{beginning}{dice.randint(3, 17):02}${_random(dice, 53, './')}"


def _argon2(dice: random.Random) -> str:
    costs = f"m={_number(dice, 200_000)},t={_number(dice, 1_000)},p={_number(dice, 20)}"
    ends = f"{_base64(dice, dice.randint(7, 65))}${_base64(dice, dice.randint(15, 65))}"
    return f"{dice.choice(['', 'argon2'])}$argon2{dice.choice(['id', 'i', 'd'])}$v=19${costs}${ends}"


def _pbkdf2(dice: random.Random) -> str:
    name, iterations = dice.choice(list(_SIZES)), 1_000 * _number(dice, 5_000)
    digest = dice.randbytes(dice.choice([_SIZES[name], 64]))
    plain = base64.b64encode(digest).decode()
    return dice.choice(
        [
            f"pbkdf2_{name}${iterations}$salt${plain}",
            f"pbkdf2:{name}:{iterations}$salt${digest.hex()}",
            f"$pbkdf2-{name}${iterations}${B64}${plain.rstrip('=').replace('+', '.')}".replace("-sha1", ""),
            _aspnet(dice, iterations),
        ]
    )


def _aspnet(dice: random.Random, iterations: int) -> str:
    salt, digest = (dice.randbytes(dice.randint(15, 65)) for _ in range(2))
    header = struct.pack(">BIII", 1, dice.randint(0, 3), iterations, len(salt))
    return base64.b64encode(header + salt + digest).decode()


def _scrypt(dice: random.Random) -> str:
    log_n, r, p = dice.randint(10, 21), _number(dice, 64), _number(dice, 64)
    return dice.choice(
        [
            f"scrypt:{2**log_n}:{r}:{p}$salt${dice.randbytes(64).hex()}",
            f"scrypt${2**log_n}$salt${r}${p}${'A' * 86}==",
            f"$scrypt$ln={log_n},r={r},p={p}${B64}${DIGEST_32}",
        ]
    )


_OF_ANY_COST: list[Callable[[random.Random], str]] = [_bcrypt, _argon2, _pbkdf2, _scrypt]


def _number(dice: random.Random, most: int) -> int:
    """Return a number up to `most`, of any size: small ones are as frequent as large ones."""
    return int(most ** dice.random())


def _base64(dice: random.Random, size: int) -> str:
    return base64.b64encode(dice.randbytes(size)).decode().rstrip("=")


def _random(dice: random.Random, length: int, more: str) -> str:
    return "".join(dice.choices(string.ascii_letters + string.digits + more, k=length))
