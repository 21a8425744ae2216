"""Time the costliest hashes of other systems that are kept: each must be checked in a second, and in 128 MiB.

`nice .venv/bin/python tests/bench/foreign_hashes.py`, on a machine with nothing else to do.
"""

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.foreign_hashes import AT_THE_EDGE  # noqa: E402
from users.passwords import foreign  # noqa: E402

ROUNDS = 3
LONGEST = 1.0


def main() -> None:
    """Print the best of three times of each, and end with 1 if one takes longer than a second."""
    slowest = 0.0
    print("| make | seconds |\n|---|---|")
    for text, make in AT_THE_EDGE:
        taken = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            foreign.matches(text, "correct horse battery")
            taken.append(time.perf_counter() - start)
        slowest = max(slowest, min(taken))
        print(f"| {make} | {min(taken):.2f} |", flush=True)
    sys.exit(slowest > LONGEST)


if __name__ == "__main__":
    main()
