"""Kill what works on imports at random moments: `.venv/bin/python tests/faults/import_jobs.py`.

Files are uploaded to a production server. In one round its child is killed with kill -9, in the next one the server, in
the one after that both, up to three times each, until the import has ended. Then each row has one fate, each user is
there once with one event in the audit trail, and no file is left in the spool but the rejected rows.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.site import CHECKS, Site, open_site  # noqa: E402  (the path is set first)
from support.application import app_on  # noqa: E402
from support.import_jobs import children, complaints, created, staff, upload, wait, zombies  # noqa: E402
from support.people import make_key  # noqa: E402
from users.roles import Permission  # noqa: E402

KILLS = 3  # of one import, at most
WHAT = ("child", "server", "both")
LONGEST_MOMENT = 6.0  # seconds from a kill, or the upload, to the next kill


def kill(site: Site, what: str) -> bool:
    """Kill the children, the server or both; start the server again. Return whether a child was there."""
    working = children(site.installation.folder)
    if what in ("server", "both"):
        site.kill_server()
    if what in ("child", "both"):
        for child in working:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
    if what != "child":
        site.start()
    return bool(working)


def killed(site: Site, key: str, name: str, count: int, what: str) -> tuple[int, list[str]]:
    """Import a file and kill what works on it; return how often that was, and all that is wrong at the end."""
    domain = f"{name}.example.com"
    job_id = created(upload(site.server, key, staff(domain, count)))
    kills = 0
    for _ in range(KILLS):
        time.sleep(random.uniform(0, LONGEST_MOMENT))  # noqa: S311  (a moment, not a secret)
        if site.rows(f"SELECT 1 FROM imports WHERE id = '{job_id}' AND ended_at IS NOT NULL"):
            break
        kills += kill(site, what)
    wait(site.server, key, job_id)
    return kills, [f"{name}: {one}" for one in (*complaints(site.rows, job_id, domain, count), *left(site, job_id))]


def left(site: Site, job_id: str) -> Iterator[str]:
    """Yield the files that the import has left, and the processes that were not collected."""
    spool = site.installation.instance / "imports"
    time.sleep(1)  # the files go, and the child ends, right after the import has ended
    yield from (path.name for path in spool.glob(f"{job_id}.*") if path.suffix != ".rejects")
    yield from zombies(site.server)


def tell(database: str, rounds: int, count: int) -> bool:
    """Print a line of the table for each fault, and tell whether nothing was wrong."""
    well = True
    with open_site(database) as site:
        with app_on(site.installation) as app:
            key = make_key(app, *Permission)
        for what in WHAT:
            kills, wrong = 0, list[str]()
            for number in range(rounds):
                some, more = killed(site, key, f"{what}{number}", count, what)
                kills += some
                wrong += more
            wrong += [f"{fault}: {len(found)}" for fault, query in CHECKS.items() if (found := site.rows(query))]
            wrong += [site.damage()] if site.damage() else []
            told = "; ".join(wrong) or "nothing"
            print(f"| kill -9 of {what} | {database} | {rounds} | {kills} | {told} |", flush=True)
            well = well and not wrong
    return well


def main() -> None:
    """Run the faults on both databases, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="of each of child, server and both")
    parser.add_argument("--count", type=int, default=4000, help="of rows in each file, a multiple of 100")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    given = parser.parse_args()
    print("| fault | database | imports | kills of work | wrong |\n|---|---|---|---|---|", flush=True)
    databases = [given.only] if given.only else ["sqlite", "postgres"]
    well = [tell(database, given.rounds, given.count) for database in databases]
    sys.exit(not all(well))


if __name__ == "__main__":
    main()
