"""Time sign-in and `verify-password` for no password, an unknown user and a wrong password, with a factor and without.

`nice .venv/bin/python tests/bench/equal_time.py`, on a machine with nothing else to do. The tries are interleaved, each
for an email and from a network of its own, so that no limit applies. The medians must be within 15% of each other.

With `--imported` a third of the users have a hash of bcrypt, a third one of PBKDF2, and a third one of ours: the times
of 60 known and of 60 unknown emails must not be told apart by a test of Kolmogorov and Smirnov (p > 0.01).
"""

import argparse
import itertools
import logging
import math
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
from support.foreign_hashes import bcrypt_of, give_hash, pbkdf2_of  # noqa: E402
from support.password_links import invite  # noqa: E402
from support.people import make_key, make_user  # noqa: E402
from support.postgres import own_postgres, postgres_database  # noqa: E402
from support.visitors import LOGIN, Visitor  # noqa: E402
from users.auth import decoys  # noqa: E402
from users.roles import Permission  # noqa: E402

CASES = ("wrong password", "with a factor", "unknown", "no password")
HASHES = {"default": {"SECRET_KEY": SECRET_KEY}, "cheapest": CHEAP}
WRONG = "wrong horse battery"
WITHIN = 0.15
LEAST_P = 0.01
EMAILS = 60  # known ones, and as many unknown ones
Try = Callable[[str, str], None]


def main() -> None:
    """Compare, print, and end with 1 if what must be alike is not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=40, help="of each case")
    parser.add_argument("--imported", action="store_true", help="with hashes of other systems")
    given = parser.parse_args()
    sys.exit(compare_imported() if given.imported else compare(given.tries))


def compare(tries: int) -> bool:
    """Print the medians of each door, hash and database, and tell whether any two differ too much."""
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
    return max(apart) > WITHIN


def compare_imported() -> bool:
    """Print the times of known and unknown emails at each door and database, and tell whether any can be told apart."""
    print("| door | database | known | unknown | D | p |\n|---|---|---|---|---|---|")
    found = []
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        server = stack.enter_context(own_postgres())
        postgres = stack.enter_context(postgres_database(str(server.get_uri())))
        for database, url in {"sqlite": f"sqlite:///{folder}/imported.db", "postgres": postgres}.items():
            migrate(url)
            app = create_app({"SECRET_KEY": SECRET_KEY, "DATABASE_URL": url, "ENROL_RATE_LIMIT": "off"})
            logging.getLogger("enrol").setLevel(logging.WARNING)
            for door, attempt in (("sign-in", sign_in(app)), ("verify-password", verify(app))):
                known, unknown = measure_imported(app, door, attempt)
                apart, p = kolmogorov_smirnov(known, unknown)
                found.append(p)
                medians = [f"{1000 * statistics.median(one):.0f} ms" for one in (known, unknown)]
                print("|", " | ".join([door, database, *medians, f"{apart:.2f}", f"{p:.2f}"]), "|", flush=True)
            dispose(app)
    return min(found) <= LEAST_P


def measure_imported(app: Flask, door: str, attempt: Try) -> tuple[list[float], list[float]]:
    """Return the times of known and of unknown emails, tried one after the other in any order."""
    known = [f"{number}@{door}.example.com" for number in range(EMAILS)]
    for number, email in enumerate(known):
        make_user(app, email)
        if number % 3:
            give_hash(app, email, bcrypt_of(cost=12) if number % 3 == 1 else pbkdf2_of(600_000))
    with app.app_context():
        decoys.refresh()
    unknown = [f"{number}@{door}.example.net" for number in range(EMAILS)]
    networks = (f"10.{number // 250}.{number % 250}.2" for number in itertools.count())
    for number in range(3):
        attempt(f"{number}@warm.example.com", next(networks))
    taken = {}
    for email in random.sample(known + unknown, 2 * EMAILS):
        start = time.perf_counter()
        attempt(email, next(networks))
        taken[email] = time.perf_counter() - start
    return [taken[email] for email in known], [taken[email] for email in unknown]


def kolmogorov_smirnov(first: list[float], second: list[float]) -> tuple[float, float]:
    """Return the greatest distance of the two distributions, and how likely chance alone makes it (asymptotic)."""
    apart = max(
        abs(sum(one <= at for one in first) / len(first) - sum(one <= at for one in second) / len(second))
        for at in first + second
    )
    root = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    scaled = (root + 0.12 + 0.11 / root) * apart
    p = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return apart, min(1.0, max(0.0, p)) if scaled > 0.2 else 1.0  # the sum does not converge for less


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
