"""The collection of garbage while many rows pass: Python's own settings spend a quarter of a dry run on it."""

import contextlib
import gc
from collections.abc import Iterator

_NEW = 50_000  # objects between two collections, a few MB; Python's 700 are fewer than 100 rows


@contextlib.contextmanager
def collected_rarely() -> Iterator[None]:
    """Look for garbage after many new objects only. A row leaves none behind that a reference count does not free."""
    before = gc.get_threshold()
    gc.set_threshold(_NEW, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
