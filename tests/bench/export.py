"""Time an export, and its memory, of a few and of many users: `nice .venv/bin/python tests/bench/export.py`.

The targets on an idle machine: 25,000 users a second or more, and no more than 20 MiB between the two peaks.
`--few` and `--many` say how many users; `--postgres` measures there in place of SQLite.
"""

import argparse
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__)
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parents[2])]

from support import population  # noqa: E402
from support.application import migrate  # noqa: E402
from support.postgres import own_postgres, postgres_database  # noqa: E402

LEAST_PER_SECOND = 25_000
MOST_MEBIBYTES = 20
# In a process of its own, whose memory is that of one export.
MEASURED = """
import resource, sys, time
from app import create_app
from support.application import CHEAP
from users.actors import terminal
from users.bulk import export
app = create_app({**CHEAP, "DATABASE_URL": sys.argv[1], "ENROL_SPOOL_DIR": sys.argv[2]})
with app.app_context():
    wanted, actor = export.Wanted(with_hashes=True), terminal("req_test00000000")
    export.spool(export.Wanted(nobody=True), actor=actor).file.close()  # what is loaded once
    start, cpu = time.perf_counter(), time.process_time()
    made = export.spool(wanted, actor=actor)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    users = sum(1 for _ in made.file) - 1
    made.file.close()
    print(users, seconds, cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measure(database_url: str, folder: str) -> tuple[float, float, float]:
    """Export all users; print the figures and return the seconds, those of this process alone, and its peak in MiB."""
    line = [sys.executable, "-c", MEASURED, database_url, folder]
    path = {"PYTHONPATH": f"{HERE.parents[1]}:{HERE.parents[2]}"}
    told = subprocess.run(line, capture_output=True, text=True, check=True, env=path).stdout
    users, seconds, cpu, peak = map(float, told.split())
    rates = f"{users / seconds:9,.0f} users/s, {users / cpu:9,.0f} for each second of its own"
    print(f"{users:9,.0f} users: {seconds:6.1f} s, {rates}, peak {peak:5.0f} MiB", flush=True)
    return users / seconds, users / cpu, peak


def main() -> int:
    """Measure among few and among many; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--postgres", action="store_true")
    given = parser.parse_args()
    figures = []
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        server = stack.enter_context(own_postgres()).get_uri() if given.postgres else ""
        for number in (given.few, given.many):
            url = f"sqlite:///{folder}/{number}.db"
            if given.postgres:
                url = stack.enter_context(postgres_database(server))
            migrate(url)
            population.populate(url, number)
            figures.append(measure(url, folder))
    (_, _, small), (rate, _, large) = figures
    missed = rate < LEAST_PER_SECOND or large - small > MOST_MEBIBYTES
    print("missed" if missed else "met")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
