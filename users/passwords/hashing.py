"""Hashes of passwords: made and verified with one set of argon2id parameters, in places of the hash queue."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from users.passwords import argon2id, foreign, policy
from users.passwords.argon2id import HashParameters
from users.passwords.hash_queue import HashQueue, Place, Share


class WrongPassword(Exception):
    """The password does not match the hash, or there is no such user."""


class Hasher:
    """Turns passwords into argon2id hashes (RFC 9106) with one set of parameters, in places of the hash queue."""

    def __init__(self, parameters: HashParameters, queue: HashQueue) -> None:
        self._parameters = parameters
        self._queue = queue
        # The hash of no password: to verify against random bytes costs as much as against a real hash.
        self._decoy = argon2id.encoded(
            parameters, *map(secrets.token_bytes, (argon2id.SALT_BYTES, argon2id.DIGEST_BYTES))
        )

    def require_place(self, share: Share) -> None:
        """Raise Overloaded if `place` would do so now."""
        self._queue.require_place(share)

    @contextlib.contextmanager
    def place(self, share: Share) -> Iterator["PasswordPlace"]:
        """Take a place in the hash queue, to hash and verify passwords in it one after another.

        Take it before you write anything: it raises Overloaded when the queue of this share is full.
        """
        with self._queue.place(share) as place:
            yield PasswordPlace(place, self._parameters, self._decoy)


@dataclass(frozen=True)
class PasswordPlace:
    """A place in the hash queue. `hash` and `verify` raise Overloaded when a hash waits too long to begin."""

    _place: Place
    _parameters: HashParameters
    _decoy: str

    def hash(self, password: str) -> str:
        """Return the encoded hash of `password` in its normal form (`policy.normalise`)."""
        return self._hash(policy.normalise(password).encode())

    def verify(self, password_hash: str | None, password: str, make: str | None = None) -> str:
        """Return the hash to keep if `password` matches `password_hash`, else raise WrongPassword.

        It is the same hash, or a new one if `password_hash` was made with other parameters than today's, or by another
        system, which `make` names. That new hash is made for a wrong password too, so that the time does not tell right
        from wrong. None stands for a user who does not exist, and costs as much as a hash of `make`, by default as one
        hash with today's parameters.
        """
        known = password_hash or (make and foreign.decoy(make)) or self._decoy
        # No stored password is longer. NFKC of 64 KiB of combining marks would hold the interpreter for seconds.
        can_match = policy.size(password) <= policy.MAX_BYTES
        tried = password if can_match else ""
        matches = self._place.run(partial(_matches, known, tried, is_foreign=bool(make))) and can_match
        is_todays = known.startswith(argon2id.beginning(self._parameters))
        if not is_todays or (make and known is not self._decoy):
            known = self._hash(_encode(policy.normalise(tried)))
        if not matches:
            raise WrongPassword
        return known

    def _hash(self, given: bytes) -> str:
        return self._place.run(partial(argon2id.hash_of, given, self._parameters))


def _matches(known: str, password: str, *, is_foreign: bool) -> bool:
    """Tell whether `password` matches. A hash of our own is one of its normal form, which is all that is tried."""
    if is_foreign:  # Django's prefix: without it the decoy, which has none, takes the same path and the same time
        known = known.removeprefix("argon2")
    if not known.startswith(argon2id.ARGON2ID):
        return foreign.matches(known, password)
    forms = foreign.forms(password) if is_foreign else (_encode(policy.normalise(password)),)
    try:
        tried = [argon2id.is_hash_of(known, form) for form in forms]
    except ValueError:  # the stored text is no argon2id hash
        return False
    return any(tried)


def _encode(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
