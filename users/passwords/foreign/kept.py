"""What every kind of hash shares: the answers of a judgement, and a hash that was read."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from users.field_errors import RowCode


class NotKept(Exception):
    """A text that is not kept as a password hash. `message` is for people and never contains the text."""

    def __init__(self, code: RowCode, message: str) -> None:
        super().__init__(code)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class ForeignHash:
    """A hash to keep: its `text` as it was given, and its `make`, which names the algorithm and the cost."""

    make: str
    text: str = field(repr=False)


class Readable(Protocol):
    """A hash that was read from a text."""

    @property
    def make(self) -> str:
        """Return the algorithm and the cost: hashes of one make take the same time."""

    def is_hash_of(self, password: bytes) -> bool:
        """Tell whether this is the hash of `password`. Raises MemoryError if the system has no memory for it."""


@dataclass(frozen=True)
class Algorithm:
    """An algorithm: how its hashes begin, and how they are read."""

    beginnings: tuple[str, ...]
    read: Callable[[str], Readable]  # a text with one of the beginnings; raises NotKept
    makes: re.Pattern[str]
    decoy: Callable[..., str]  # takes the groups of `makes`, and returns a hash of no password of that make


def damaged(kind: str, fault: str) -> NotKept:
    """Return the refusal of a text that is not whole."""
    return NotKept(RowCode.PASSWORD_HASH_INVALID, f"This {kind} hash is damaged: {fault}")


def too_costly(kind: str, most: str) -> NotKept:
    """Return the refusal of a hash that would hold up sign-ins."""
    return NotKept(RowCode.PASSWORD_HASH_TOO_COSTLY, f"{kind} would take too long to check. The most is {most}")


def weak(kind: str) -> NotKept:
    """Return the refusal of a hash whose passwords are found by trying."""
    return NotKept(
        RowCode.PASSWORD_HASH_WEAK,
        f"{kind} is too weak to keep. Import these rows without a password and hand out password links",
    )
