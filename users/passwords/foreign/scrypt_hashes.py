"""scrypt (RFC 7914) as Werkzeug, Django and passlib write it."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from users.passwords.foreign import base64_texts
from users.passwords.foreign.kept import Algorithm, Readable, damaged, too_costly, weak

_KIND = "scrypt"
_LEAST_N = 4_096
_MOST_BYTES, _MOST_WORK = 128 * 1024 * 1024, 7 * 2**18  # of N times r times p

_SALT_TEXT = r"([!-#%-~]{1,128})"  # as it is hashed: printable, without "$"
_NUMBER = r"([1-9][0-9]{0,9})"
_WERKZEUG = re.compile(rf"scrypt:{_NUMBER}:{_NUMBER}:{_NUMBER}\${_SALT_TEXT}\$([0-9a-f]{{128}})")
_DJANGO = re.compile(rf"scrypt\${_NUMBER}\${_SALT_TEXT}\${_NUMBER}\${_NUMBER}\$([A-Za-z0-9+/]{{86}})==")
_PASSLIB = re.compile(
    rf"\$scrypt\$ln=([1-9][0-9]?),r={_NUMBER},p={_NUMBER}\$([A-Za-z0-9+/]{{2,128}})\$([A-Za-z0-9+/]{{43}})"
)


@dataclass(frozen=True, slots=True)
class _Scrypt:
    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def make(self) -> str:
        return f"scrypt-{self.n}-{self.r}-{self.p}"

    def is_hash_of(self, password: bytes) -> bool:
        memory = 128 * self.r * (self.n + self.p + 4)  # what OpenSSL counts; by default it refuses more than 32 MiB
        costs = {"n": self.n, "r": self.r, "p": self.p}
        try:
            made = hashlib.scrypt(password, salt=self.salt, **costs, maxmem=memory, dklen=len(self.digest))
        except ValueError:  # the parameters are good: the system has no memory
            raise MemoryError from None
        return hmac.compare_digest(made, self.digest)


def _read(text: str) -> Readable:
    found = _werkzeug(text) or _django(text) or _passlib(text)
    if found is None:
        raise damaged(_KIND, "a part of it is missing, or has a character that does not belong there")
    _require_good(found)
    return found


def _decoy(n: str, r: str, p: str) -> str:
    return f"$scrypt$ln={int(n).bit_length() - 1},r={r},p={p}${base64_texts.random(16)}${base64_texts.random(32)}"


def _werkzeug(text: str) -> _Scrypt | None:
    whole = _WERKZEUG.fullmatch(text)
    if whole is None:
        return None
    return _Scrypt(int(whole[1]), int(whole[2]), int(whole[3]), whole[4].encode(), bytes.fromhex(whole[5]))


def _django(text: str) -> _Scrypt | None:
    whole = _DJANGO.fullmatch(text)
    digest = base64_texts.decode(whole[5]) if whole else None
    if whole is None or digest is None:
        return None
    return _Scrypt(int(whole[1]), int(whole[3]), int(whole[4]), whole[2].encode(), digest)


def _passlib(text: str) -> _Scrypt | None:
    whole = _PASSLIB.fullmatch(text)
    salt, digest = map(base64_texts.decode, whole.group(4, 5)) if whole else (None, None)
    if whole is None or salt is None or digest is None:
        return None
    return _Scrypt(2 ** int(whole[1]), int(whole[2]), int(whole[3]), salt, digest)


def _require_good(found: _Scrypt) -> None:
    if found.n & (found.n - 1) or found.n < 2:
        raise damaged(_KIND, "its N is no power of 2")
    if found.r == 1 and found.n >= 2**16:  # RFC 7914, section 2: no library computes it
        raise damaged(_KIND, "its N is too large for its r")
    kind = f"{_KIND} of N={found.n},r={found.r},p={found.p}"
    if 128 * found.n * found.r > _MOST_BYTES or found.n * found.r * found.p > _MOST_WORK:
        raise too_costly(kind, f"128 MiB, and N times r times p={_MOST_WORK:,}")
    if found.n < _LEAST_N:
        raise weak(kind)


SCRYPT = Algorithm(
    beginnings=("scrypt:", "scrypt$", "$scrypt$"),
    read=_read,
    makes=re.compile(r"scrypt-([0-9]+)-([0-9]+)-([0-9]+)"),
    decoy=_decoy,
)
