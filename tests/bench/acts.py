"""Measure acts on many users, and what creates feel of them: `.venv/bin/python tests/bench/acts.py`, on an idle host.

The creates are those of one client, a few times a second, before the act and beside it, with a hash that costs nothing.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from flask import Flask

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from bench.clients import ask_for, create, get  # noqa: E402  (the path is set first)
from bench.run import CHEAP, DATABASES, enrol, head, measured_site, row  # noqa: E402
from support.acts import DEACTIVATE, DELETE, LINKS, REACTIVATE, RESTORE, add_crowd, begin  # noqa: E402
from support.application import app_on  # noqa: E402
from support.databases import rows  # noqa: E402
from support.people import make_user  # noqa: E402
from users.bulk.acts.kinds import Act, Wanted  # noqa: E402
from users.roles import Role  # noqa: E402

MEMBER = Wanted(Act.ROLE, Role.MEMBER)
ACTS = (DEACTIVATE, REACTIVATE, LINKS, MEMBER, DELETE, RESTORE)  # each leaves what the next one needs
PAUSE = 0.02  # seconds between two requests of a client


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=10_000, help="of an act")
    parser.add_argument("--seconds", type=float, default=15, help="that creates are measured before the acts")
    parser.add_argument("--databases", nargs="*", default=DATABASES, choices=DATABASES)
    given = parser.parse_args()
    head("act", "database", "users/s", "create before, p99", "create beside it, p99", "ratio", "slowest", "failed")
    for database in given.databases:
        with measured_site(database) as site, app_on(site.installation) as app:
            server = enrol(site, CHEAP)
            ada = make_user(app, "ada@example.com", Role.ADMIN)
            with app.app_context():
                crowd = add_crowd(given.users)
            creates = partial(ask_for, port=server.port, make=partial(create, site.key), clients=1, pause=PAUSE)
            creates(given.seconds / 5)
            before = creates(given.seconds).milliseconds(0.99)
            for wanted in ACTS:
                with app.app_context():
                    act_id = begin(wanted, crowd, ada).id
                while not done(app, act_id):  # the server looks for work beside requests
                    ask_for(0.1, server.port, partial(get, "/v1/user/?limit=1", site.key), clients=1, pause=0.05)
                first, start, times = done(app, act_id), time.monotonic(), []
                while done(app, act_id) < given.users:
                    times += creates(0.5).times
                rate = (given.users - first) / (time.monotonic() - start)
                heard = sorted(seconds for _, seconds in times)
                beside, failed = 1000 * heard[int(len(heard) * 0.99)], sum(status != 201 for status, _ in times)
                row(str(wanted.act), database, f"{rate:,.0f}", f"{before:.1f} ms", f"{beside:.1f} ms",
                    f"{beside / before:.1f}", f"{1000 * heard[-1]:.0f} ms", str(failed))  # fmt: skip


def done(app: Flask, act_id: str) -> int:
    """Return how many users have a fate."""
    return int(rows(app, "SELECT users_done FROM bulk_acts WHERE id = :id", id=act_id)[0].users_done)


if __name__ == "__main__":
    main()
