"""Kill imports at random moments, and let two run at once: `.venv/bin/python tests/faults/imports.py`.

A command is killed with kill -9 and run again, until it ends by itself. Then each row has one fate, each user is there
once with one event in the audit trail, and the file of rejected rows holds each of them once.
"""

import argparse
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.site import CHECKS, Site, open_site  # noqa: E402  (the path is set first)
from support.import_files import HASH  # noqa: E402
from support.installations import Installation  # noqa: E402
from support.servers import BIN  # noqa: E402

ENDED = (0, 6)
KILLS = 3  # of one import, at most
LONGEST_SECONDS = 120
Rows = Callable[[str], Sequence[Any]]


@dataclass
class Staff:
    """A file of `count` rows for the domain of its name: one in a hundred is bad, one twice, one has a password."""

    folder: Path
    name: str
    count: int
    end: str = ""  # what stands behind the last row
    path: Path = field(init=False)

    def __post_init__(self) -> None:
        """Write the file."""
        self.path = self.folder / f"{self.name}.csv"
        with self.path.open("w", encoding="utf-8") as file:
            file.write("email,first_name,password,password_hash\n")
            file.writelines(self._rows())
            file.write(self.end)

    @property
    def rejects(self) -> Path:
        """Return the path for the rejected rows."""
        return self.folder / f"{self.name}.rejects.csv"

    @property
    def bad(self) -> int:
        """Return how many rows cannot be imported, whoever is there."""
        return self.count - self.good

    @property
    def good(self) -> int:
        """Return how many different users there are."""
        return sum(number % 100 not in (7, 8) for number in range(self.count))

    def _rows(self) -> Iterator[str]:
        for number in range(self.count):
            kind = number % 100
            if kind == 7:
                yield f"no email,Jo,,{HASH}\n"
            elif kind == 8:
                yield f"JO{number - 8}@{self.domain},Jo,,{HASH}\n"
            else:
                secret = ("correct horse battery staple", "") if kind == 9 else ("", HASH)
                yield f"jo{number}@{self.domain},Jo,{','.join(secret)}\n"

    @property
    def domain(self) -> str:
        """Return the domain of the users."""
        return f"{self.name.partition('-')[0]}.example.com"


def command(staff: Staff, *options: str) -> list[str]:
    """Return the command that imports the file."""
    return [str(BIN / "flask"), "users", "import", str(staff.path), "--yes", "--rejects", str(staff.rejects), *options]


def start(installation: Installation, staff: Staff, *options: str) -> "subprocess.Popen[str]":
    """Start the command."""
    return subprocess.Popen(
        command(staff, *options),
        cwd=installation.folder,
        env=installation.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(installation: Installation, staff: Staff, *options: str) -> tuple[int, str, float]:
    """Run the command to its end; return its exit code, what it said, and how many seconds it took."""
    begin = time.monotonic()
    process = start(installation, staff, *options)
    _out, said = process.communicate(timeout=LONGEST_SECONDS)
    return process.returncode, said, time.monotonic() - begin


def killed(installation: Installation, rows: Rows, staff: Staff, seconds: float) -> tuple[int, list[str]]:
    """Kill the import up to KILLS times, each time within `seconds`; return how often, and all that is wrong then."""
    kills = 0
    while kills < KILLS and not _is_finished(rows, staff):
        process = start(installation, staff)
        time.sleep(random.uniform(0.4, 1) * seconds)  # noqa: S311  (a moment, not a secret)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    if not _is_finished(rows, staff):
        code, said, _seconds = run(installation, staff)
        if code not in ENDED:
            return kills, [f"the command ended with {code}: {said}"]
    return kills, list(complaints(rows, staff))


def _is_finished(rows: Rows, staff: Staff) -> bool:
    return bool(rows(f"SELECT 1 FROM imports WHERE name = '{staff.path.name}' AND state = 'finished'"))


def complaints(rows: Rows, staff: Staff) -> Iterator[str]:
    """Yield all that is wrong after the import of the file has ended."""
    counts = rows(
        "SELECT rows_total, rows_done, created, existing, rejected, id FROM imports"
        f" WHERE name = '{staff.path.name}' AND state = 'finished'"
    )
    wanted = (staff.count, staff.count, staff.good, 0, staff.bad)
    if [tuple(found[:5]) for found in counts] != [wanted]:
        yield f"{staff.name} counts {counts}, and should {wanted}"
    there = rows(f"SELECT count(*) FROM users WHERE email LIKE '%@{staff.domain}'")
    if there[0][0] != staff.good:
        yield f"{staff.name} made {there[0][0]} users, and should {staff.good}"
    told = [line.split(",")[4] for line in staff.rejects.read_text(encoding="utf-8").splitlines()[1:]]
    bad = [str(number + 2) for number in range(staff.count) if number % 100 in (7, 8)]
    if told != bad:
        yield f"the rejected rows of {staff.name} are {len(told)}, and should be {len(bad)}"
    for name, query in CHECKS.items():
        if found := rows(query):
            yield f"{len(found)} {name}"
    if twice := rows("SELECT target_id FROM audit_events WHERE action = 'user.create' GROUP BY 1 HAVING count(*) > 1"):
        yield f"{len(twice)} users have two events"


def two_at_once(installation: Installation, rows: Rows, folder: Path, name: str, count: int) -> list[str]:
    """Import the same users from two files at the same time; return all that is wrong then."""
    files = [Staff(folder, f"{name}-{end}", count, end="\n" * end) for end in range(2)]
    processes = [start(installation, staff) for staff in files]
    said = [process.communicate(timeout=LONGEST_SECONDS)[1] for process in processes]
    codes = [process.returncode for process in processes]
    wrong = [] if set(codes) <= set(ENDED) else [f"the commands ended with {codes}: {said}"]
    names = ", ".join(f"'{staff.path.name}'" for staff in files)
    found = rows(f"SELECT rows_done, created, existing, rejected FROM imports WHERE name IN ({names})")
    if sum(one[1] for one in found) != files[0].good:
        wrong.append(f"two imports made {[one[1] for one in found]} users, and should {files[0].good}")
    wrong += [f"the counts {tuple(one)} do not add up" for one in found if one[0] != sum(one[1:])]
    return wrong


def refused(installation: Installation, rows: Rows, staff: Staff) -> list[str]:
    """Run the same command twice at the same time; return all that is wrong then."""
    processes = [start(installation, staff) for _ in range(2)]
    said = [process.communicate(timeout=LONGEST_SECONDS)[1] for process in processes]
    codes = sorted(process.returncode for process in processes)
    wrong = [] if codes == [2, 6] else [f"one of two should be refused: {codes}: {said}"]
    return [*wrong, *complaints(rows, staff)]


def tell(site: Site, database: str, rounds: int, count: int) -> bool:
    """Print a line of the table for each fault on a database, and tell whether nothing was wrong."""
    folder, installation, kills = site.installation.folder, site.installation, 0
    first = Staff(folder, "first", count)
    code, said, seconds = run(installation, first)
    wrong = [] if code in ENDED else [f"the first import ended with {code}: {said}"]
    for number in range(rounds):
        some, more = killed(installation, site.rows, Staff(folder, f"killed{number}", count), seconds)
        kills += some
        wrong += more
    wrong += [site.damage()] if site.damage() else []
    print(f"| kill -9 of an import | {database} | {rounds} | {kills} | {'; '.join(wrong) or 'nothing'} |", flush=True)
    at_once = []
    for number in range(max(1, rounds // 5)):
        at_once += two_at_once(installation, site.rows, folder, f"both{number}", count)
        at_once += refused(installation, site.rows, Staff(folder, f"same{number}", count))
    print(f"| two imports at once | {database} | {rounds // 5} | | {'; '.join(at_once) or 'nothing'} |", flush=True)
    return not (wrong or at_once)


def main() -> None:
    """Run the faults on both databases, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--count", type=int, default=4000, help="of rows in each file")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    given = parser.parse_args()
    print("| fault | database | imports | kills | wrong |")
    print("|---|---|---|---|---|")
    well = []
    for database in [given.only] if given.only else ["sqlite", "postgres"]:
        with open_site(database) as site:
            well.append(tell(site, database, given.rounds, given.count))
    sys.exit(not all(well))


if __name__ == "__main__":
    main()
