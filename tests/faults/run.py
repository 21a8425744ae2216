"""Run the fault matrix and print its table: `.venv/bin/python tests/faults/run.py`, as root for the full disk."""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.matrix import CRASHES, FAULTS, PAIR_FAULTS, Verdict, crash, under_load  # noqa: E402  (the path is set first)


def main() -> None:
    """Run every fault on its databases, print a line for each, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="of each crash")
    parser.add_argument("--seconds", type=float, default=10, help="that each fault lasts")
    parser.add_argument("--only", default="", help="faults whose name holds this")
    given = parser.parse_args()
    print("| fault | database | created | links used | told 503 | slowest answer | well again after | wrong |")
    print("|---|---|---|---|---|---|---|---|")
    verdicts = []
    for database, victim in CRASHES:
        if given.only in f"kill -9 of {victim}":
            verdicts.append(tell(crash(database, victim, given.rounds)))
    for name, (databases, fault, size) in FAULTS.items():
        for database in databases:
            if given.only in name:
                verdicts.append(tell(under_load(name, database, fault, seconds=given.seconds, size=size)))
    for name, fault in PAIR_FAULTS.items():
        if given.only in name:
            verdicts.append(tell(under_load(name, "two of postgres", fault, seconds=given.seconds)))
    sys.exit(any(verdict.wrong for verdict in verdicts))


def tell(verdict: Verdict) -> Verdict:
    """Print one line of the table."""
    v = verdict
    wrong = "; ".join(v.wrong) or "nothing"
    used = "" if v.used is None else f"{v.used:,}"
    refused = "" if v.refused is None else f"{v.refused:,}"
    slowest = f"{v.slowest:.1f} s" if v.slowest else ""
    cells = [v.fault, v.database, f"{v.created:,}", used, refused, slowest, f"{v.well_after:.1f} s", wrong]
    print(f"| {' | '.join(cells)} |", flush=True)
    return verdict


if __name__ == "__main__":
    main()
