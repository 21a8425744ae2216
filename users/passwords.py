"""Passwords: the bounds, the hash, the generator and the list of common ones. Rules are applied in `validation`."""

import base64
import math
import secrets
import string
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from users.gate import Gate

MIN_LENGTH = 8  # code points, before and after NFKC; ENROL_PASSWORD_MIN_LENGTH can raise it
MAX_BYTES = 1024  # of UTF-8, before and after NFKC, which can grow a text elevenfold

GENERATED_LENGTH = 16
LOOK_ALIKES = "0Oo1Il"
GENERATED_ALPHABET = "".join(c for c in string.ascii_letters + string.digits if c not in LOOK_ALIKES)
GENERATED_BITS = GENERATED_LENGTH * math.log2(len(GENERATED_ALPHABET))  # 92.9

_COMMON = Path(__file__).with_name("common_passwords.txt")


@dataclass(frozen=True)
class HashParameters:
    """The cost of argon2id: `memory` in KiB, `time` in passes, `lanes` computed side by side."""

    memory: int = 65536
    time: int = 3
    lanes: int = 4

    def __str__(self) -> str:
        return f"m={self.memory},t={self.time},p={self.lanes}"

    def below_floor(self) -> bool:
        """Tell whether this is weaker than every configuration of OWASP's Password Storage Cheat Sheet."""
        floor = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))
        return not any(self.memory >= memory and self.time >= time for memory, time in floor)


class WrongPassword(Exception):
    """The password is not the one that the hash was made of, or there is no such user."""


class Hasher:
    """Turns passwords into argon2id hashes (RFC 9106) with one set of parameters, each behind `gate`.

    To hash and to verify raise Overloaded when the gate has no place.
    """

    def __init__(self, parameters: HashParameters, gate: Gate) -> None:
        self._gate = gate
        self._argon2 = PasswordHasher(
            time_cost=parameters.time, memory_cost=parameters.memory, parallelism=parameters.lanes
        )
        # Of no password: random bytes in a hash's place cost as much to check, and nothing to make.
        salt, digest = (base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode() for size in (16, 32))
        self._nobody = f"$argon2id$v=19${parameters}${salt}${digest}"

    def hash(self, password: str) -> str:
        """Return the encoded hash of `password`, which is brought to NFKC first (RFC 8265, section 4.2)."""
        return self._gate.run(self._argon2.hash, normalise(password))

    def verify(self, password_hash: str | None, password: str) -> None:
        """Return if `password` is the one that `password_hash` was made of, else raise WrongPassword.

        None stands for a user who is not there: it takes the time of one hash as well, and always raises.
        """
        try:
            given = normalise(password).encode("utf-8", "surrogatepass")
            self._gate.run(self._argon2.verify, password_hash or self._nobody, given)
        except (VerifyMismatchError, InvalidHashError):
            raise WrongPassword from None
        if password_hash is None:  # one chance in 2**256
            raise WrongPassword

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether the hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(password_hash)


def normalise(password: str) -> str:
    """Return `password` in NFKC, so that it is the same whichever keyboard or system typed it."""
    return unicodedata.normalize("NFKC", password)


def generate(min_length: int = MIN_LENGTH) -> str:
    """Return a new password: 16 random characters (more where `min_length` asks) without look-alikes, 92 bits."""
    return "".join(secrets.choice(GENERATED_ALPHABET) for _ in range(max(GENERATED_LENGTH, min_length)))


def is_common(password: str) -> bool:
    """Tell whether `password`, after NFKC and casefold, is on the list of common passwords."""
    return normalise(password).casefold() in _common()


@cache
def _common() -> frozenset[str]:
    _licence, _, words = _COMMON.read_text(encoding="utf-8").partition("\n---\n")
    return frozenset(words.split("\n")) - {""}
