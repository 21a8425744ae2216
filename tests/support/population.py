"""Thousands or millions of users, written straight into the tables, distributed as real ones are."""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from users.roles import Role
from users.rules import search_keys

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
EVERY = timedelta(seconds=150)  # a million of them until 2024
DOMAINS = ["example.com", "gmail.com", "outlook.com", "müller.example", *[f"firm{n}.example.net" for n in range(2000)]]
FIRST_NAMES = ["Maria", "Anna", "James", "Mohammed", "Wei", "José", "Ann", "سام", *[f"Name{n}" for n in range(500)]]
LAST_NAMES = ["Smith", "Müller", "García", "Nguyen", "Li", "O'Neil", "Amari", *[f"Family{n}" for n in range(5000)]]
RARE = ("Xenia", "Quintero")  # of one user, in the middle
HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$" + "c2FsdHNhbHRzYWx0c2FsdA$" + "aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
)  # opens nothing
USER_COLUMNS = (
    "id, email, email_key, first_name, last_name, password_hash, is_active, created_at, updated_at, deleted_at, "
    "last_verified, last_login, global_role_id, "
    "search_email, search_domain, search_parents, search_name, search_last_name"
)
ROLES = {5: Role.ADMIN, 511: Role.OPERATOR, 1_013: Role.AUDITOR}  # of each 10,000 users; of each 50, one is a member
AUDIT_COLUMNS = "id, at, action, outcome, actor_kind, target_id, fields, request_id"


def middle_id(number: int) -> str:
    """Return the id of the user in the middle of `number`."""
    return _id("usr", number // 2)


def _id(prefix: str, number: int) -> str:
    milliseconds = int((FIRST + number * EVERY).timestamp() * 1000)
    return f"{prefix}_{milliseconds:012x}7{0:03x}8{number:015x}"


def users(number: int) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of `number` users: few names and domains are common; 1% is deactivated, half as many deleted.

    Of a hundred, about 70 are verified, 3 have no password and 40 have never signed in, whatever else they are.
    """
    domains, first_names, last_names = (_drawn(names, number) for names in (DOMAINS, FIRST_NAMES, LAST_NAMES))
    for n, domain, first, last in zip(range(number), domains, first_names, last_names, strict=False):
        if n == number // 2:
            first, last = RARE
        email = f"{first}.{last}{n}@{domain}".lower().replace("'", "")
        at = FIRST + n * EVERY
        deleted = at if n % 200 == 7 else None
        active = deleted is None and n % 100 != 3
        password_hash = "" if n * 7 % 103 < 3 else HASH
        verified = at if n * 37 % 101 < 70 else None
        signed_in = at + EVERY if password_hash and n * 53 % 107 < 66 else None
        role = ROLES.get(n % 10_000, Role.MEMBER if n % 50 == 17 else None)
        more = (at, at, deleted, verified, signed_in, role)
        keys = search_keys.keys(_id("usr", n), email, first, last).values()
        yield (_id("usr", n), email, email, first, last, password_hash, active, *more, *keys)


def _drawn(names: list[str], number: int) -> list[str]:
    """Return `number` of the names, each drawn as often as its place in the list says (Zipf's law), always the same."""
    weights = [1 / (place + 1) for place in range(len(names))]
    return random.Random(number).choices(names, weights, k=number)  # noqa: S311  (no secret)


def events(number: int) -> Iterator[tuple[Any, ...]]:
    """Yield the audit rows of their creation."""
    fields = json.dumps(["email", "first_name", "last_name", "password"])
    for n in range(number):
        at = FIRST + n * EVERY
        yield (_id("evt", n), at, "user.create", "ok", "terminal", _id("usr", n), fields, f"req_{n:016x}")


def populate(database_url: str, number: int) -> None:
    """Put the users and their audit rows into the migrated database at `database_url`."""
    tables = (("users", USER_COLUMNS, users(number)), ("audit_events", AUDIT_COLUMNS, events(number)))
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as file, file:
            file.execute("PRAGMA cache_size = -1000000")  # kibibytes: the indexes are filled in no order
            for table, columns, rows in tables:
                marks = ", ".join("?" * (columns.count(",") + 1))
                file.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", map(_for_sqlite, rows))
        return
    with psycopg.connect(database_url, autocommit=True) as connection:
        for table, columns, rows in tables:
            with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        connection.execute("VACUUM ANALYZE")  # as autovacuum does by itself, a minute later


def _for_sqlite(row: tuple[Any, ...]) -> list[Any]:
    return [f"{value:%Y-%m-%d %H:%M:%S.%f}" if isinstance(value, datetime) else value for value in row]
