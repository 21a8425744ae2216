"""The short form of `imports.py`: an import that is killed goes on, and each row has one fate."""

import contextlib
import signal
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from faults.imports import ENDED, Rows, Staff, complaints, run, start
from support.application import SECRET_KEY
from support.installations import installed


def reader(url: str) -> Rows:
    """Return what reads from the database without the service."""

    def on_sqlite(query: str) -> Sequence[Any]:
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def on_postgres(query: str) -> Sequence[Any]:
        with psycopg.connect(url) as connection:
            return connection.execute(query.encode()).fetchall()

    return on_sqlite if url.startswith("sqlite") else on_postgres


def test_a_killed_import_goes_on(database_url: str, tmp_path: Path) -> None:
    """It was killed in the middle, with batches committed and rows left."""
    rows, staff = reader(database_url), Staff(tmp_path, "killed", 2500)
    settings = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY, "ENROL_SPOOL_DIR": str(tmp_path / "spool")}
    with installed(tmp_path / "enrol", settings) as made:
        process = start(made, staff)
        while process.poll() is None and not rows("SELECT 1 FROM imports WHERE rows_done > 0"):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        ((done, state),) = rows("SELECT rows_done, state FROM imports")
        assert 0 < done < staff.count
        assert state == "running"
        code, said, _seconds = run(made, staff)
    assert code in ENDED, said
    assert "Going on with imp_" in said
    assert list(complaints(rows, staff)) == []
    assert list((tmp_path / "spool").glob("imp_*")) == []
