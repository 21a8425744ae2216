"""The application in the tests' process: cheap settings, migration, closing its connections."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import Engine
from werkzeug.routing import Rule

from app import create_app
from support.installations import Installation
from users.storage.models import db

SECRET_KEY = uuid.uuid4().hex + uuid.uuid4().hex
# The cheapest argon2id there is: tests state rules, benchmarks measure.
CHEAP = {"ENROL_PASSWORD_HASH": "m=8,t=1,p=1", "ENROL_PASSWORD_HASH_UNSAFE": "1", "SECRET_KEY": SECRET_KEY}
WITHOUT_DATABASE = {**CHEAP, "DATABASE_URL": "sqlite:////nowhere/enrol.db", "TESTING": True}

# Werkzeug compiles every rule anew for every application, which is most of what it costs to make one.
_compile = Rule.compile
_compiled: dict[str, dict[str, Any]] = {}


def _compile_once(rule: Rule) -> None:
    """Compile `rule`, or take what the first rule of this text came to; none of ours has hosts or defaults."""
    if rule.rule not in _compiled:
        _compile(rule)
        made = ("_parts", "_trace", "_converters", "_build", "_build_unknown", "arguments")
        _compiled[rule.rule] = {name: getattr(rule, name) for name in made}
    vars(rule).update(_compiled[rule.rule])


Rule.compile = _compile_once  # type: ignore[assignment, method-assign]

_statements: dict[Any, Any] = {}


def share_statements(engine: Engine) -> None:
    """Let all engines of a driver share their compiled SQL: compiling it again for each test is a quarter of its time.

    SQLAlchemy's key of a compiled statement holds the engine's dialect, which is therefore equal to its like.
    """
    kind: Any = type(engine.dialect)
    kind.__hash__, kind.__eq__ = (lambda one: hash(type(one))), (lambda one, other: type(one) is type(other))
    engine.update_execution_options(compiled_cache=_statements)


def migrate(database_url: str) -> None:
    """Bring the database at `database_url` to the newest schema, as `flask db upgrade` does."""
    app = create_app({**CHEAP, "DATABASE_URL": database_url})
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    dispose(app)


def dispose(app: Flask) -> None:
    """Close the application's connections, once no clean-up uses one: a test of ten seconds starts it."""
    for thread in threading.enumerate():
        if thread.name == "cleanup":
            thread.join(10)
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@contextmanager
def app_on(installation: Installation) -> Iterator[Flask]:
    """An application in this process on the database of an installation: a command would take a second."""
    database_url = installation.environment.get("DATABASE_URL") or f"sqlite:///{installation.instance}/enrol.db"
    migrate(database_url)
    app = create_app({**CHEAP, "DATABASE_URL": database_url})
    yield app
    dispose(app)
