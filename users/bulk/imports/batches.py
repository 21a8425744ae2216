"""The batches of an import: as many rows as one transaction inserts without holding other writers up."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from users.bulk.files.layout import Place
from users.bulk.files.reading import ReadRow
from users.bulk.imports.examination import Judged
from users.bulk.imports.hashing import Hashing
from users.bulk.insertion import Result
from users.bulk.rows import BadRow, GoodRow

LOCK_SECONDS = 0.04  # of SQLite's one write lock; 1,000 rows at once made a live create wait 329 ms at its p99
FEWEST, FIRST, MOST = 50, 250, 2000  # rows on SQLite
ON_POSTGRES = 1000
PLAIN_OF_A_SLOT = 16  # plain passwords: a batch then ends in seconds, also where a hash takes half a second
MOST_READ = 10_000  # rows of a batch, good or not: a file of bad rows has checkpoints too


@dataclass(frozen=True)
class Batch:
    """Rows that follow one another in the file, and where the next row begins."""

    rows: list[ReadRow] = field(default_factory=list, repr=False)
    good: list[GoodRow] = field(default_factory=list, repr=False)
    bad: dict[int, BadRow] = field(default_factory=dict)
    known: dict[int, Result] = field(default_factory=dict)  # the fate of good rows that the database knows already
    hashes: dict[int, Future[str]] = field(default_factory=dict, repr=False)

    @property
    def end(self) -> Place:
        """Return where the next row begins."""
        return self.rows[-1].end


class Size:
    """How many rows a transaction should have: what it does in LOCK_SECONDS, at least `fewest`; or always `first`."""

    def __init__(self, first: int, *, fewest: int, learns: bool = True) -> None:
        self._fewest, self._learns = fewest, learns
        self.rows = first

    def learn(self, rows: int, seconds: float) -> None:
        """Take into account that so many rows held the lock for so long."""
        if self._learns and rows and seconds:
            fitting = int(rows * LOCK_SECONDS / seconds)
            self.rows = max(self._fewest, min(MOST, fitting, 2 * self.rows))


def size_of_batches(*, on_sqlite: bool) -> Size:
    """Return how many good rows a batch should have."""
    return Size(FIRST, fewest=FEWEST) if on_sqlite else Size(ON_POSTGRES, fewest=ON_POSTGRES, learns=False)


def batches(
    rows: Iterable[Judged],
    size: Size,
    hashing: Hashing,
    look_up: Callable[[Sequence[GoodRow]], Mapping[int, Result]],
    *,
    slots: int,
) -> Iterator[Batch]:
    """Yield batches. The hashes of the next one have begun then: no slot is idle while the database works.

    Rows with a plain password are looked up first: to hash those that are known takes as long as the first time.
    """
    before = None
    for batch in _cut(rows, size, slots * PLAIN_OF_A_SLOT):
        if plain := [row for row in batch.good if row.password is not None]:
            batch.known.update(look_up(plain))
            batch.good[:] = [row for row in batch.good if row.number not in batch.known]
            batch.hashes.update(hashing.begin(batch.good))
        if before:
            yield before
        before = batch
    if before:
        yield before


def _cut(rows: Iterable[Judged], size: Size, most_plain: int) -> Iterator[Batch]:
    batch, plain, taken = Batch(), 0, set[str]()
    for row, found in rows:
        if isinstance(found, GoodRow) and not taken.isdisjoint(found.keys):
            yield batch  # the rules were others at the check: the database tells the next batch that the email is taken
            batch, plain, taken = Batch(), 0, set()
        batch.rows.append(row)
        if isinstance(found, BadRow):
            batch.bad[found.number] = found
        else:
            batch.good.append(found)
            taken.update(found.keys)
            plain += found.password is not None
        if len(batch.good) >= size.rows or plain >= most_plain or len(batch.rows) >= MOST_READ:
            yield batch
            batch, plain, taken = Batch(), 0, set()
    if batch.rows:
        yield batch
