"""Read files that are made to take memory or time: `.venv/bin/python tests/faults/big_files.py`, some minutes.

Each is read by a process of its own, as an import reads it, and is made while it is read. The table shows what came of
it, the seconds of a core, and by how much the process grew. `--megabytes` and `--lines` set how large the files are.
"""

import argparse
import io
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, cast

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from support.user_files import Repeated, rows_from  # noqa: E402  (the path is set first)
from users.bulk.files.refusals import FileRefused  # noqa: E402

HEADER = b"email,first_name\n"
ROW = b"ada@example.com,Ada Lovelace\n"
MANY = ("{" + ",".join(f'"m{n}":1' for n in range(6_000)) + "}\n").encode()
Sized = Callable[[int, int], Repeated]
# What the file is; how it is made of a number of bytes and of lines.
FILES: dict[str, Sized] = {
    "plain rows": lambda _size, lines: Repeated(HEADER, ROW, lines),
    "quoted rows": lambda _size, lines: Repeated(HEADER, b'"ada@example.com","Ada ""A"" Lovelace"\n', lines),
    "an unclosed quote": lambda _size, lines: Repeated(HEADER + b'"', ROW, lines),
    "an unclosed quote in the header": lambda _size, lines: Repeated(b'email,"first_name\n', ROW, lines),
    "an unclosed quote and quoted rows": lambda _size, lines: Repeated(HEADER + b'"', b'""ada"",""Ada""\n', lines),
    "one line": lambda size, _lines: Repeated(HEADER, b"x", size),
    "one line of cells": lambda size, _lines: Repeated(HEADER, b"x,", size // 2),
    "one line of quoted cells": lambda size, _lines: Repeated(HEADER, b'"x",', size // 4, b"x\n"),
    "one cell of quotes": lambda size, _lines: Repeated(HEADER + b'"', b'""', size // 2, b'"\n'),
    "a header of one line": lambda size, _lines: Repeated(b"email,", b"x", size),
    "blank lines": lambda size, _lines: Repeated(b"", b"\n", size),
    "carriage returns": lambda size, _lines: Repeated(HEADER, b"\r", size),
    "blank rows of delimiters": lambda size, _lines: Repeated(HEADER, b"," * 60_000 + b"\n", size // 60_001),
    "NUL": lambda size, _lines: Repeated(HEADER, b"\0", size),
    "one object": lambda size, _lines: Repeated(b'{"email": "', b"x", size, b'"}'),
    "brackets": lambda size, _lines: Repeated(b'{"email": ', b"[", size),
    "lines of brackets": lambda size, _lines: Repeated(b'{"email": 1}\n', b"[" * 60_000 + b"\n", size // 60_001),
    "objects of many members": lambda size, _lines: Repeated(b'{"email": 1}\n', MANY, size // len(MANY)),
}


def read(name: str, size: int, lines: int) -> tuple[str, float, float]:
    """Return what came of a file, the seconds of a core, and the peak of memory in MiB that reading it added."""
    file = cast(BinaryIO, io.BufferedReader(FILES[name](size, lines)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, found = time.process_time(), Counter[str]()
    try:
        for row in rows_from(file):
            found[str(row.row.errors[0].code) if row.row.errors else "read"] += 1
    except FileRefused as refused:
        found[refused.message] += 1
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return ", ".join(f"{code} {count:,}" if count > 1 else code for code, count in found.items()), seconds, peak / 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--lines", type=int, default=3_000_000)
    parser.add_argument("--only", choices=FILES)
    given = parser.parse_args()
    print("| file | what came of it | seconds of a core | MiB more |\n|---|---|---|---|", flush=True)
    for name in [given.only] if given.only else FILES:
        with get_context("spawn").Pool(1) as pool:  # each in a new process, of which the peak is known
            outcome, seconds, more = pool.apply(read, (name, given.megabytes * 1_000_000, given.lines))
        print(f"| {name} | {outcome} | {seconds:.1f} | {more:.1f} |", flush=True)


if __name__ == "__main__":
    main()
