"""Measure how fast Enrol is and print the tables: `.venv/bin/python tests/bench/run.py`, on a machine that is idle.

Every figure is a ratio, or stands beside one, of things measured in turn in the same run, since a machine's speed
moves by some percent from minute to minute. The clients run on the same cores as what they measure.
"""

import argparse
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from bench.clients import Tally, all_at_once, ask_for, create, get  # noqa: E402  (the path is set first)
from faults.site import Site, open_site  # noqa: E402
from support.servers import BIN, Server  # noqa: E402

FLOOR, DEFAULT, CHEAP = "m=19456,t=2,p=1", "m=65536,t=3,p=4", "m=8,t=1,p=1"
DATABASES = ("sqlite", "postgres")
# What goes with the production line of OPERATIONS.md. The rate limit of the site is so high that one key can measure.
SETTINGS = {"ENROL_HASH_SLOTS": "1"}


def main() -> None:
    """Print the tables that were asked for, all but `builds` and `constant` by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; by default all but the last two")
    parser.add_argument("--rounds", type=int, default=5, help="of everything that is compared, in turn")
    parser.add_argument("--seconds", type=float, default=6, help="that a round of one thing lasts")
    parser.add_argument("--built", type=Path, help="for `builds`: a second virtual environment")
    given = parser.parse_args()
    for name in given.tables or list(TABLES)[:-2]:
        print(f"\n{name}\n", flush=True)
        TABLES[name](given)


@contextmanager
def measured_site(database: str) -> Iterator[Site]:
    """Yield a site whose own server is ended: each table starts the servers that it compares."""
    with open_site(database) as site:
        site.server.end()
        site.installation.environment.update(SETTINGS)
        yield site


def enrol(site: Site, cost: str, programs: Path = BIN, application: str = "app:serve") -> Server:
    """Start Enrol with this cost of a hash."""
    site.installation.environment.update(ENROL_PASSWORD_HASH=cost, PYTHONPATH=str(HERE))
    line, port = site.installation.command("production")
    return site.installation.launch([str(programs / "granian"), *line[1:-1], application], port)


def thin(site: Site, cost: str) -> Server:
    """Start the thin application with the same server, number of processes and number of threads."""
    return enrol(site, cost, application="thin:serve")


def bare(site: Site, cost: str, seconds: float) -> float:
    """Return how many hashes a second this machine does with as many threads as cores and nothing else to do."""
    line = [sys.executable, str(HERE / "bare.py"), cost, str(seconds)]
    done = subprocess.run(line, env=site.installation.environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def ask(port: int, seconds: float, status: int, make: Callable[[], bytes], **options: float) -> Tally:
    """Let clients ask, and insist that every answer has this status."""
    tally = ask_for(seconds, port, make, **options)  # type: ignore[arg-type]
    assert set(tally.statuses) == {status}, tally.statuses
    return tally


def in_turn(measures: Mapping[str, Callable[[], Tally]], rounds: int, status: int) -> tuple[dict[str, float], Tally]:
    """Take each measure, round after round; return the median rate of each and the last tally of the last."""
    rates: dict[str, list[float]] = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            last = measure()
            rates[name].append(last.rate(status))
    return {name: median(values) for name, values in rates.items()}, last


def hashing(given: argparse.Namespace) -> None:
    """Print how much of the machine's hashes become users."""
    head("hash", "database", "bare argon2id", "users created", "ratio", "p50", "p99", "memory")
    for database in DATABASES:
        for cost in (FLOOR, DEFAULT):
            with measured_site(database) as site:
                server = enrol(site, cost)
                limits, rates, tallies = [], [], []
                for _ in range(given.rounds):
                    limits.append(bare(site, cost, given.seconds))
                    tallies.append(ask(server.port, given.seconds, 201, partial(create, site.key)))
                    rates.append(tallies[-1].rate(201))
                all_times = Tally(0, times=[one for tally in tallies for one in tally.times])
                limit, rate = median(limits), median(rates)
                row(f"`{cost}`", database, f"{limit:.1f}/s", f"{rate:.1f}/s", f"{rate / limit:.0%}",
                    *percentiles(all_times), f"{server.memory('VmHWM'):.0f} MiB")  # fmt: skip


def requests(given: argparse.Namespace) -> None:
    """Print what Enrol's rules, limits and log cost beside the thin application."""
    head("request", "database", "thin application", "Enrol", "ratio", "p50", "p99")
    for database in DATABASES:
        with measured_site(database) as site:
            servers = {"thin": thin(site, CHEAP), "enrol": enrol(site, CHEAP)}
            user_id = newest(site, servers["enrol"])
            for name, status, make in (
                ("create", 201, partial(create, site.key)),
                ("read one", 200, partial(get, f"/v1/user/{user_id}", site.key)),
                ("list 100", 200, partial(get, "/v1/user/?limit=100", site.key)),
            ):
                measures = {
                    app: partial(ask, one.port, given.seconds / 2, status, make) for app, one in servers.items()
                }
                rates, last = in_turn(measures, given.rounds, status)
                row(name, database, f"{rates['thin']:.0f}/s", f"{rates['enrol']:.0f}/s",
                    f"{rates['enrol'] / rates['thin']:.0%}", *percentiles(last))  # fmt: skip


def together(given: argparse.Namespace) -> None:
    """Print how long a read takes while sign-ups take all cores."""
    head("reads", "database", "p50", "p99")
    for database in DATABASES:
        with measured_site(database) as site:
            server = enrol(site, FLOOR)
            seconds = 2 * given.seconds
            read = partial(get, f"/v1/user/{newest(site, server)}", site.key)
            reads = partial(ask, server.port, seconds, 200, read, clients=2, pause=0.02)
            row("while nothing else is asked", database, *percentiles(reads()))
            creators = threading.Thread(target=ask, args=(server.port, seconds + 1, 201, partial(create, site.key)))
            creators.start()
            time.sleep(0.5)
            row("while 8 clients create users", database, *percentiles(reads()))
            creators.join()


def overload(given: argparse.Namespace) -> None:
    """Print what becomes of 500 creates at the same moment, beside the rate of creates, with as many reads, before."""
    head("database", "created", "refused, median", "of the usual rate", "reads meanwhile, p99", "memory")
    for database in DATABASES:
        with measured_site(database) as site, ProcessPoolExecutor(1) as other:
            server = enrol(site, DEFAULT)
            read = partial(get, f"/v1/user/{newest(site, server)}", site.key)
            # From another process, which shares no interpreter with the burst.
            reads_for = partial(ask, server.port, given.seconds, 200, read, clients=2, pause=0.02)
            usual, rates, bursts, reads = [], [], [], []
            for _ in range(given.rounds):
                before = other.submit(reads_for)
                usual.append(ask(server.port, given.seconds, 201, partial(create, site.key)).rate(201))
                before.result()
                meanwhile = other.submit(reads_for)
                time.sleep(0.5)
                bursts.append(burst := all_at_once(server.port, [create(site.key) for _ in range(500)]))
                reads.append(meanwhile.result())
                assert set(burst.statuses) <= {201, 503}, burst.statuses
                rates.append(burst.statuses[201] / max(seconds for status, seconds in burst.times if status == 201))
            made = median(one.statuses[201] for one in bursts)
            refused = median(one.milliseconds(0.5, 503) for one in bursts)
            row(database, f"{made:.0f} of 500", f"{refused:.0f} ms", f"{median(rates) / median(usual):.0%}",
                f"{median(one.milliseconds(0.99) for one in reads):.1f} ms",
                f"{server.memory('VmHWM'):.0f} MiB")  # fmt: skip


def builds(given: argparse.Namespace) -> None:
    """Print what the memory that is kept, and argon2-cffi-bindings built for this machine, bring."""
    head("hash", "the plain wheel", "its memory kept", "ratio", "built for this machine too", "ratio")
    with measured_site("sqlite") as site:
        for cost in (FLOOR, DEFAULT):
            with ExitStack() as stack:
                servers = {}
                for name, application, programs in (
                    ("wheel", "unkept:serve", BIN),
                    ("kept", "app:serve", BIN),
                    ("built", "app:serve", given.built / "bin"),
                ):
                    servers[name] = enrol(site, cost, programs, application)
                    stack.callback(servers[name].end)
                make = partial(create, site.key)
                measures = {
                    name: partial(ask, server.port, given.seconds, 201, make) for name, server in servers.items()
                }
                rates, _ = in_turn(measures, given.rounds, 201)
                row(f"`{cost}`", f"{rates['wheel']:.1f}/s", f"{rates['kept']:.1f}/s",
                    f"{rates['kept'] / rates['wheel']:.2f}", f"{rates['built']:.1f}/s",
                    f"{rates['built'] / rates['wheel']:.2f}")  # fmt: skip


def constant(given: argparse.Namespace) -> None:
    """Print the memory of all processes each minute, for ten minutes of creates and lists at full speed."""
    head("minute", "users", "memory")
    with measured_site("sqlite") as site:
        server = enrol(site, CHEAP)
        for minute in range(11):
            [(users,)] = site.rows("SELECT count(*) FROM users")
            row(str(minute), f"{users:,}", f"{server.memory():.1f} MiB")
            if minute < 10:
                ask(server.port, 30, 201, partial(create, site.key))
                ask(server.port, 30, 200, partial(get, "/v1/user/?limit=100", site.key))


def newest(site: Site, server: Server) -> str:
    """Let users be created for a second, at least a hundred, and return the id of the last."""
    ask(server.port, 1, 201, partial(create, site.key))
    return str(site.rows("SELECT id FROM users ORDER BY id DESC LIMIT 1")[0][0])


def percentiles(tally: Tally) -> tuple[str, str]:
    """Return the median of the times and what 99 of 100 stay below."""
    return f"{tally.milliseconds(0.5):.1f} ms", f"{tally.milliseconds(0.99):.1f} ms"


def head(*cells: str) -> None:
    """Print the first lines of a table."""
    row(*cells)
    print("|---" * len(cells) + "|")


def row(*cells: str) -> None:
    """Print a line of a table."""
    print(f"| {' | '.join(cells)} |", flush=True)


TABLES = {
    "hashing": hashing,
    "requests": requests,
    "together": together,
    "overload": overload,
    "builds": builds,
    "constant": constant,
}

if __name__ == "__main__":
    main()
