"""Files of users for imports, and the sum that must hold at the end of each."""

from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskCliRunner

from support.command_line import run
from support.databases import rows

HASH = "$2b$12$abcdefghijklmnopqrstuu5r4Nfr9nYqW8EbhQ5mGzDh4c5uCdzXK"
HEADER = "email,first_name,password_hash\n"


def csv_of(*emails: str) -> str:
    """Return a CSV file of users with a hash."""
    return HEADER + "".join(f"{email},Jo,{HASH}\n" for email in emails)


def many(count: int, *, domain: str = "example.com") -> str:
    """Return a CSV file of so many users."""
    return csv_of(*(f"user{number}@{domain}" for number in range(count)))


def written(folder: Path, text: str, name: str = "staff.csv") -> str:
    """Write a file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return str(path)


def run_import(runner: FlaskCliRunner, *args: str, stdin: str | bytes = "") -> Any:
    """Run `flask users import` with consent."""
    return run(runner, "users", "import", *args, "--yes", stdin=stdin)


def check_sum(app: Flask) -> None:
    """Check that each import that has ended counts each row once, and made each user with one event."""
    for one in rows(app, "SELECT * FROM imports"):
        assert one.created + one.existing + one.rejected == one.rows_done
        assert one.state != "finished" or one.rows_done == one.rows_total
        events = rows(
            app,
            "SELECT target_id FROM audit_events WHERE request_id = :id AND action = 'user.create'",
            id=one.id,
        )
        assert len(events) == one.created
        assert len({event.target_id for event in events}) == one.created
    users = {user.id for user in rows(app, "SELECT id FROM users")}
    made = [one.target_id for one in rows(app, "SELECT target_id FROM audit_events WHERE action = 'user.create'")]
    assert sorted(users) == sorted(made)
