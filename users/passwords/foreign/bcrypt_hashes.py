"""bcrypt: as it is, `$2b$12$…` and with the prefixes of Django and Spring, and over a digest (Django, WordPress 6.8).

A password is cut to 72 bytes, as bcrypt itself does: version 5 of the package raises an error instead.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from users.passwords.foreign.kept import Algorithm, Readable, damaged, too_costly, weak

_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LONGEST = 72
_LENGTH, _SALT = 60, 22  # characters: of the whole, and of the salt, which is 128 bits
_LEAST_COST, _MOST_COST = 8, 14
_POSSIBLE = range(4, 32)
_PARTS = re.compile(r"(bcrypt\$|bcrypt_sha256\$|\{bcrypt\}|\$wp(?=\$2y))?(\$2[aby]\$.*)", re.DOTALL)
_WHOLE = re.compile(r"\$2[aby]\$([0-9]{2})\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})")
_PHP_SPACE = b" \n\r\t\v\0"  # what PHP's trim takes off


def _sha256(password: bytes) -> bytes:
    """Return what Django's BCryptSHA256PasswordHasher gives to bcrypt."""
    return hashlib.sha256(password).hexdigest().encode()


def _wordpress(password: bytes) -> bytes:
    """Return what WordPress 6.8 gives to bcrypt: see wp_hash_password."""
    return base64.b64encode(hmac.digest(b"wp-sha384", password.strip(_PHP_SPACE), "sha384"))


def _plain(password: bytes) -> bytes:
    return password


_PREPARE = {"bcrypt_sha256$": _sha256, "$wp": _wordpress}


@dataclass(frozen=True, slots=True)
class _Bcrypt:
    cost: int
    salt: str = field(repr=False)
    digest: str = field(repr=False)
    prepare: Callable[[bytes], bytes]

    @property
    def make(self) -> str:
        return f"bcrypt-{self.cost:02}"

    def is_hash_of(self, password: bytes) -> bool:
        import bcrypt  # where it is first used: no installation without such hashes loads it

        given = self.prepare(password)[:_LONGEST]
        can_match = b"\0" not in given  # bcrypt in C ends there: all that begin alike would match
        made = bcrypt.hashpw(given if can_match else b"", f"$2b${self.cost:02}${self.salt}".encode())
        return hmac.compare_digest(made[-len(self.digest) :], self.digest.encode()) and can_match


def _read(text: str) -> Readable:
    parts = _PARTS.fullmatch(text)
    if not parts:
        raise damaged("bcrypt", "after its prefix comes no bcrypt hash")
    if len(parts[2]) != _LENGTH:
        raise damaged("bcrypt", f"{len(parts[2])} characters instead of {_LENGTH}")
    whole = _WHOLE.fullmatch(parts[2])
    if not whole:
        raise damaged("bcrypt", "it has a character that no bcrypt hash has there")
    cost = int(whole[1])
    _require_good(cost)
    return _Bcrypt(cost, _without_spare(whole[2], 4), _without_spare(whole[3], 2), _PREPARE.get(parts[1], _plain))


def _decoy(cost: str) -> str:
    return f"$2b${cost}${''.join(secrets.choice(_ALPHABET) for _ in range(53))}"


def _require_good(cost: int) -> None:
    if cost not in _POSSIBLE:
        raise damaged("bcrypt", "its cost is not from 4 to 31")
    if cost < _LEAST_COST:
        raise weak(f"bcrypt of cost {cost}")
    if cost > _MOST_COST:
        raise too_costly(f"bcrypt of cost {cost}", str(_MOST_COST))


def _without_spare(text: str, bits: int) -> str:
    """Return `text` with zeros for the `bits` of its last character that say nothing: some libraries set them."""
    return text[:-1] + _ALPHABET[_ALPHABET.index(text[-1]) >> bits << bits]


BCRYPT = Algorithm(
    beginnings=("$2a$", "$2b$", "$2y$", "bcrypt$", "bcrypt_sha256$", "{bcrypt}", "$wp$"),
    read=_read,
    makes=re.compile(r"bcrypt-([0-9]{2})"),
    decoy=_decoy,
)
