"""Time the pages among 1,000 and among 1,000,000 users: `nice .venv/bin/python tests/bench/million.py`.

Each page is asked for in turns among the few and among the many, so that both suffer alike from whatever else the
machine does. The target: a p95 among the many of at most three times that among the few, or for a bounded list of at
most 150 ms, and as many queries.
"""

import argparse
import gc
import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from sqlalchemy import event  # noqa: E402

from app import create_app  # noqa: E402
from support import population  # noqa: E402
from support.application import CHEAP, dispose, migrate  # noqa: E402
from support.people import make_user  # noqa: E402
from support.postgres import own_postgres, postgres_database  # noqa: E402
from support.visitors import Visitor, signed_in  # noqa: E402
from users.roles import Role  # noqa: E402
from users.services import user_queries  # noqa: E402
from users.services.lists import counts, user_search  # noqa: E402
from users.services.lists.asked import Asked, Sort  # noqa: E402
from users.storage.models import db  # noqa: E402

# The requests: a path, in which {middle} is the id of the user in the middle, {event} of its creation.
PAGES = {
    "overview": "/admin",
    "list": "/admin/users",
    "list, from the middle": "/admin/users?before={middle}",
    "list, back from the middle": "/admin/users?after={middle}",
    "active": "/admin/users?status=active",
    "deactivated": "/admin/users?status=deactivated",
    "deleted": "/admin/users?status=deleted",
    "search, a rare name": "/admin/users?q=xenia",
    "search, a full name": "/admin/users?q=Xenia+Quintero",
    "search, a common name": "/admin/users?q=maria",
    "search, one letter": "/admin/users?q=a",
    "search, one letter, deactivated": "/admin/users?q=m&status=deactivated",
    "search, a common domain": "/admin/users?q=example.com",
    "search, a rare domain": "/admin/users?q=%40firm1999.example.net",
    "search, an id": "/admin/users?q={middle}",
    "search, nobody": "/admin/users?q=nobody+is+called+this",
    "search, second page": "/admin/users?q=example.com&before={middle}",
    "one user": "/admin/users/{middle}",
    "audit": "/admin/audit",
    "audit, from the middle": "/admin/audit?before={event}",
    "audit, back from the middle": "/admin/audit?after={event}",
    "audit, of one user": "/admin/audit?user={middle}",
    "audit, a common act": "/admin/audit?action=user.create",
    "audit, a day": "/admin/audit?since=2020-01-01&until=2020-01-01",
}
FILTERED = {
    "verified": Asked(verified=True, sort=Sort.OLDEST),
    "members": Asked(role=Role.MEMBER, sort=Sort.OLDEST),
    "deactivated": Asked(shown="deactivated", sort=Sort.OLDEST),
}
EXACT = {
    "unverified by name": Asked(verified=False, sort=Sort.NAME),
    "no password by email, down": Asked(has_password=False, sort=Sort.EMAIL_DOWN),
    "deactivated by name": Asked(shown="deactivated", sort=Sort.NAME),
    "deleted by email": Asked(shown="deleted", sort=Sort.EMAIL),
    "members": Asked(role=Role.MEMBER),
    "administrators": Asked(role=Role.ADMIN),
    "members of a month": Asked(role=Role.MEMBER, since=date(2020, 1, 1), until=date(2020, 1, 31)),
    "a day": Asked(since=date(2020, 1, 1), until=date(2020, 1, 1)),
    "from a day on": Asked(since=date(2020, 1, 2)),
}
BOUNDED = {
    "members by name": Asked(role=Role.MEMBER, sort=Sort.NAME),
    "members by text": Asked(role=Role.MEMBER, text="maria"),
    "dates by name": Asked(since=date(2020, 1, 2), sort=Sort.NAME),
    "never signed in": Asked(never_signed_in=True),
    "never signed in by name": Asked(never_signed_in=True, sort=Sort.NAME),
    "a common name": Asked(text="maria"),
    "a common name by email": Asked(text="maria", sort=Sort.EMAIL),
    "one letter": Asked(text="a", sort=Sort.NAME),
    "a parent domain": Asked(text="example.net"),
    "a parent domain, never signed in": Asked(text="example.net", never_signed_in=True, verified=True),
}


def _found(asked: Asked, middle: str) -> object:
    return user_search.find(asked, before=middle)


def _listed(asked: Asked, middle: str) -> object:
    return user_queries.list_users(asked, after=middle, limit=5)  # among few users there are not many


# What has no page: a call with the id in the middle.
CALLS: dict[str, Callable[[str], object]] = {
    "list_users, from the middle": lambda middle: user_queries.list_users(after=middle),
    "list_users, active, from the middle": lambda middle: user_queries.list_users(user_queries.ACTIVE, after=middle),
    **{f"list_users, {name}": partial(_listed, asked) for name, asked in FILTERED.items()},
    **{f"sorted by {sort}, from the middle": partial(_found, Asked(sort=sort)) for sort in Sort},
    **{f"exact, {name}": partial(_found, asked) for name, asked in EXACT.items()},
    **{f"bounded, {name}": partial(_found, asked) for name, asked in BOUNDED.items()},
    "bounded, q of the API": lambda _middle: user_search.find_oldest(Asked(text="maria", sort=Sort.OLDEST), limit=300),
    "counts_by_segment": lambda _middle: counts.counts_by_segment(),
    "never_signed_in": lambda _middle: counts.never_signed_in(),
    "count_active_administrators": lambda _middle: user_queries.count_active_administrators(),
}
SLOWER = 3
BOUNDED_ROWS = ("bounded", "search", "counts", "never")
BOUNDED_MILLISECONDS = 150  # or three times: among few users there is less to read


class Site:
    """An application on a database with so many users, and Ada, who is signed in."""

    def __init__(self, url: str, number: int) -> None:
        migrate(url)
        population.populate(url, number)
        self.app = create_app({**CHEAP, "DATABASE_URL": url})
        logging.getLogger("enrol").setLevel(logging.WARNING)  # no line for each request
        self.ada: Visitor = signed_in(self.app, make_user(self.app, "ada@enrol.example.org", Role.ADMIN))
        self.middle = population.middle_id(number)
        self.queries = 0
        with self.app.app_context():
            event.listen(db.engine, "before_cursor_execute", self._count)

    def _count(self, *_given: object) -> None:
        self.queries += 1

    def ask(self, name: str) -> tuple[float, int]:
        """Return the milliseconds and the queries that one answer took."""
        self.queries, start = 0, time.perf_counter()
        if name in PAGES:
            answer = self.ada.get(PAGES[name].format(middle=self.middle, event=self.middle.replace("usr", "evt")))
            assert answer.status_code == 200, answer.text
        else:
            with self.app.app_context():
                CALLS[name](self.middle)
        return (time.perf_counter() - start) * 1000, self.queries


@contextmanager
def database_urls(database: str) -> Iterator[tuple[str, str]]:
    """Yield the URLs of two empty databases, side by side."""
    with TemporaryDirectory(prefix="enrol-million-") as folder, ExitStack() as stack:
        if database == "sqlite":
            yield f"sqlite:///{folder}/few.db", f"sqlite:///{folder}/many.db"
            return
        server = stack.enter_context(own_postgres()).get_uri()
        yield stack.enter_context(postgres_database(server)), stack.enter_context(postgres_database(server))


def compare(database: str, few: Site, many: Site, rounds: int) -> list[str]:
    """Print a line for each page, and return the names of those that miss the target."""
    missed = []
    for name in [*PAGES, *CALLS]:
        for site in (few, many):  # once psycopg has prepared a statement, Postgres may plan it anew up to ten times
            for _ in range(12):
                site.ask(name)
        taken = [(few.ask(name), many.ask(name)) for _ in range(rounds)]
        times = [[pair[i][0] for pair in taken] for i in (0, 1)]
        # The least: once a minute, that the session is in use is written down.
        queries = [min(pair[i][1] for pair in taken) for i in (0, 1)]
        (p50, p95), (p50_many, p95_many) = [percentiles(one) for one in times]
        at_most = max(SLOWER * p95, BOUNDED_MILLISECONDS if name.startswith(BOUNDED_ROWS) else 0)
        is_good = p95_many <= at_most and queries[0] == queries[1]
        cells = [name, database, f"{p50:.1f} / {p95:.1f}", f"{p50_many:.1f} / {p95_many:.1f}"]
        cells += [f"{p95_many / p95:.1f}", " / ".join(map(str, queries)), "" if is_good else "MISSED"]
        print(f"| {' | '.join(cells)} |", flush=True)
        missed += [] if is_good else [name]
    return missed


def percentiles(times: list[float]) -> tuple[float, float]:
    """Return the median and the 95th percentile."""
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def main() -> None:
    """Print the table of both databases, and end with 1 if anything misses the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--only", default="", help="sqlite or postgres")
    given = parser.parse_args()
    print(f"| page | database | p50 / p95 in ms of 1,000 | of {given.users:,} | p95 by p95 | queries | |")
    print("|---|---|---|---|---|---|---|")
    missed = []
    for database in ("sqlite", "postgres"):
        if given.only in ("", database):
            with database_urls(database) as (url, url_of_many):
                few, many = Site(url, 1_000), Site(url_of_many, given.users)
                gc.freeze()  # as a server does at its start
                missed += compare(database, few, many, given.rounds)
                dispose(few.app)
                dispose(many.app)
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
