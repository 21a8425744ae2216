"""Restart two hosts behind nginx one after the other under load: `.venv/bin/python tests/faults/rolling.py`.

Each create must be answered with 201, and its user must be there once.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from faults.load import Load  # noqa: E402  (the path is set first)
from support.application import app_on  # noqa: E402
from support.databases import rows  # noqa: E402
from support.installations import Installation, installed  # noqa: E402
from support.nginx import proxied  # noqa: E402
from support.people import make_key  # noqa: E402
from support.postgres import own_postgres  # noqa: E402
from support.servers import START_SECONDS, Server  # noqa: E402
from users.roles import Permission  # noqa: E402

SETTINGS = {"ENROL_RATE_LIMIT": "1000000/second", "ENROL_TRUSTED_PROXIES": "1"}  # one key creates them all


def roll(here: Installation, folder: Path, *, rounds: int, clients: int, kind: str) -> Counter[str]:
    """Restart each of two hosts `rounds` times; return how many answers of each kind came, and users are wrong."""
    with app_on(here) as app:
        key = make_key(app, Permission.USERS_CREATE)
        hosts = here.start(kind, kind)
        with (
            proxied(folder / "nginx", *(host.port for host in hosts)) as nginx,
            Load(nginx.port, key, clients, nginx.context) as load,
        ):
            time.sleep(0.2)
            for _ in range(rounds):
                hosts = [restart(here, host) for host in hosts]
            time.sleep(0.2)
        created = sorted((one.user_id or "", one.email) for one in load.created())
        there = sorted(map(tuple, rows(app, "SELECT id, email FROM users")))
    wrong = len(set(there) ^ set(created)) + len(there) - len(set(there))
    return Counter(f"{one.status} {one.error}".strip() for one in load.answers) + Counter({"wrong users": wrong})


def restart(here: Installation, host: Server) -> Server:
    """Stop a host as systemd does and start it again; return when it answers."""
    host.process.send_signal(signal.SIGTERM)
    host.process.wait(START_SECONDS)
    line = host.process.args
    assert isinstance(line, list)
    return here.launch(line, host.port)


def main() -> None:
    """Print what came of the restarts on a Postgres, and end with 1 if it is anything but users created."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25, help="restarts of each host")
    rounds = parser.parse_args().rounds
    with TemporaryDirectory(prefix="enrol-rolling-") as folder, own_postgres() as postgres:
        settings = {**SETTINGS, "DATABASE_URL": postgres.get_uri()}
        with installed(Path(folder) / "enrol", settings) as here:
            answers = roll(here, Path(folder), rounds=rounds, clients=8, kind="production")
    print(f"{2 * rounds} restarts: {dict(answers)}")
    sys.exit(set(answers) != {"201"})


if __name__ == "__main__":
    main()
