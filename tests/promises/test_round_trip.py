"""Exported, imported into an empty instance with the ids kept, and exported again: the same file to the byte.

But for `updated_at` and `last_login`, which an import does not take: the test gives them to the second instance.
"""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, select, update

from app import create_app
from support.application import CHEAP, dispose
from users import clock, ids
from users.roles import Role
from users.rules import emails
from users.rules.search_keys import keys
from users.storage import database
from users.storage.models import Status, User
from users.storage.models.segments import segment_of

OWN = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
BCRYPT = "$2b$12$" + "abcdefghijklmnopqrstuu" + "abcdefghijklmnopqrstuvwxyzABCDE"
PBKDF2 = "pbkdf2_sha256$600000$c2FsdHNhbHQ$" + "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY="
# Email, first name, last name, password hash and its make, role, whether active and verified.
PEOPLE = [
    ("ada@example.com", "Ada", "Lovelace", OWN, None, Role.ADMIN, True, True),
    ("=cmd|x@example.com", '=1+1,"x"', "@SUM", OWN, None, None, True, False),
    ("'=quoted@example.com", "'=1", "''+2", OWN, None, None, False, True),
    ("o'neil@example.com", "'Tip", 'O\'Neil, "jr"', BCRYPT, "bcrypt-12", Role.OPERATOR, True, True),
    ("jo@müller-bücher.de", "Zoë", "王小明", PBKDF2, "pbkdf2-sha256-600000", None, True, False),
    ("none@example.com", None, None, "", None, None, True, False),
    ("rtl@example.com", "سام", "-1", OWN, None, Role.MEMBER, False, False),
]


@pytest.fixture
def other(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Flask]:
    """Another instance, which is empty."""
    shutil.copy(migrated_sqlite, tmp_path / "other.db")
    given = {"DATABASE_URL": f"sqlite:///{tmp_path}/other.db", "ENROL_SPOOL_DIR": str(tmp_path / "other")}
    app = create_app({**CHEAP, **given, "TESTING": True})
    yield app
    dispose(app)


@pytest.fixture
def everybody(app: Flask) -> None:
    """The people, in the order of their ids."""
    with app.app_context(), database.transaction() as session:
        for number, (text, first, last, password_hash, make, role, active, verified) in enumerate(PEOPLE):
            at = clock.now() - timedelta(days=100 - number, microseconds=7)
            email, user_id = emails.possible_emails(text)[0], ids.first("usr", at)[:16] + f"7{number:03x}8" + "0" * 15
            status = Status.ACTIVE if active else Status.DEACTIVATED
            row: dict[str, Any] = {
                "id": user_id,
                "email": email.text,
                "email_key": email.key,
                "first_name": first,
                "last_name": last,
            }
            row |= {"password_hash": password_hash, "password_make": make, "global_role_id": role, "is_active": active}
            row |= {"created_at": at, "updated_at": at + timedelta(days=1), "last_verified": at if verified else None}
            row |= {"last_login": at if number % 2 else None, **keys(user_id, email.text, first, last)}
            segment = segment_of(status, verified=verified, has_password=bool(password_hash))
            session.execute(insert(User), [{**row, "segment": segment}])


def export(app: Flask, file: Path) -> bytes:
    """Return the bytes of an export with hashes."""
    form = file.suffix.removeprefix(".")
    result = app.test_cli_runner().invoke(args=["users", "export", str(file), "--with-hashes", "--format", form])
    assert result.exit_code == 0, result.stderr
    return file.read_bytes()


def copy_what_no_import_takes(app: Flask, other: Flask) -> None:
    """Give the times of changes and sign-ins to the other instance."""
    with app.app_context(), database.reading() as session:
        times = session.execute(select(User.id, User.updated_at, User.last_login)).all()
    with other.app_context(), database.transaction() as session:
        for user_id, updated_at, last_login in times:
            here = update(User).where(User.id == user_id)
            session.execute(here.values(updated_at=updated_at, last_login=last_login))


@pytest.mark.usefixtures("everybody")
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_round_trip(app: Flask, other: Flask, tmp_path: Path, form: str) -> None:
    first = export(app, tmp_path / f"first.{form}")
    assert first.count(b"\n") == len(PEOPLE) + (form == "csv")
    line = ["users", "import", str(tmp_path / f"first.{form}"), "--keep-ids", "--no-password", "--yes"]
    result = other.test_cli_runner().invoke(args=line)
    assert result.exit_code == 0, result.stderr
    copy_what_no_import_takes(app, other)
    assert export(other, tmp_path / f"second.{form}") == first
    with other.app_context(), database.reading() as session:
        makes = set(session.scalars(select(User.password_make)))
    assert makes == {None, "argon2id-65536-3-4", "bcrypt-12", "pbkdf2-sha256-600000"}
