"""Files without an import: an upload that `kill -9` has cut short is removed, one that still arrives stays."""

import os
import time
from pathlib import Path

import pytest
from flask import Flask

from support.imports import upload
from support.people import Cast, as_actor
from users import ids
from users.bulk.imports import cleaning, spool

pytestmark = pytest.mark.one_database


def without_import(app: Flask, suffix: str = spool.FILE, *, seconds_old: float = 120) -> Path:
    """Write a file that belongs to no import, as a process leaves it that is killed while it takes in a file."""
    with app.app_context(), spool.create(ids.new_id("imp"), suffix) as file:
        file.write(b"email\nann@exa")
    found = Path(str(file.name))
    at = time.time() - seconds_old
    os.utime(found, (at, at))
    return found


@pytest.mark.parametrize("suffix", [spool.FILE, spool.REJECTS, spool.PREVIEW])
def test_killed_upload(app: Flask, suffix: str) -> None:
    left = without_import(app, suffix)
    with app.app_context():
        cleaning.clean()
    assert not left.exists()


def test_young_file_stays(app: Flask) -> None:
    """Its process may not have locked it yet."""
    young = without_import(app, seconds_old=5)
    with app.app_context():
        cleaning.clean()
    assert young.exists()


def test_file_that_arrives_stays(app: Flask) -> None:
    """Its process holds the lock, however long nothing has come."""
    arriving = without_import(app)
    with app.app_context():
        with spool.locked(arriving.stem):
            os.utime(arriving, (1e9, 1e9))
            cleaning.clean()
            assert arriving.exists()
        cleaning.clean()
    assert not arriving.exists()


def test_file_of_an_import_stays(app: Flask, cast: Cast) -> None:
    job = upload(app, as_actor(app, cast.ada))
    with app.app_context():
        file = spool.path(job.id, spool.FILE)
        os.utime(file, (1e9, 1e9))
        cleaning.clean()
    assert file.exists()
