"""Sets of living objects, for the places and the slots of the hash queue."""

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any


class BoundedWeakSet:
    """Objects, each while it lives, so an error cannot leave one behind. Only `limit` of them are admitted."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._living: list[weakref.ref[object]] = []

    def __len__(self) -> int:
        return len(self._living)

    def is_full(self) -> bool:
        """Tell whether the limit is reached."""
        return len(self) >= self._limit

    def add(self, one: object) -> bool:
        """Add an object and tell whether it is admitted. Of several threads that add at once, the first ones win."""
        reference = weakref.ref(one, self._living.remove)
        self._living.append(reference)
        return self._living.index(reference) < self._limit

    def remove(self, one: object) -> None:
        """Remove an object before its life ends."""
        with contextlib.suppress(ValueError):
            self._living.remove(weakref.ref(one))

    def __iter__(self) -> Iterator[Any]:
        return filter(None, [reference() for reference in tuple(self._living)])
