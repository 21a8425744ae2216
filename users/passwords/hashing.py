"""Passwords: the bounds, the hash, the generator and the list of common ones. Rules are applied in `validation`."""

import contextlib
import math
import secrets
import string
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from users.passwords import argon2id
from users.passwords.argon2id import HashParameters
from users.passwords.hash_queue import HashQueue, Place, Share

MIN_LENGTH = 8  # code points, before and after NFKC; ENROL_PASSWORD_MIN_LENGTH can raise it
MAX_BYTES = 1024  # of UTF-8, before and after NFKC, which can grow a text elevenfold

GENERATED_LENGTH = 16
LOOK_ALIKES = "0Oo1Il"
GENERATED_ALPHABET = "".join(c for c in string.ascii_letters + string.digits if c not in LOOK_ALIKES)
GENERATED_BITS = GENERATED_LENGTH * math.log2(len(GENERATED_ALPHABET))  # 92.9

_COMMON = Path(__file__).with_name("common_passwords.txt")


class WrongPassword(Exception):
    """The password is not the one that the hash was made of, or there is no such user."""


class Hasher:
    """Turns passwords into argon2id hashes (RFC 9106) with one set of parameters, in places of the hash queue."""

    def __init__(self, parameters: HashParameters, queue: HashQueue) -> None:
        self._parameters = parameters
        self._queue = queue
        # Of no password: random bytes in a hash's place cost as much to check, and nothing to make.
        self._nobody = argon2id.encoded(
            parameters, *map(secrets.token_bytes, (argon2id.SALT_BYTES, argon2id.DIGEST_BYTES))
        )

    def require_place(self, share: Share) -> None:
        """Raise Overloaded if `place` would do so now."""
        self._queue.require_place(share)

    @contextlib.contextmanager
    def place(self, share: Share) -> Iterator["PasswordPlace"]:
        """Take a place in the hash queue, to hash and verify passwords in it one after another.

        Take it before anything is written: it raises Overloaded when the queue of this share is full.
        """
        with self._queue.place(share) as place:
            yield PasswordPlace(place, self._parameters, self._nobody)


@dataclass(frozen=True)
class PasswordPlace:
    """A place in the hash queue. To hash and to verify raise Overloaded when a hash waits too long to begin."""

    _place: Place
    _parameters: HashParameters
    _nobody: str

    def hash(self, password: str) -> str:
        """Return the encoded hash of `password`, which is brought to NFKC first (RFC 8265, section 4.2)."""
        return self._hash(normalise(password).encode())

    def verify(self, password_hash: str | None, password: str) -> str:
        """Return the hash to keep if `password` is the one that `password_hash` was made of, else raise WrongPassword.

        It is the same hash, or a new one in the place of one that was made with other parameters than today's. That
        one is made for a wrong password too, in vain: the time does not tell which it was. None stands for a user
        who is not there, and takes a hash of today's parameters.
        """
        known = password_hash or self._nobody
        # No password is longer. NFKC takes seconds for 64 KiB of combining marks, and the interpreter with it.
        can_fit = len(password.encode("utf-8", "surrogatepass")) <= MAX_BYTES
        given = normalise(password if can_fit else "").encode("utf-8", "surrogatepass")
        try:
            fits = self._place.run(partial(argon2id.is_hash_of, known, given)) and can_fit
        except ValueError:  # what is stored is no hash of ours
            fits = False
        if not known.startswith(argon2id.beginning(self._parameters)):
            known = self._hash(given)
        if not fits:
            raise WrongPassword
        return known

    def _hash(self, given: bytes) -> str:
        return self._place.run(partial(argon2id.hash_of, given, self._parameters))


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
