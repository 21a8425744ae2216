"""Time hashes of other systems that are kept: each must be checked in about a second, and in 128 MiB.

`nice .venv/bin/python tests/bench/foreign_hashes.py` times the costliest and those in use. The time is that of the
process, also in seconds of a usual machine, which adds ten million numbers in Python in 0.45 s. A password that is not
in its normal form is tried in two forms, and that is the time that counts. Other programs can make it longer by half.

`--texts 20000` checks such a password against each kept make of as many generated texts instead, as a sign-in does.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.foreign_hashes import AT_THE_EDGE, IN_USE  # noqa: E402
from support.foreign_texts import HOSTILE, generated, verify  # noqa: E402
from users.passwords import foreign  # noqa: E402
from users.passwords.foreign import NotKept  # noqa: E402
from users.passwords.hashing import WrongPassword  # noqa: E402

ROUNDS = 3
LONGEST = 1.3  # seconds of a usual machine: a cost of bcrypt doubles the time, and 13 would shut out hashes in use
USUAL_LOOP = 0.045  # seconds for a million additions
LOOP = compile("x = 0\nfor i in range(1_000_000): x += i", "loop", "exec")


def main() -> None:
    """Print the times, and end with 1 if one is longer than LONGEST."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, help="how many generated texts to check")
    parser.add_argument("--seed", type=int, default=17)
    given = parser.parse_args()
    slowdown = least(partial(exec, LOOP, {}), 50) / USUAL_LOOP
    print(f"This machine takes {slowdown:.1f} times as long as a usual one.\n")
    sys.exit(check_texts(given.texts, given.seed, slowdown) if given.texts else time_the_costliest(slowdown))


def time_the_costliest(slowdown: float) -> bool:
    """Print the best of three times of each, in one form and in two, and tell whether one is too long."""
    slowest = 0.0
    print("| make | one form | two forms | on a usual machine |\n|---|---|---|---|")
    for text, make in dict.fromkeys((*AT_THE_EDGE, *IN_USE)):
        one, two = (least(partial(attempt, text, password, make), ROUNDS) for password in ("horse", HOSTILE))
        slowest = max(slowest, two / slowdown)
        print(f"| {make} | {one:.2f} s | {two:.2f} s | {two / slowdown:.2f} s |", flush=True)
    return slowest > LONGEST


def check_texts(number: int, seed: int, slowdown: float) -> bool:
    """Check each kept make of generated texts, print the ten slowest, and tell whether one is too long."""
    kept = dict(kept_of(number, seed))
    print(f"{number:,} texts: {len(kept):,} makes are kept. The slowest, in two forms:\n")
    taken = {make: least(partial(attempt, text, HOSTILE, make), 1) for make, text in kept.items()}
    for make in sorted(taken, key=taken.__getitem__)[-10:]:  # again: other programs may have disturbed it
        taken[make] = min(taken[make], least(partial(attempt, kept[make], HOSTILE, make), ROUNDS))
    for make in itertools.islice(sorted(taken, key=taken.__getitem__, reverse=True), 10):
        print(f"- {make}: {taken[make]:.2f} s, {taken[make] / slowdown:.2f} s on a usual machine", flush=True)
    return max(taken.values()) / slowdown > LONGEST


def kept_of(number: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yield the make and the text of each that is kept."""
    for text in generated(number, seed):
        try:
            yield foreign.judge(text).make, text
        except NotKept:
            continue


def attempt(text: str, password: str, make: str) -> None:
    """Try a wrong password."""
    try:
        verify(text, password, make)
    except WrongPassword:
        return
    raise AssertionError(f"a password matched {make}")


def least(act: Callable[[], object], rounds: int) -> float:
    """Return the least time of the process that `act` took."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        act()
        taken.append(time.process_time() - start)
    return min(taken)


if __name__ == "__main__":
    main()
