"""`flask doctor`: check what an installation needs, and say what to do where a check fails."""

import os
import sqlite3
import stat
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import click
from flask import current_app
from flask.cli import with_appcontext
from werkzeug.sansio.utils import host_is_trusted

from users import settings
from users.auth import hasher
from users.cli.command import EXIT_UNEXPECTED, Command
from users.errors import Unavailable
from users.passwords.hash_queue import Share
from users.services import user_queries
from users.settings import Settings
from users.storage import database, schema_version

_PYTHON = (3, 11)
_SQLITE = (3, 27)  # VACUUM INTO


@click.command("doctor", cls=Command)
@with_appcontext
def doctor_command() -> None:
    """Check this installation: a line each, ok or what to do."""
    findings = _check_installation()
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.subject}: {finding.words}")
    if not all(finding.ok for finding in findings):
        click.get_current_context().exit(EXIT_UNEXPECTED)


@dataclass(frozen=True)
class Finding:
    """The result of one check: `words` say what was found or, if it is not `ok`, what to do."""

    subject: str
    ok: bool
    words: str


def _check_installation() -> list[Finding]:
    """Return the results of all checks, in the order in which they are printed."""
    given = settings.current()
    return [
        _versions(),
        _database(),
        _instance(Path(current_app.instance_path), given),
        _secret_key(given),
        _administrator(),
        _hashing(given),
        _addresses(given),
    ]


def _versions() -> Finding:
    ok = sys.version_info >= _PYTHON and sqlite3.sqlite_version_info >= _SQLITE
    found = f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}"
    return Finding("versions", ok, found if ok else f"{found}. Use Python 3.11 and SQLite 3.27, or newer.")


def _database() -> Finding:
    try:
        with database.reading() as session:
            return Finding("database", True, f"{session.get_bind().dialect.name}, at {schema_version.HEAD}")
    except Unavailable as error:
        return Finding("database", False, error.hint)


def _instance(folder: Path, given: Settings) -> Finding:
    """Check that other users of this machine cannot read the hashes or the secret key, or replace them."""
    subject, sqlite_file = "instance", database.sqlite_file()
    files = [given.secret_key_file] if given.secret_key_file else []
    if sqlite_file:
        files += sqlite_file.parent.glob(f"{sqlite_file.name}*")  # with -wal, -shm and the copies made before upgrades
    if not files:
        return Finding(subject, True, "not used: DATABASE_URL and SECRET_KEY are set")
    for path, mode, others in ((folder, 0o002, "change"), *((file, 0o077, "read") for file in files)):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & mode:
            todo = f"Other users can {others} {path}. Run: chmod {'o-w' if path == folder else '600'} {path}"
            return Finding(subject, False, todo)
    if not os.access(folder, os.W_OK):
        return Finding(subject, False, f"This user cannot write to {folder}. Run flask as the service's user.")
    return Finding(subject, True, f"{folder} is writable and private")


def _secret_key(given: Settings) -> Finding:
    return Finding("secret key", True, f"in {given.secret_key_file}" if given.secret_key_file else "in SECRET_KEY")


def _administrator() -> Finding:
    try:
        count = user_queries.count_active_administrators()
    except Unavailable:
        return Finding("administrators", False, "They are in the database: mend that first.")
    if not count:
        todo = "There is none. Run: flask users create you@example.com --role role_admin"
        return Finding("administrators", False, todo)
    return Finding("administrators", True, f"{count} active")


def _hashing(given: Settings) -> Finding:
    alone = _seconds_to_hash(1, 1)
    slots, rounds = given.hash_slots, max(1, min(20, int(0.5 / alone)))  # at most a second, or one hash each
    per_second = slots * rounds / _seconds_to_hash(slots, rounds)
    found = f"argon2id {given.password_hash}, {alone * 1000:.0f} ms a hash, {per_second:.0f} a second ({slots} at once)"
    if given.password_hash.below_floor():
        return Finding("password hash", False, f"{found}. Too weak for real passwords: unset ENROL_PASSWORD_HASH.")
    return Finding("password hash", True, found)


def _seconds_to_hash(at_once: int, rounds: int) -> float:
    """Return the seconds that `at_once` threads take to hash `rounds` passwords each."""
    current = hasher.current()

    def hash_all(_number: int) -> None:
        with current.place(Share.CREATE) as place:
            for _ in range(rounds):
                place.hash("the time that this takes is the time of a sign-up")

    start = time.perf_counter()
    with ThreadPoolExecutor(at_once) as callers:
        list(callers.map(hash_all, range(at_once)))
    return time.perf_counter() - start


def _addresses(given: Settings) -> Finding:
    """Check that the settings about proxies, hosts and the public URL agree."""
    subject = "addresses"
    if given.trusted_proxies and not given.public_url:
        todo = "A proxy is trusted but the public address is not known. Set ENROL_PUBLIC_URL."
        return Finding(subject, False, todo)
    if given.public_url and given.public_url.startswith("https:") and not given.trusted_proxies:
        todo = "The public address is https, which a proxy must serve. Set ENROL_TRUSTED_PROXIES to 1."
        return Finding(subject, False, todo)
    host = urlsplit(given.public_url or "").netloc
    if host and given.trusted_hosts and not host_is_trusted(host, given.trusted_hosts):
        return Finding(subject, False, "Add the host of ENROL_PUBLIC_URL to ENROL_TRUSTED_HOSTS.")
    return Finding(subject, True, f"{given.public_url or 'no public address'}, {given.trusted_proxies} proxies trusted")
