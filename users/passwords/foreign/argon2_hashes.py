"""argon2 (RFC 9106) in the PHC string format, also with the prefix of Django: `argon2$argon2id$v=19$m=…`."""

import hmac
import re
from dataclasses import dataclass, field

from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, hash_secret_raw

from users.passwords.foreign import base64_texts
from users.passwords.foreign.kept import Algorithm, Readable, damaged, too_costly, weak

_TYPES = {"id": Type.ID, "i": Type.I, "d": Type.D}
_MOST_MEMORY, _MOST_LANES = 131_072, 16  # KiB: 128 MiB
_LEAST_WORK, _MOST_WORK = 4_096, 700_000  # KiB, times passes
_MOST_THREADS = 512  # passes, times lanes: each starts four threads, and 100,000 of them took 27 seconds
_SALT, _DIGEST = range(8, 65), range(16, 65)  # bytes
_WHOLE = re.compile(
    r"(?:argon2)?\$argon2(id|i|d)\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,7})"
    r"\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)


@dataclass(frozen=True, slots=True)
class _Argon2:
    type: str
    memory: int
    time: int
    lanes: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def make(self) -> str:
        return f"argon2{self.type}-{self.memory}-{self.time}-{self.lanes}"

    def is_hash_of(self, password: bytes) -> bool:
        costs = (self.time, self.memory, self.lanes)
        try:
            made = hash_secret_raw(password, self.salt, *costs, len(self.digest), _TYPES[self.type], ARGON2_VERSION)
        except HashingError:  # the parameters are good: the system has no memory or no thread
            raise MemoryError from None
        return hmac.compare_digest(made, self.digest)


def _read(text: str) -> Readable:
    whole = _WHOLE.fullmatch(text)
    if not whole:
        raise damaged("argon2", "it is not $argon2id$v=19$m=…,t=…,p=…$salt$digest, or with argon2i or argon2d")
    salt, digest = map(base64_texts.decode, whole.group(5, 6))
    if salt is None or digest is None or len(salt) not in _SALT or len(digest) not in _DIGEST:
        raise damaged("argon2", "its salt or its digest is too short or too long")
    found = _Argon2(whole[1], int(whole[2]), int(whole[3]), int(whole[4]), salt, digest)
    _require_good(found)
    return found


def _decoy(type_: str, memory: str, time: str, lanes: str) -> str:
    ends = f"{base64_texts.random(16)}${base64_texts.random(32)}"
    return f"$argon2{type_}$v=19$m={memory},t={time},p={lanes}${ends}"


def _require_good(found: _Argon2) -> None:
    kind, work = f"argon2 of m={found.memory},t={found.time},p={found.lanes}", found.memory * found.time
    threads = found.time * found.lanes
    if found.memory > _MOST_MEMORY or work > _MOST_WORK or found.lanes > _MOST_LANES or threads > _MOST_THREADS:
        most = f"m={_MOST_MEMORY}, m times t={_MOST_WORK}, p={_MOST_LANES}, t times p={_MOST_THREADS}"
        raise too_costly(kind, most)
    if found.memory < 8 * found.lanes:  # RFC 9106, section 3.1
        raise damaged("argon2", "its memory is less than 8 times its lanes")
    if work < _LEAST_WORK:
        raise weak(kind)


ARGON2 = Algorithm(
    beginnings=("$argon2", "argon2$"),
    read=_read,
    makes=re.compile(r"argon2(id|i|d)-([0-9]+)-([0-9]+)-([0-9]+)"),
    decoy=_decoy,
)
