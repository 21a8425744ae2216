"""Update a service under load without downtime: `.venv/bin/python tests/faults/update.py`, on Postgres.

Two hosts of the older version serve. The newer version upgrades their database, then takes the place of one host after
another. This is done twice: from the last commit before the newest migration to this code, and from this code to a
version with one migration more, which the program makes up.
"""

import argparse
import contextlib
import http.client
import io
import itertools
import json
import re
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

import psycopg  # noqa: E402  (the path is set first)

from faults.load import Clients  # noqa: E402
from faults.site import CHECKS  # noqa: E402
from support.installations import Installation, installed  # noqa: E402
from support.postgres import own_postgres  # noqa: E402
from support.servers import REPOSITORY, Server  # noqa: E402
from users.storage.schema_version import HEAD  # noqa: E402

CLIENTS = 8
PAUSE_SECONDS = 0.03  # of a client after each answer, so that the commands beside them find a core
MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "{new}", "{head}", None, None


def upgrade():
    op.add_column("users", sa.Column("nickname", sa.Text, nullable=True))
    op.create_table("nicknames", sa.Column("nickname", sa.Text, primary_key=True))
    op.create_index("ix_users_nickname", "users", ["nickname"])


def downgrade():
    op.drop_index("ix_users_nickname", "users")
    op.drop_table("nicknames")
    op.drop_column("users", "nickname")
"""


class Balancer(Clients):
    """Clients that create users on one server after another, as a proxy would send them, and a probe of each server.

    A connection that is refused costs nothing: the next server is asked.
    """

    def __init__(self, key: str, servers: list[Server]) -> None:
        super().__init__(CLIENTS)
        self.servers = servers
        self.answers: Counter[str] = Counter()
        self.created: dict[str, str] = {}
        self.probes: Counter[str] = Counter()
        self._key = key
        self._turns = itertools.count()

    def probe(self, servers: list[Server], name: str) -> None:
        """Ask each of the servers whether it is ready, and count the answers under `name`."""
        for server in servers:
            told = server.call("GET", "/readyz")
            self.probes[f"{name}: {told.status} {told.json.get('reason', '')}".strip()] += 1

    def _act(self) -> None:
        email = f"{uuid.uuid4().hex}@example.com"
        body = json.dumps({"email": email, "password": "three random words"})
        servers = self.servers
        first = next(self._turns)
        for n in range(len(servers)):
            with contextlib.suppress(ConnectionRefusedError):
                self._note(email, *self._ask(servers[(first + n) % len(servers)], body))
                break
        else:
            self.answers["no server"] += 1
        time.sleep(PAUSE_SECONDS)

    def _ask(self, server: Server, body: str) -> tuple[str, str]:
        with contextlib.closing(server.keep()) as connection:
            connection.connect()
            try:
                headers = {"X-API-Key": self._key, "Content-Type": "application/json"}
                connection.request("POST", "/v1/user/", body, headers)
                answer = connection.getresponse()
                told = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                return type(error).__name__, ""
        later = " with Retry-After" if answer.headers["Retry-After"] else ""
        return f"{answer.status}{later}", told.get("id", "")

    def _note(self, email: str, told: str, user_id: str) -> None:
        self.answers[told] += 1
        if told == "201":
            self.created[user_id] = email


def main() -> None:
    """Update twice, print what came of each, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--from", dest="commit", default="", help="the older version; else that before the newest migration"
    )
    parser.add_argument("--seconds", type=float, default=5, help="of each step")
    parser.add_argument("--abruptly", action="store_true", help="stop a host while it still gets requests")
    given = parser.parse_args()
    wrong = False
    with TemporaryDirectory(prefix="enrol-update-", ignore_cleanup_errors=True) as folder:
        before, after = Path(folder) / "before", Path(folder) / "after"
        _write_commit(given.commit or _before_newest_migration(), before)
        _write_next_version(after)
        for name, old, new in (("from before", before, REPOSITORY), ("to a next version", REPOSITORY, after)):
            found = update(Path(folder) / name, old, new, given.seconds, drain=not given.abruptly)
            print(name, *found, sep="\n  ", flush=True)
            wrong |= any(line.startswith("WRONG") for line in found)
    sys.exit(wrong)


def _before_newest_migration() -> str:
    """Return the last commit that does not have the newest migration."""
    versions = "users/storage/migrations/versions"
    (migration,) = (REPOSITORY / versions).glob(f"{HEAD}_*.py")
    added = _git("log", "--diff-filter=A", "--format=%H", "--", f"{versions}/{migration.name}").decode().split()
    return f"{added[-1]}~"


def _write_commit(commit: str, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as archive:
        archive.extractall(folder, filter="data")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=True).stdout


def _write_next_version(folder: Path) -> None:
    """Write this code with one migration more, which adds a column, a table and an index."""
    for name in ("users", "templates", "static"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "app.py", folder)
    new = f"{int(HEAD) + 1:04}"
    storage = folder / "users" / "storage"
    (storage / "migrations" / "versions" / f"{new}_next.py").write_text(MIGRATION.format(new=new, head=HEAD))
    known = storage / "schema_version.py"
    known.write_text(known.read_text().replace(f'HEAD = "{HEAD}"', f'HEAD = "{new}"'))


def update(folder: Path, old: Path, new: Path, seconds: float, *, drain: bool) -> list[str]:
    """Update two hosts from the code in `old` to that in `new` under load, and return what came of it."""
    with own_postgres() as postgres, contextlib.ExitStack() as stack:
        url = str(postgres.get_uri())
        given = {"DATABASE_URL": url, "SECRET_KEY": secrets.token_hex(32), "ENROL_RATE_LIMIT": "off"}
        older, newer = (
            stack.enter_context(installed(folder / name, given, source))
            for name, source in (("old", old), ("new", new))
        )
        _flask(older, "db", "upgrade")
        key = _flask(older, "keys", "create", "load", "--scope", "users:create").strip()
        hosts = older.start("granian", "granian")
        with Balancer(key, hosts) as load:
            _watch(load, hosts, "old, before the upgrade", seconds)
            _flask(newer, "db", "upgrade")
            _watch(load, hosts, "old, after the upgrade", seconds)
            for host in hosts:
                (successor,) = newer.start("granian")
                load.servers = [*load.servers, successor]
                if drain:
                    load.servers = [one for one in load.servers if one is not host]
                    time.sleep(1)
                host.process.terminate()
                host.process.wait(20)
                load.servers = [one for one in load.servers if one is not host]
                _watch(load, [one for one in hosts if one in load.servers], "old, beside the new", seconds)
                _watch(load, [one for one in load.servers if one not in hosts], "new", seconds)
        known = (old / "users" / "storage" / "schema_version.py").read_text()
        found = list(_reckon(load, url, stays_ready="was_at_head" in known))
        newer.end()
        _flask(newer, "db", "downgrade", re.findall(r'HEAD = "(\d+)"', known)[0])
        (back,) = older.start("granian")
        readiness = back.call("GET", "/readyz").status
        return [*found, f"rolled back: /readyz {readiness}", *(["WRONG: not rolled back"] if readiness != 200 else [])]


def _flask(host: Installation, *arguments: str) -> str:
    done = host.flask(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _watch(load: Balancer, servers: list[Server], name: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        load.probe(servers, name)
        time.sleep(0.1)


def _reckon(load: Balancer, url: str, *, stays_ready: bool) -> Iterator[str]:
    """Yield the figures, and a line for everything that is wrong.

    Versions before schema 0008 say that they are not ready on a newer schema, although they work.
    """
    with psycopg.connect(url) as connection:
        there: dict[str, str] = dict(connection.execute("SELECT id, email FROM users").fetchall())
        halves = {name: len(connection.execute(query.encode()).fetchall()) for name, query in CHECKS.items()}
    yield f"answers: {dict(load.answers)}"
    yield f"/readyz: {dict(load.probes)}"
    lost = [one for one in load.created if there.get(one) != load.created[one]]
    yield f"{len(load.created):,} users created, {len(lost)} lost, {len(there) - len(load.created)} more than told"
    bad = {told for told in load.answers if told not in ("201", "503 with Retry-After")}
    unready = {told for told in load.probes if "200" not in told and (stays_ready or told.startswith("new"))}
    for what in (lost, bad, unready, {name for name, count in halves.items() if count}):
        if what:
            yield f"WRONG: {what}"


if __name__ == "__main__":
    main()
