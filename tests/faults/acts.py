"""Kill acts on many users at random moments: `.venv/bin/python tests/faults/acts.py`.

A filter chooses 10,000 users, among them the last administrator and users who hold more than the one who asks. While
a production server works on the act, its child is killed with kill -9, or the server, or both, until the act has ended.
Then each user has one fate, who was changed was changed once, with one event in the audit trail, and the others are as
they were.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from flask import Flask

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from faults.import_jobs import WHAT, kill  # noqa: E402  (the path is set first)
from faults.site import Site, open_site  # noqa: E402
from support.acts import DEACTIVATE, DELETE, LINKS, REACTIVATE, RESTORE, add_crowd, begin  # noqa: E402
from support.application import app_on  # noqa: E402
from support.databases import rows  # noqa: E402
from support.import_jobs import children  # noqa: E402
from support.people import Cast, make_user  # noqa: E402
from users.bulk.acts import working  # noqa: E402
from users.bulk.acts.kinds import YOURSELF, Act, Wanted  # noqa: E402
from users.errors import Denied  # noqa: E402
from users.roles import Role  # noqa: E402
from users.services.lists import user_search  # noqa: E402
from users.services.lists.asked import Asked  # noqa: E402

KILLS = 3  # of one act, at most
LONGEST_SECONDS = 600
ROLES = {"ada": Role.ADMIN, "omar": Role.OPERATOR, "vera": Role.AUDITOR, "sam": None}
_WORK = """
import sys
from app import create_app
from users.bulk import runner
from users.bulk.acts import working
working.PAUSE_SECONDS = float(sys.argv[1])
app = create_app()
with app.app_context():
    runner.work_here("acts")
"""


@dataclass(frozen=True)
class Trial:
    """An act, the filter that chooses its users, and what is then in the database."""

    wanted: Wanted
    by: str  # the one of the cast who asks
    chosen: Asked
    action: str  # of the events
    is_so: str  # the SQL condition of users to whom it was done

    def refused(self, cast: Cast) -> dict[str, str]:
        """Return the fates of the cast to whom it is not done."""
        if self.chosen.shown != "all":
            return {}
        if self.by == "ada":
            return {cast.ada.id: YOURSELF}
        return {cast.ada.id: Denied.code, cast.vera.id: Denied.code, cast.omar.id: YOURSELF}


UNVERIFIED = Asked(verified=False)
TRIALS = (
    Trial(DEACTIVATE, "omar", UNVERIFIED, "user.deactivate", "NOT is_active"),
    Trial(REACTIVATE, "omar", Asked(shown="deactivated"), "user.reactivate", "is_active"),
    Trial(LINKS, "omar", UNVERIFIED, "password_link.create", "password_link_ends_at IS NOT NULL"),
    Trial(Wanted(Act.ROLE, Role.MEMBER), "ada", UNVERIFIED, "user.update", "global_role_id = 'role_member'"),
    Trial(DELETE, "ada", UNVERIFIED, "user.delete", "deleted_at IS NOT NULL"),
    Trial(RESTORE, "ada", Asked(shown="deleted"), "user.restore", "deleted_at IS NULL AND NOT is_active"),
)


def start(environment: Mapping[str, str], pause: float = working.PAUSE_SECONDS) -> "subprocess.Popen[bytes]":
    """Start a process that does what is due, with such a pause between two steps."""
    return subprocess.Popen([sys.executable, "-c", _WORK, str(pause)], cwd=ROOT, env=dict(environment))


def done(app: Flask, act_id: str) -> int:
    """Return how many users have a fate."""
    return int(rows(app, "SELECT users_done FROM bulk_acts WHERE id = :id", id=act_id)[0].users_done)


def complaints(app: Flask, act_id: str, trial: Trial, chosen: list[str], refused: Mapping[str, str]) -> Iterator[str]:
    """Yield all that is wrong after the act has ended."""
    wanted = ("finished", len(chosen), len(chosen), len(refused))
    (job,) = rows(app, "SELECT state, users_total, users_done, refused FROM bulk_acts WHERE id = :id", id=act_id)
    if tuple(job) != wanted:
        yield f"the act says {tuple(job)}, and should {wanted}"
    found = rows(app, "SELECT user_id, fate FROM bulk_act_users WHERE act_id = :id", id=act_id)
    if other := {tuple(one) for one in found} ^ {(one, refused.get(one, "done")) for one in chosen}:
        yield f"{len(other)} fates are wrong, as {next(iter(other))}"
    events = rows(app, "SELECT action, target_id FROM audit_events WHERE request_id = :id", id=act_id)
    if sorted(map(tuple, events)) != sorted((trial.action, one) for one in chosen if one not in refused):
        yield f"{len(events)} events, of {len({event.target_id for event in events})} users"
    so = {row.id for row in rows(app, f"SELECT id FROM users WHERE {trial.is_so}")}
    if left := set(chosen) - set(refused) - so:
        yield f"{len(left)} users are not as they should be"


def killed(site: Site, app: Flask, act_id: str, what: str) -> int:
    """Kill what works on the act up to KILLS times, wait for its end, and return how often a child was there."""
    kills, until = 0, time.monotonic() + LONGEST_SECONDS
    for _ in range(KILLS):
        before = done(app, act_id)
        while not _ended(app, act_id) and (done(app, act_id) == before or not children(site.installation.folder)):
            _ask(site, until)
        if _ended(app, act_id):
            break
        time.sleep(random.uniform(0, 1))  # noqa: S311  (a moment, not a secret)
        kills += kill(site, what)
    while not _ended(app, act_id):
        _ask(site, until)
    return kills


def _ask(site: Site, until: float) -> None:
    """Send a request: a server looks for work beside requests."""
    assert time.monotonic() < until, "the act does not end"
    with contextlib.suppress(OSError):
        urlopen(f"http://127.0.0.1:{site.server.port}/healthz", timeout=5).close()
    time.sleep(0.05)


def _ended(app: Flask, act_id: str) -> bool:
    return rows(app, "SELECT ended_at FROM bulk_acts WHERE id = :id", id=act_id)[0].ended_at is not None


def try_one(site: Site, app: Flask, cast: Cast, trial: Trial, what: str) -> tuple[int, int, list[str]]:
    """Do the act to all whom the filter finds, and kill what does it; return how many, the kills and what is wrong."""
    with app.app_context():
        found, is_partial = user_search.find_ids(trial.chosen, limit=20_000)
        act_id = begin(trial.wanted, found, getattr(cast, trial.by)).id
    chosen, refused = list(found), trial.refused(cast)
    before = _as_they_are(app, refused)
    kills = killed(site, app, act_id, what)
    wrong = list(complaints(app, act_id, trial, chosen, refused))
    wrong += ["the list was cut off"] if is_partial else []
    wrong += ["a user who was refused has changed"] if _as_they_are(app, refused) != before else []
    return len(chosen), kills, wrong


def _make_cast(app: Flask) -> Cast:
    """Return the cast, of whom Ada is the last administrator."""
    return Cast(**{name: make_user(app, f"{name}@example.com", role) for name, role in ROLES.items()})


def _as_they_are(app: Flask, users: Mapping[str, str]) -> list[str]:
    return [str(rows(app, "SELECT * FROM users WHERE id = :id", id=user_id)) for user_id in users]


def tell(database: str, rounds: int, count: int) -> bool:
    """Print a line of the table for each act, and tell whether nothing was wrong."""
    well = True
    for number in range(rounds):
        with open_site(database) as site, app_on(site.installation) as app:
            cast = _make_cast(app)
            with app.app_context():
                add_crowd(count - len(ROLES))
            for at, trial in enumerate(TRIALS):
                what, begin_at = WHAT[(number + at) % len(WHAT)], time.monotonic()
                users, kills, wrong = try_one(site, app, cast, trial, what)
                wrong += [site.damage()] if site.damage() else []
                seconds, told = time.monotonic() - begin_at, "; ".join(wrong) or "nothing"
                act = trial.wanted.act
                print(f"| {act} | {database} | {users:,} | {what} | {kills} | {seconds:.0f} s | {told} |", flush=True)
                well = well and not wrong
    return well


def main() -> None:
    """Run it on both databases, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1, help="of all acts; each act meets another kill in the next")
    parser.add_argument("--count", type=int, default=10_000, help="of users in each act")
    parser.add_argument("--only", choices=["sqlite", "postgres"])
    options = parser.parse_args()
    databases = [options.only] if options.only else ["sqlite", "postgres"]
    print("| act | database | users | killed | kills | time | wrong |\n|---|---|---|---|---|---|---|", flush=True)
    well = [tell(database, options.rounds, options.count) for database in databases]
    if not all(well):
        sys.exit(1)


if __name__ == "__main__":
    main()
