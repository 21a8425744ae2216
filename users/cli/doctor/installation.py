"""Checks of the machine and of what the installation keeps on it."""

import contextlib
import os
import re
import sqlite3
import stat
import sys
from importlib import metadata
from pathlib import Path

from users import __version__
from users.cli.doctor.findings import Finding, failed, ok, warning
from users.errors import Unavailable
from users.services import secret_key_checks
from users.settings import Settings
from users.storage import database

_PYTHON = (3, 11)
_SQLITE = (3, 27)  # VACUUM INTO


def check_versions() -> Finding:
    """Check the versions of Python and SQLite, and tell those of Enrol and of argon2."""
    found = (
        f"Enrol {__version__}, Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, "
        f"argon2-cffi {metadata.version('argon2-cffi')}, argon2-cffi-bindings {_bindings()}"
    )
    if sys.version_info < _PYTHON or sqlite3.sqlite_version_info < _SQLITE:
        return failed("versions", f"{found}. Use Python 3.11 and SQLite 3.27, or newer.")
    return ok("versions", found)


def _bindings() -> str:
    """Return the version and the platform of the compiled argon2: `manylinux` is a wheel, `linux` was built here."""
    bindings = metadata.distribution("argon2-cffi-bindings")
    platforms = re.findall(r"^Tag: .*-(\w+)$", bindings.read_text("WHEEL") or "", re.MULTILINE)
    return f"{bindings.version} ({platforms[-1] if platforms else 'unknown build'})"


def check_instance(folder: Path, given: Settings) -> Finding:
    """Check that other users of this machine cannot read the hashes or the secret key, or replace them."""
    subject, sqlite_file = "instance", database.sqlite_file()
    files = [given.secret_key_file] if given.secret_key_file else []
    if sqlite_file:
        files += sqlite_file.parent.glob(f"{sqlite_file.name}*")  # with -wal, -shm and the copies made before upgrades
    if not files:
        return ok(subject, "not used: DATABASE_URL and SECRET_KEY are set")
    for path, mode, others in ((folder, 0o002, "change"), *((file, 0o077, "read") for file in files)):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & mode:
            todo = f"Other users can {others} {path}. Run: chmod {'o-w' if path == folder else '600'} {path}"
            return failed(subject, todo)
    if not os.access(folder, os.W_OK):
        return failed(subject, f"This user cannot write to {folder}. Run flask as the service's user.")
    return ok(subject, f"{folder} is writable and private")


def check_secret_key(given: Settings) -> Finding:
    """Check that the key is one that the database is used with. The start has checked that it is strong."""
    place = f"in {given.secret_key_file}" if given.secret_key_file else "in SECRET_KEY"
    with contextlib.suppress(Unavailable):  # the check of the database tells it
        if not secret_key_checks.is_known():
            return failed("secret key", f"{place}. {secret_key_checks.UNKNOWN}")
    return ok("secret key", place)


def check_environment(given: Settings) -> Finding:
    """Name the variables that look like settings and are not."""
    if given.ignored_variables:
        return warning("environment", " ".join(given.ignored_variables))
    return ok("environment", "all ENROL_ variables are settings")
