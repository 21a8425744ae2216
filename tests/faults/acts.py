"""Kill acts on many users at random moments: `.venv/bin/python tests/faults/acts.py`.

A process that deactivates thousands of users is killed with kill -9 and another takes its work up, until the act has
ended. Then each user has one fate, and who was changed was changed once, with one event in the audit trail.
"""

import argparse
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flask import Flask

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from faults.site import open_site  # noqa: E402  (the path is set first)
from support.acts import DEACTIVATE, REACTIVATE, add_crowd, begin  # noqa: E402
from support.application import app_on  # noqa: E402
from support.databases import rows  # noqa: E402
from support.people import make_user  # noqa: E402
from users.bulk.acts.kinds import Wanted  # noqa: E402
from users.roles import Role  # noqa: E402
from users.storage.models import User  # noqa: E402

KILLS = 4  # of one act, at most
LONGEST_SECONDS = 600
_WORK = """
from app import create_app
from users.bulk import runner
app = create_app()
with app.app_context():
    runner.work_here("acts")
"""


def start(environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a process that does what is due."""
    return subprocess.Popen([sys.executable, "-c", _WORK], cwd=ROOT, env=dict(environment))


def killed(app: Flask, environment: Mapping[str, str], wanted: Wanted, crowd: list[str], ada: User) -> tuple[int, str]:
    """Do the act to the crowd, and kill who does it up to KILLS times; return how often, and the id of the act."""
    with app.app_context():
        act_id = begin(wanted, crowd, ada).id
    kills = 0
    for _ in range(KILLS):
        before = done(app, act_id)
        worker = start(environment)
        while worker.poll() is None and done(app, act_id) == before:
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.5))  # noqa: S311  (a moment, not a secret)
        if worker.poll() is None:
            worker.send_signal(signal.SIGKILL)
            kills += 1
        worker.wait()
    last = start(environment)
    last.wait(LONGEST_SECONDS)
    return kills, act_id


def done(app: Flask, act_id: str) -> int:
    """Return how many users have a fate."""
    return int(rows(app, "SELECT users_done FROM bulk_acts WHERE id = :id", id=act_id)[0].users_done)


def complaints(app: Flask, act_id: str, crowd: list[str], active: bool) -> Iterator[str]:
    """Yield all that is wrong after the act has ended."""
    wanted: tuple[Any, ...] = ("finished", len(crowd), len(crowd), 0)
    (job,) = rows(app, "SELECT state, users_total, users_done, refused FROM bulk_acts WHERE id = :id", id=act_id)
    if tuple(job) != wanted:
        yield f"the act says {tuple(job)}, and should {wanted}"
    found = rows(app, "SELECT fate, count(*) FROM bulk_act_users WHERE act_id = :id GROUP BY fate", id=act_id)
    if [tuple(one) for one in found] != [("done", len(crowd))]:
        yield f"the fates are {found}"
    events = rows(app, "SELECT target_id FROM audit_events WHERE request_id = :id ORDER BY id", id=act_id)
    if [event.target_id for event in events] != crowd:
        yield f"{len(events)} events, of {len({event.target_id for event in events})} users"
    if (
        other := rows(app, "SELECT count(*) FROM users WHERE email LIKE 'crowd%' AND is_active != :now", now=active)
    ) != [(0,)]:
        yield f"{other[0][0]} users are not as they should be"


def tell(database: str, rounds: int, count: int) -> bool:
    """Print a line of the table, and tell whether nothing was wrong."""
    wrong: list[str] = []
    kills = 0
    with open_site(database) as site, app_on(site.installation) as app:
        with app.app_context():
            crowd = add_crowd(count)
        ada = make_user(app, "ada@example.com", Role.ADMIN)
        begin_at = time.monotonic()
        for number in range(rounds):
            wanted = REACTIVATE if number % 2 else DEACTIVATE
            some, act_id = killed(app, site.installation.environment, wanted, crowd, ada)
            kills += some
            wrong += complaints(app, act_id, crowd, active=bool(number % 2))
        seconds = time.monotonic() - begin_at
        wrong += [site.damage()] if site.damage() else []
    told = "; ".join(wrong) or "nothing"
    print(
        f"| kill -9 of an act on {count:,} users | {database} | {rounds} | {kills} | {seconds:.0f} s | {told} |",
        flush=True,
    )
    return not wrong


def main() -> None:
    """Run it on both databases, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=10_000, help="of users in each act")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options = parser.parse_args()
    databases = [options.only] if options.only else ["sqlite", "postgres"]
    print("| fault | database | rounds | kills | time | wrong |\n|---|---|---|---|---|---|", flush=True)
    well = [tell(database, options.rounds, options.count) for database in databases]
    if not all(well):
        sys.exit(1)


if __name__ == "__main__":
    main()
