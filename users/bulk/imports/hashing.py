"""Hashes the plain passwords of an import by all slots of the hash queue at once, before the transaction of a batch."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from users import clock, settings
from users.auth import hasher
from users.bulk.rows import GoodRow
from users.errors import Overloaded
from users.passwords.hash_queue import Share
from users.passwords.hashing import Hasher

SPARE_THREADS = 2  # whose passwords wait in the queue, so that a slot finds the next one when a hash is done
LONGEST_WAIT_SECONDS = 60.0  # for a place in the queue
PAUSE_SECONDS = 0.2


def seconds_for(passwords: int) -> float:
    """Return how long it will take to hash so many passwords, by the time of one. Raises Overloaded."""
    if not passwords:
        return 0.0
    with hasher.current().place(Share.BULK) as place:
        start = clock.monotonic()
        place.hash("the time of one hash")
        return (clock.monotonic() - start) * passwords / settings.current().hash_slots


class Hashing:
    """Makes hashes in the share of imports. Leave it to end its threads; passwords that still wait are dropped."""

    def __init__(self) -> None:
        threads = settings.current().hash_slots + SPARE_THREADS
        self._hasher = hasher.current()
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="import-hashes")

    def begin(self, rows: Sequence[GoodRow]) -> dict[int, Future[str]]:
        """Return the hashes to come of the rows with a plain password, by the number of the row."""
        plain = ((row.number, row.password) for row in rows if row.password is not None)
        return {number: self._pool.submit(_hash, self._hasher, password, self._ended) for number, password in plain}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._pool.shutdown(cancel_futures=True)


def _hash(its: Hasher, password: str, ended: threading.Event) -> str:
    """Return the hash of a password. Raises Overloaded when the queue has had no place for a minute."""
    until = clock.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        try:
            with its.place(Share.BULK) as place:
                return place.hash(password)
        except Overloaded:
            if clock.monotonic() > until or ended.wait(PAUSE_SECONDS):
                raise
