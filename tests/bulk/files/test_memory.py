"""No file takes memory by its size: the short form of tests/faults/big_files.py."""

import tracemalloc

import pytest

from faults.big_files import FILES, read

MOST = 4 * 1024 * 1024
LONG_ONES = ("one ", "a header of", "NUL", "brackets")  # that cost little for each byte


@pytest.mark.parametrize("name", FILES)
def test_memory_is_bounded(name: str) -> None:
    tracemalloc.start()
    try:
        read(name, 8_000_000 if name.startswith(LONG_ONES) else 200_000, 5_000)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
