"""Time sign-in and `verify-password` for no password, an unknown user and a wrong password, with a factor and without.

`nice .venv/bin/python tests/bench/equal_time.py`, on a machine with nothing else to do. The tries are interleaved, each
for an email and from a network of its own, so that no limit applies. The medians must be within 15% of each other.
"""

import argparse
import itertools
import logging
import random
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from flask import Flask  # noqa: E402

from app import create_app  # noqa: E402
from support.application import CHEAP, SECRET_KEY, dispose, migrate  # noqa: E402
from support.factors import add_app  # noqa: E402
from support.password_links import invite  # noqa: E402
from support.people import make_key, make_user  # noqa: E402
from support.postgres import own_postgres, postgres_database  # noqa: E402
from support.visitors import LOGIN, Visitor  # noqa: E402
from users.roles import Permission  # noqa: E402

CASES = ("wrong password", "with a factor", "unknown", "no password")
HASHES = {"default": {"SECRET_KEY": SECRET_KEY}, "cheapest": CHEAP}
WRONG = "wrong horse battery"
WITHIN = 0.15
Try = Callable[[str, str], None]


def main() -> None:
    """Print the medians of each door, hash and database, and end with 1 if any two differ too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=40, help="of each case")
    tries = parser.parse_args().tries
    print("| door | hash | database | wrong password | with a factor | unknown | no password | apart |")
    print("|---|---|---|---|---|---|---|---|")
    apart = []
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        server = stack.enter_context(own_postgres())
        for hash_name, given in HASHES.items():
            urls = {
                "sqlite": f"sqlite:///{folder}/{hash_name}.db",
                "postgres": stack.enter_context(postgres_database(str(server.get_uri()))),
            }
            for database, url in urls.items():
                migrate(url)
                app = create_app({**given, "DATABASE_URL": url, "ENROL_RATE_LIMIT": "off"})
                logging.getLogger("enrol").setLevel(logging.WARNING)  # no line for each request
                for door, attempt in (("sign-in", sign_in(app)), ("verify-password", verify(app))):
                    medians = measure(app, door, attempt, tries)
                    apart.append(max(medians) / min(medians) - 1)
                    cells = [f"{1000 * median:.2f} ms" for median in medians]
                    print("|", " | ".join([door, hash_name, database, *cells, f"{apart[-1]:.1%}"]), "|", flush=True)
                dispose(app)
    sys.exit(max(apart) > WITHIN)


def measure(app: Flask, door: str, attempt: Try, tries: int) -> list[float]:
    """Return the median of each of CASES."""
    emails = {case: [f"{number}@{door}{case[:2]}.example.com" for number in range(tries)] for case in CASES}
    for email in emails["wrong password"]:
        make_user(app, email)
    for email in emails["with a factor"]:
        add_app(app, make_user(app, email))
    with app.app_context():
        for email in emails["no password"]:
            invite(email)
    taken: dict[str, list[float]] = {case: [] for case in CASES}
    networks = (f"10.{number // 250}.{number % 250}.1" for number in itertools.count())
    for number in range(3):
        attempt(f"{number}@warm.example.com", next(networks))
    for number in range(tries):
        for case in random.sample(CASES, len(CASES)):  # the one after the other in any order
            start = time.perf_counter()
            attempt(emails[case][number], next(networks))
            taken[case].append(time.perf_counter() - start)
    return [statistics.median(taken[case]) for case in CASES]


def sign_in(app: Flask) -> Try:
    """Return what tries a wrong password at the sign-in page."""
    client = app.test_client()
    token = Visitor(client).token(LOGIN)

    def attempt(email: str, network: str) -> None:
        data = {"email": email, "password": WRONG, "csrf_token": token}
        answer = client.post(LOGIN, data=data, environ_base={"REMOTE_ADDR": network})
        assert answer.status_code == 422, answer.text

    return attempt


def verify(app: Flask) -> Try:
    """Return what tries a wrong password by the API."""
    client, headers = app.test_client(), {"X-API-Key": make_key(app, *Permission)}

    def attempt(email: str, network: str) -> None:
        body = {"email": email, "password": WRONG, "ip_address": network}
        answer = client.post("/v1/user/verify-password", json=body, headers=headers)
        assert answer.json == {"valid": False}, answer.text

    return attempt


if __name__ == "__main__":
    main()
