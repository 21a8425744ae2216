"""Rows of one file with the same email, or the same id: the first that is good by its own rules keeps it.

The rows are only remembered by a hash of 64 bits, 20 MB for a million of them. That two different emails have the same
one happens once in 40 million files of a million rows.
"""

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import BinaryIO

from users.bulk.rows import GoodRow
from users.field_errors import FieldError, RowCode

_NUMBERS = "I"  # a row of 32 bits
_SIZE = 8  # of a count in the file


@dataclass(frozen=True)
class _Pairs:
    """The rows that come later, in their order, and for each the first row with the same value."""

    later: "array[int]" = field(default_factory=lambda: array(_NUMBERS))
    first: "array[int]" = field(default_factory=lambda: array(_NUMBERS))

    def add(self, later: int, first: int) -> None:
        self.later.append(later)
        self.first.append(first)

    def find(self, number: int) -> int | None:
        at = bisect_left(self.later, number)
        return self.first[at] if at < len(self.later) and self.later[at] == number else None


@dataclass(frozen=True)
class Duplicates:
    """What `Seen` has found. It can be kept in a file of this machine."""

    emails: _Pairs = field(default_factory=_Pairs)
    ids: _Pairs = field(default_factory=_Pairs)

    def first(self, number: int) -> int | None:
        """Return the row that has the email of this row first, None if this row is the first."""
        return self.emails.find(number)

    def errors(self, number: int) -> tuple[FieldError, ...]:
        """Return the errors of this good row: another row has its email or its id first."""
        email, user_id = self.first(number), self.ids.find(number)
        found = []
        if email is not None:
            words = f"The same email address stands in row {email:,}"
            found.append(FieldError("email", RowCode.DUPLICATE_IN_FILE, words))
        if user_id is not None:
            words = f"The same id stands in row {user_id:,}"
            found.append(FieldError("id", RowCode.ID_ALREADY_EXISTS, words))
        return tuple(found)

    def write(self, file: BinaryIO) -> None:
        """Write what `read` reads. Raises OSError."""
        for pairs in (self.emails, self.ids):
            file.write(len(pairs.later).to_bytes(_SIZE, "big"))
            file.write(pairs.later.tobytes())
            file.write(pairs.first.tobytes())

    @classmethod
    def read(cls, file: BinaryIO) -> "Duplicates":
        """Return the duplicates that `write` wrote. Raises OSError, and EOFError for a file that ends too early."""
        return cls(_read(file), _read(file))


def _read(file: BinaryIO) -> _Pairs:
    size, pairs = file.read(_SIZE), _Pairs()
    if len(size) != _SIZE:
        raise EOFError
    count = int.from_bytes(size, "big")
    for numbers in (pairs.later, pairs.first):
        given = file.read(count * numbers.itemsize)
        if len(given) != count * numbers.itemsize:
            raise EOFError
        numbers.frombytes(given)
    return pairs


class Seen:
    """The good rows of a file so far. Add them in their order, each once."""

    def __init__(self) -> None:
        self._emails = _Firsts()
        self._ids = _Firsts()
        self._found = Duplicates()

    def add(self, good: GoodRow) -> None:
        """Note the email and the id of a good row."""
        first = self._emails.add(hash(good.email.key), good.number)
        if first is not None:
            self._found.emails.add(good.number, first)
        if good.id is not None:
            first = self._ids.add(hash(good.id), good.number)
            if first is not None:
                self._found.ids.add(good.number, first)

    def first_of(self) -> Duplicates:
        """Return the duplicates found so far."""
        return self._found


class _Firsts:
    """A hash table of 20 bytes a row, in which each value keeps the number of the first row that has it.

    A dictionary would take 130. Python's own hash of a text has 64 bits with a key of this process.
    """

    def __init__(self) -> None:
        self._hashes = array("q")
        self._numbers = array(_NUMBERS)
        self._make_table(1 << 10)

    def add(self, hashed: int, number: int) -> int | None:
        """Return the number of the first row with this hash; None if it is this one."""
        slot = hashed & self._mask
        while at := self._table[slot]:  # a place in the two lists, counted from 1
            if self._hashes[at - 1] == hashed:
                return self._numbers[at - 1]
            slot = slot + 1 & self._mask
        self._hashes.append(hashed)
        self._numbers.append(number)
        self._table[slot] = len(self._hashes)
        if 3 * len(self._hashes) > 2 * len(self._table):
            self._make_table(2 * len(self._table))
        return None

    def _make_table(self, size: int) -> None:
        self._table = array(_NUMBERS, bytes(size * 4))
        self._mask = mask = size - 1
        table = self._table
        for at, hashed in enumerate(self._hashes, start=1):
            slot = hashed & mask
            while table[slot]:
                slot = slot + 1 & mask
            table[slot] = at
