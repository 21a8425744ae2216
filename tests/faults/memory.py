"""Let the system refuse memory to the hash queue: `.venv/bin/python tests/faults/memory.py`, a minute or two.

Here the interpreter's own allocations fail, one or several in a row, wherever they are. After each run all slots and
all places must be usable. It needs CPython's module `_testcapi`.
"""

import _testcapi  # type: ignore[import-not-found]  # has no types
import argparse
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.injection import insist_that_all_is_usable  # noqa: E402  (the path is set first)
from support.crowd import run  # noqa: E402
from users.passwords import argon2id, hash_queue  # noqa: E402
from users.passwords.hash_queue import HashQueue, Share  # noqa: E402

SLOTS, WAITING = 2, 1
CHEAP = argon2id.HashParameters(memory=8, time=1, lanes=1)


def hash_twice(queue: HashQueue) -> None:
    """Hash in one place, as for a hash of old parameters."""
    with queue.place(Share.TYPED) as place:
        for _ in range(2):
            place.run(partial(argon2id.hash_of, b"correct horse battery", CHEAP))


def fail(queue: HashQueue) -> None:
    """Do work that fails."""
    run(queue, int, "no number")


def main() -> None:
    """Print what came of each scenario; end with an error where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--allocations", type=int, default=400, help="how far into a scenario they fail")
    given = parser.parse_args()
    hash_queue.WAIT_SECONDS = 0.1
    sys.unraisablehook = lambda _: None
    with ThreadPoolExecutor(SLOTS * len(Share)) as callers:
        for scenario in (hash_twice, fail):
            for in_a_row in (1, 3, 20, 200):
                found = Counter(starve(scenario, at, in_a_row, callers) for at in range(given.allocations))
                print(f"{scenario.__name__}, {in_a_row} in a row: {dict(found)}", flush=True)


def starve(scenario: Callable[[HashQueue], None], at: int, in_a_row: int, callers: ThreadPoolExecutor) -> str:
    """Let allocations fail in a scenario, in every second one with a thread that lives already."""
    queue = HashQueue(SLOTS, WAITING)
    if at % 2:
        run(queue, str)
    outcome = "done"
    try:
        _testcapi.set_nomemory(at, at + in_a_row)
        try:
            scenario(queue)
        finally:
            _testcapi.remove_mem_hooks()
    except Exception as error:
        outcome = type(error).__name__
    insist_that_all_is_usable(queue, callers, SLOTS)
    return outcome


if __name__ == "__main__":
    main()
