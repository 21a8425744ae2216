"""argon2id (RFC 9106), computed in memory that each thread keeps from one hash to the next.

argon2-cffi allocates the memory of each hash and frees it again. For 64 MiB the kernel must clear 16,384 pages each
time, which is a third of the whole time. This module calls argon2-cffi's own C code with memory of its own: each
hashing thread keeps the memory of its last hash, in huge pages where Linux has them. The C structure of the call is
that of the pinned version of argon2-cffi; the tests compare the hashes with argon2-cffi's.
"""

import base64
import contextlib
import hmac
import mmap
import re
import secrets
import threading
from dataclasses import dataclass
from typing import Any

from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi

SALT_BYTES = 16  # RFC 9106, section 3.1: "sufficient for most applications"
DIGEST_BYTES = 32
ARGON2ID = "$argon2id$"  # how each hash begins
HUGE_PAGE = 2 * 1024 * 1024

MAX_MEMORY = 4 * 1024 * 1024  # KiB: more for one hash is a typing error
_MEMORY_FAILED, _THREAD_FAILED = -22, -33  # ARGON2_MEMORY_ALLOCATION_ERROR, ARGON2_THREAD_FAIL

_PARAMETERS = re.compile(r"m=([0-9]{1,8}),t=([0-9]{1,4}),p=([0-9]{1,3})")
_ENCODED = re.compile(r"\$argon2id\$v=19\$([mtp0-9=,]+)\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{6,})")


@dataclass(frozen=True)
class HashParameters:
    """The cost of argon2id: `memory` in KiB, `time` in passes, `lanes` computed in parallel."""

    memory: int = 65536
    time: int = 3
    lanes: int = 4

    @classmethod
    def read(cls, text: str) -> "HashParameters":
        """Return the parameters in `text`, which has the form that `str` returns: `m=65536,t=3,p=4`.

        Raises ValueError if argon2 cannot compute with them (RFC 9106, section 3.1), or not in MAX_MEMORY.
        """
        found = _PARAMETERS.fullmatch(text)
        if found:
            memory, time, lanes = map(int, found.groups())
            if time >= 1 and 1 <= lanes <= 255 and 8 * lanes <= memory <= MAX_MEMORY:
                return cls(memory, time, lanes)
        raise ValueError("not parameters of argon2id")

    def __str__(self) -> str:
        return f"m={self.memory},t={self.time},p={self.lanes}"

    def below_floor(self) -> bool:
        """Tell whether this is weaker than all configurations in OWASP's Password Storage Cheat Sheet."""
        floor = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))
        return not any(self.memory >= memory and self.time >= time for memory, time in floor)


class _ThreadMemory(threading.local):
    """The memory that one thread keeps. argon2 clears it after each hash (its default, FLAG_clear_internal_memory)."""

    block: mmap.mmap | None = None
    start: Any = None
    size = 0

    def allocate(self, size: int) -> None:
        """Keep `size` bytes from now on. Raises MemoryError."""
        if size == self.size:
            return
        self.free()
        try:  # a private mapping: Linux gives shared memory no huge pages by default
            block = mmap.mmap(-1, size + HUGE_PAGE, access=mmap.ACCESS_COPY)
        except OSError:
            raise MemoryError from None
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a kernel without huge pages
                block.madvise(mmap.MADV_HUGEPAGE)
        pointer = int(ffi.cast("uintptr_t", ffi.from_buffer(block)))
        self.start = ffi.cast("uint8_t *", -(-pointer // HUGE_PAGE) * HUGE_PAGE)  # rounded up to a huge page
        self.block, self.size = block, size

    def free(self) -> None:
        """Give the memory back to the system."""
        self.block, self.start, self.size = None, None, 0


_kept = _ThreadMemory()


def _allocate(memory: Any, size: int) -> int:
    """Give argon2 the kept memory, or none if it asks for more."""
    memory[0] = _kept.start if size <= _kept.size else ffi.NULL
    return 0


def _free(_memory: Any, _size: int) -> None:
    """Keep the memory for the next hash."""


try:
    _ALLOCATE = ffi.callback("int(uint8_t **, size_t)", _allocate)
    _FREE = ffi.callback("void(uint8_t *, size_t)", _free)
except MemoryError:  # a hardened system forbids code made at run time: argon2 then allocates for itself
    _ALLOCATE = _FREE = ffi.NULL


def hash_of(password: bytes, parameters: HashParameters) -> str:
    """Return the encoded hash of `password` with a new salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    return encoded(parameters, salt, _derive(password, salt, parameters, DIGEST_BYTES))


def is_hash_of(known: str, password: bytes) -> bool:
    """Tell whether `known`, an encoded argon2id hash made here or elsewhere, matches `password`.

    Raises ValueError if `known` is no such hash.
    """
    found = _ENCODED.fullmatch(known)
    if not found:
        raise ValueError("not an encoded hash of argon2id")
    parameters = HashParameters.read(found[1])
    salt, digest = (base64.b64decode(part + "=" * (-len(part) % 4)) for part in found.groups()[1:])
    return hmac.compare_digest(_derive(password, salt, parameters, len(digest)), digest)


def encoded(parameters: HashParameters, salt: bytes, digest: bytes) -> str:
    """Return the hash in the PHC string format, as argon2 writes it."""
    return f"{beginning(parameters)}{_base64(salt)}${_base64(digest)}"


def beginning(parameters: HashParameters) -> str:
    """Return the beginning of all encoded hashes with these parameters."""
    return f"$argon2id$v={ARGON2_VERSION}${parameters}$"


def _derive(password: bytes, salt: bytes, parameters: HashParameters, size: int) -> bytes:
    """Return the argon2id digest of `password` and `salt`, `size` bytes long.

    Raises MemoryError if the system has no memory or threads for it.
    """
    _kept.allocate(parameters.memory * 1024)
    given, salted, digest = ffi.from_buffer(password), ffi.from_buffer(salt), ffi.new("uint8_t[]", size)
    context = {
        "version": ARGON2_VERSION,
        "out": digest,
        "outlen": size,
        "pwd": ffi.cast("uint8_t *", given),
        "pwdlen": len(password),
        "salt": ffi.cast("uint8_t *", salted),
        "saltlen": len(salt),
        "t_cost": parameters.time,
        "m_cost": parameters.memory,
        "lanes": parameters.lanes,
        "threads": parameters.lanes,
        "allocate_cbk": _ALLOCATE,
        "free_cbk": _FREE,
    }
    code = core(ffi.new("argon2_context *", context), Type.ID.value)
    if code:
        _kept.free()  # argon2 may not have cleared it
        raise MemoryError if code in (_MEMORY_FAILED, _THREAD_FAILED) else HashingError(error_to_str(code))
    return bytes(ffi.buffer(digest))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode("ascii")
