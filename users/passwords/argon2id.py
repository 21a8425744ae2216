"""argon2id (RFC 9106), computed in memory that its thread keeps from one hash to the next.

argon2-cffi asks the system for the memory of each hash and gives it back. For 64 MiB that means 16,384 pages which the
kernel clears first, a third of the whole time. This is argon2-cffi's own code on memory of ours: each thread that
hashes keeps what its last hash needed, in huge pages where Linux has them. The C structure it is called with is that
of the pinned version; the tests hold every hash against argon2-cffi's own.
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
HUGE_PAGE = 2 * 1024 * 1024

MOST_MEMORY = 4 * 1024 * 1024  # KiB: more for one hash is a slip of the finger
_MEMORY_FAILED, _THREAD_FAILED = -22, -33  # ARGON2_MEMORY_ALLOCATION_ERROR, ARGON2_THREAD_FAIL

_PARAMETERS = re.compile(r"m=([0-9]{1,8}),t=([0-9]{1,4}),p=([0-9]{1,3})")
_ENCODED = re.compile(r"\$argon2id\$v=19\$([mtp0-9=,]+)\$([A-Za-z0-9+/]{11,})\$([A-Za-z0-9+/]{6,})")


@dataclass(frozen=True)
class HashParameters:
    """The cost of argon2id: `memory` in KiB, `time` in passes, `lanes` computed side by side."""

    memory: int = 65536
    time: int = 3
    lanes: int = 4

    @classmethod
    def read(cls, text: str) -> "HashParameters":
        """Return the parameters in `text`, which is what `str` makes of them.

        Raises ValueError if they are none, or none that argon2 computes (RFC 9106, section 3.1) in MOST_MEMORY.
        """
        found = _PARAMETERS.fullmatch(text)
        if found:
            memory, time, lanes = map(int, found.groups())
            if time >= 1 and 1 <= lanes <= 255 and 8 * lanes <= memory <= MOST_MEMORY:
                return cls(memory, time, lanes)
        raise ValueError("not parameters of argon2id")

    def __str__(self) -> str:
        return f"m={self.memory},t={self.time},p={self.lanes}"

    def below_floor(self) -> bool:
        """Tell whether this is weaker than every configuration of OWASP's Password Storage Cheat Sheet."""
        floor = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))
        return not any(self.memory >= memory and self.time >= time for memory, time in floor)


class _Kept(threading.local):
    """The memory of one thread, which argon2 leaves cleared (its default, `FLAG_clear_internal_memory`)."""

    block: mmap.mmap | None = None
    start: Any = None
    size = 0

    def hold(self, size: int) -> None:
        """Keep `size` bytes from now on. Raises MemoryError."""
        if size == self.size:
            return
        self.drop()
        try:  # private: of shared memory Linux makes no huge pages unless it was told to
            block = mmap.mmap(-1, size + HUGE_PAGE, access=mmap.ACCESS_COPY)
        except OSError:
            raise MemoryError from None
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a kernel built without
                block.madvise(mmap.MADV_HUGEPAGE)
        address = int(ffi.cast("uintptr_t", ffi.from_buffer(block)))
        self.start = ffi.cast("uint8_t *", -(-address // HUGE_PAGE) * HUGE_PAGE)
        self.block, self.size = block, size

    def drop(self) -> None:
        """Give the memory back to the system."""
        self.block, self.start, self.size = None, None, 0


_kept = _Kept()


def _lend(memory: Any, size: int) -> int:
    memory[0] = _kept.start if size <= _kept.size else ffi.NULL
    return 0


def _take_back(_memory: Any, _size: int) -> None:
    pass


try:
    _ALLOCATE = ffi.callback("int(uint8_t **, size_t)", _lend)
    _FREE = ffi.callback("void(uint8_t *, size_t)", _take_back)
except MemoryError:  # a hardened system lets no code be made at run time: argon2 asks it for memory, as ever
    _ALLOCATE = _FREE = ffi.NULL


def hash_of(password: bytes, parameters: HashParameters) -> str:
    """Return the encoded hash of `password`, under a new salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    return encoded(parameters, salt, _derive(password, salt, parameters, DIGEST_BYTES))


def is_hash_of(known: str, password: bytes) -> bool:
    """Tell whether `known`, an encoded hash made here or elsewhere, is one of `password`.

    Raises ValueError if it is no such hash.
    """
    found = _ENCODED.fullmatch(known)
    if not found:
        raise ValueError("not an encoded hash of argon2id")
    parameters = HashParameters.read(found[1])
    salt, digest = (base64.b64decode(part + "=" * (-len(part) % 4)) for part in found.groups()[1:])
    return hmac.compare_digest(_derive(password, salt, parameters, len(digest)), digest)


def encoded(parameters: HashParameters, salt: bytes, digest: bytes) -> str:
    """Return a hash in the PHC string format, as argon2 itself writes it."""
    return f"{beginning(parameters)}{_base64(salt)}${_base64(digest)}"


def beginning(parameters: HashParameters) -> str:
    """Return what every encoded hash of these parameters begins with."""
    return f"$argon2id$v={ARGON2_VERSION}${parameters}$"


def _derive(password: bytes, salt: bytes, parameters: HashParameters, size: int) -> bytes:
    """Return `size` bytes: what argon2id makes of `password` and `salt`.

    Raises MemoryError if the system has no memory or no threads for it.
    """
    _kept.hold(parameters.memory * 1024)
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
        _kept.drop()  # it may not be cleared
        raise MemoryError if code in (_MEMORY_FAILED, _THREAD_FAILED) else HashingError(error_to_str(code))
    return bytes(ffi.buffer(digest))


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode("ascii")
