"""The judgement of a text that is given as a password hash, and the check of a password against one that was kept."""

import functools
import re
from collections.abc import Sequence

from users.field_errors import RowCode
from users.passwords import policy
from users.passwords.foreign.argon2_hashes import ARGON2
from users.passwords.foreign.bcrypt_hashes import BCRYPT
from users.passwords.foreign.kept import ForeignHash, NotKept, Readable, weak
from users.passwords.foreign.pbkdf2_hashes import PBKDF2
from users.passwords.foreign.scrypt_hashes import SCRYPT

_LONGEST = 512  # characters; what is kept has at most half of that
_ALGORITHMS = (BCRYPT, ARGON2, PBKDF2, SCRYPT)
_UNKNOWN = (
    "This is no hash that Enrol knows. It knows: argon2, bcrypt, PBKDF2 and scrypt, as Django, Werkzeug, passlib, "
    "ASP.NET Core Identity, Spring and WordPress write them"
)
# What is too weak to keep, by its beginning: the rest of it may be anything.
_WEAK_BEGINNINGS = {
    "$P$": "phpass",
    "$H$": "phpass",
    "$S$": "Drupal's SHA-512",
    "{SSHA}": "SSHA",
    "{SHA}": "SHA-1",
    "md5$": "MD5",
    "sha1$": "SHA-1",
}
_HEX = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{40}")
_ASPNET_2 = re.compile(r"A[A-P][A-Za-z0-9+/]{64}==")  # version 0, and 48 bytes of salt and digest


def judge(text: str) -> ForeignHash:
    """Return the hash to keep. Raises NotKept if `text` is no hash, damaged, too costly or too weak."""
    found = _find(text)
    if found is None:
        raise _refusal(text)
    return ForeignHash(found.make, text)


def matches(text: str, password: str) -> bool:
    """Tell whether `password` matches `text`, a hash that `judge` has kept; nothing matches another text.

    All `forms` of the password are tried, also if the first one matches, so that the time does not tell it. Raises
    MemoryError.
    """
    try:
        found = _find(text)
    except NotKept:
        return False
    tried = [found.is_hash_of(form) for form in forms(password)] if found else []
    return any(tried)


def forms(password: str) -> Sequence[bytes]:
    """Return the password as it was sent and, if that is another text, in its normal form (`policy.normalise`)."""
    both = dict.fromkeys((password, policy.normalise(password)))
    return [form.encode("utf-8", "surrogatepass") for form in both]


@functools.cache
def decoy(make: str) -> str | None:
    """Return a hash of no password that takes as long as hashes of this make. None for a make of a newer Enrol."""
    for algorithm in _ALGORITHMS:
        if parts := algorithm.makes.fullmatch(make):
            return algorithm.decoy(*parts.groups())
    return None


def _find(text: str) -> Readable | None:
    """Return the hash that `text` is, None for one that no algorithm here writes. Raises NotKept."""
    if len(text) <= _LONGEST:
        for algorithm in _ALGORITHMS:
            if text.startswith(algorithm.beginnings):
                return algorithm.read(text)
    return None


def _refusal(text: str) -> NotKept:
    for beginning, kind in _WEAK_BEGINNINGS.items():
        if text.startswith(beginning):
            return weak(kind)
    if _HEX.fullmatch(text):
        return weak("MD5" if len(text) == 32 else "SHA-1")
    if _ASPNET_2.fullmatch(text):
        return weak("ASP.NET Identity version 2")
    return NotKept(RowCode.PASSWORD_HASH_UNSUPPORTED, _UNKNOWN)
