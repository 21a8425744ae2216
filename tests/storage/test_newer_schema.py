"""A schema newer than the process: one that began at its own schema works on, so servers can be replaced one by one."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app import create_app
from support.api import Api, status_and_code
from support.application import CHEAP, dispose
from support.databases import execute
from users.storage import schema_version, upgrade

NOT_READY = (503, {"status": "unavailable", "reason": "schema"})
READY = (200, {"status": "ok"})


@pytest.fixture
def newer(app: Flask, api: Api) -> Iterator[Flask]:
    """A running application whose database was upgraded by a newer version: a column, a table, its number."""
    assert api.get("/readyz").status_code == 200
    execute(app, "ALTER TABLE users ADD COLUMN nickname TEXT")
    execute(app, "CREATE TABLE nicknames (nickname TEXT PRIMARY KEY)")
    execute(app, "UPDATE alembic_version SET version_num = '9999'")
    yield app
    execute(app, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)
    execute(app, "DROP TABLE nicknames")
    execute(app, "ALTER TABLE users DROP COLUMN nickname")


def readiness(api: Api) -> tuple[int, object]:
    """Return the status and the body of /readyz."""
    answer = api.get("/readyz")
    return answer.status_code, answer.json


@pytest.mark.usefixtures("newer")
def test_running_process_works_on(api: Api) -> None:
    for n in range(3):
        assert api.create(email=f"jo{n}@example.com").status_code == 201
        assert readiness(api) == READY


def test_new_process_does_not(newer: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    """It says so, and serves once the schema is its own."""
    late = create_app({**CHEAP, "DATABASE_URL": newer.config["SQLALCHEMY_DATABASE_URI"], "TESTING": True})
    stranger = Api(late.test_client(), None)
    assert not upgrade.prepare(late)
    assert schema_version.NEWER in capsys.readouterr().err
    assert readiness(stranger) == NOT_READY
    assert status_and_code(stranger.get("/v1/user/", key="ak_" + 40 * "0")) == (401, "AUTHENTICATION_REQUIRED")
    execute(newer, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)
    assert readiness(stranger) == READY
    execute(newer, "UPDATE alembic_version SET version_num = '9999'")
    assert readiness(stranger) == READY
    dispose(late)


def test_schema_that_breaks_it(newer: Flask, api: Api) -> None:
    """A process that misses what a newer version took away does not say that it is ready."""
    execute(newer, "ALTER TABLE users RENAME COLUMN first_name TO given_name")
    try:
        assert status_and_code(api.create()) == (503, "SERVICE_UNAVAILABLE")
        assert readiness(api) == NOT_READY
        assert status_and_code(api.create()) == (503, "SERVICE_UNAVAILABLE")
    finally:
        execute(newer, "ALTER TABLE users RENAME COLUMN given_name TO first_name")
    assert readiness(api) == NOT_READY
    execute(newer, "UPDATE alembic_version SET version_num = :head", head=schema_version.HEAD)
    assert readiness(api) == READY
    assert api.create().status_code == 201
