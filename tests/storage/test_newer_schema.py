"""A schema newer than the process: one that began at its own schema works on, so servers can be replaced one by one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import create_app
from support.api import Api, status_and_code
from support.application import CHEAP, dispose
from support.databases import execute
from users import __version__
from users.storage import schema_version, upgrade

MIGRATIONS = Path(schema_version.__file__).parent / "migrations" / "versions"
FIRST = "0008"  # the rule is younger than those before
NOT_READY = (503, {"status": "unavailable", "reason": "schema"})
READY = (200, {"status": "ok", "version": __version__})


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


def calls_in_upgrade(path: Path) -> list[ast.Call]:
    """Return the calls of Alembic's operations in the upgrade of a migration."""
    (upgrading,) = (
        node
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "upgrade"
    )
    calls = [node for node in ast.walk(upgrading) if isinstance(node, ast.Call)]
    changes_nothing = ("op.get_context()", "op.execute(_LOCK)")
    return [
        call for call in calls if ast.unparse(call.func).startswith("op.") and ast.unparse(call) not in changes_nothing
    ]


@pytest.mark.parametrize(
    "path", [path for path in sorted(MIGRATIONS.glob("*.py")) if path.stem >= FIRST], ids=lambda path: path.stem
)
def test_migration_only_adds(path: Path) -> None:
    """Older servers, which do not know what it adds, still write to the tables."""
    for call in calls_in_upgrade(path):
        words = ast.unparse(call)
        assert ast.unparse(call.func) in ("op.create_table", "op.create_index", "op.add_column"), words
        assert "unique=True" not in words or "op.create_table" in words, words
        assert "op.add_column" not in words or "nullable=True" in words or "server_default" in words, words
