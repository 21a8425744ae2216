"""PBKDF2 (RFC 8018) as Django, Werkzeug, passlib and ASP.NET Core Identity (version 3) write it.

Keycloak has hashes of two blocks, which are kept in the form of passlib.
"""

import base64
import hashlib
import hmac
import re
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from users.passwords.foreign import base64_texts
from users.passwords.foreign.kept import Algorithm, Readable, damaged, too_costly, weak

_KIND = "PBKDF2"
_SIZES = {"sha1": 20, "sha256": 32, "sha512": 64}
_LEAST = 10_000  # iterations
_MOST = {"sha1": 2_000_000, "sha256": 3_000_000, "sha512": 1_300_000}  # iterations times blocks
_LONGEST_DIGEST = 64

_SALT_TEXT = r"[!-#%-~]{1,128}"  # as it is hashed: printable, without "$"
_COUNT = r"([1-9][0-9]{0,9})"
_DJANGO = re.compile(rf"pbkdf2_(sha1|sha256)\${_COUNT}\$({_SALT_TEXT})\$([A-Za-z0-9+/]+)=")
_WERKZEUG = re.compile(rf"pbkdf2:(sha1|sha256|sha512):{_COUNT}\$({_SALT_TEXT})\$((?:[0-9a-f]{{2}})+)")
_PASSLIB = re.compile(rf"\$pbkdf2(?:-(sha256|sha512))?\${_COUNT}\$([A-Za-z0-9./]{{2,128}})\$([A-Za-z0-9./]+)")
_ASPNET_HEADER = struct.Struct(">BIII")  # version, hash, iterations, bytes of the salt
_ASPNET_HASHES = ("sha1", "sha256", "sha512")
_ASPNET_LEAST = 16  # bytes of the salt and of the digest: as ASP.NET itself asks for


@dataclass(frozen=True, slots=True)
class _Pbkdf2:
    hash_name: str
    iterations: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def blocks(self) -> int:
        return -(-len(self.digest) // _SIZES[self.hash_name])

    @property
    def make(self) -> str:
        blocks = f"x{self.blocks}" if self.blocks > 1 else ""
        return f"pbkdf2-{self.hash_name}-{self.iterations}{blocks}"

    def is_hash_of(self, password: bytes) -> bool:
        made = hashlib.pbkdf2_hmac(self.hash_name, password, self.salt, self.iterations, len(self.digest))
        return hmac.compare_digest(made, self.digest)


def _read(text: str) -> Readable:
    reader = _READERS.get(text[:7], _aspnet)
    found = reader(text)
    if found is None:
        raise damaged(_KIND, "a part of it is missing, or has a character that does not belong there")
    _require_good(found)
    return found


def _decoy(hash_name: str, iterations: str, blocks: str | None) -> str:
    size = min(_SIZES[hash_name] * int(blocks[1:] if blocks else 1), _LONGEST_DIGEST)
    # ASP.NET's form can say each number of blocks.
    header = _ASPNET_HEADER.pack(1, _ASPNET_HASHES.index(hash_name), int(iterations), _ASPNET_LEAST)
    return base64.b64encode(header + secrets.token_bytes(_ASPNET_LEAST + size)).decode("ascii")


def _django(text: str) -> _Pbkdf2 | None:
    whole = _DJANGO.fullmatch(text)
    digest = base64_texts.decode(whole[4]) if whole else None
    if whole is None or digest is None:
        return None
    _require_size(digest, _SIZES[whole[1]])
    return _Pbkdf2(whole[1], int(whole[2]), whole[3].encode(), digest)


def _werkzeug(text: str) -> _Pbkdf2 | None:
    whole = _WERKZEUG.fullmatch(text)
    if whole is None:
        return None
    digest = bytes.fromhex(whole[4])
    _require_size(digest, _SIZES[whole[1]])
    return _Pbkdf2(whole[1], int(whole[2]), whole[3].encode(), digest)


def _passlib(text: str) -> _Pbkdf2 | None:
    whole = _PASSLIB.fullmatch(text)
    if whole is None:
        return None
    hash_name = whole[1] or "sha1"
    salt, digest = (base64_texts.decode(part.replace(".", "+")) for part in whole.group(3, 4))
    if salt is None or digest is None:
        return None
    if len(digest) != _LONGEST_DIGEST:  # as many as Keycloak makes of every hash
        _require_size(digest, _SIZES[hash_name])
    return _Pbkdf2(hash_name, int(whole[2]), salt, digest)


def _aspnet(text: str) -> _Pbkdf2 | None:
    raw = base64_texts.decode(text.removesuffix("=").removesuffix("="))
    if raw is None or len(raw) < _ASPNET_HEADER.size:
        return None
    _version, hash_number, iterations, salt_size = _ASPNET_HEADER.unpack_from(raw)
    rest = raw[_ASPNET_HEADER.size :]
    salt, digest = rest[:salt_size], rest[salt_size:]
    if hash_number >= len(_ASPNET_HASHES) or not iterations:
        return None
    if len(salt) not in range(_ASPNET_LEAST, 65) or len(digest) not in range(_ASPNET_LEAST, _LONGEST_DIGEST + 1):
        return None
    return _Pbkdf2(_ASPNET_HASHES[hash_number], iterations, salt, digest)


# By the first seven characters.
_READERS: dict[str, Callable[[str], _Pbkdf2 | None]] = {
    "pbkdf2_": _django,
    "pbkdf2:": _werkzeug,
    "$pbkdf2": _passlib,
}


def _require_size(digest: bytes, size: int) -> None:
    if len(digest) != size:
        raise damaged(_KIND, f"a digest of {len(digest)} bytes instead of {size}")


def _require_good(found: _Pbkdf2) -> None:
    kind = f"{_KIND} of {found.iterations:,} iterations"
    if found.iterations < _LEAST:
        raise weak(kind)
    most = _MOST[found.hash_name] // found.blocks
    if found.iterations > most:
        raise too_costly(f"{kind} of {found.hash_name}", f"{most:,}")


PBKDF2 = Algorithm(
    beginnings=(
        "pbkdf2_sha1$",
        "pbkdf2_sha256$",
        "pbkdf2:sha1:",
        "pbkdf2:sha256:",
        "pbkdf2:sha512:",
        "$pbkdf2$",
        "$pbkdf2-sha256$",
        "$pbkdf2-sha512$",
        "AQAAAA",  # ASP.NET: base64 of the byte 1, the version, and of the first bits of a small number
    ),
    read=_read,
    makes=re.compile(r"pbkdf2-(sha1|sha256|sha512)-([0-9]+)(x[2-4])?"),
    decoy=_decoy,
)
