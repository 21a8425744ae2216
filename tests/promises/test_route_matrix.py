"""Who is answered what, everywhere: a row for every route, a column for everybody. A route without a row fails.

Under /v1 each sends a key of their own that has every scope; on the pages each has a session. Forms and bodies are sent
with nothing in them: 401 and 403 say that nobody looked at it, any other answer that somebody was let in.
"""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from support.api import Answer
from support.databases import execute, rows
from support.people import Cast, make_key, make_user
from support.visitors import Visitor, signed_in, token_in
from users import clock
from users.roles import Permission, Role
from users.storage.models import User

# member: without a role. expired: an administrator whose key or session is over. stopped: an administrator who was
# deactivated while signed in.
TABLE = """
method route                              nobody member auditor operator administrator expired stopped
GET    /                                   303      303     303      303           303     303     303
GET    /static/<filename>                  200      200     200      200           200     200     200
GET    /healthz                            200      200     200      200           200     200     200
GET    /readyz                             200      200     200      200           200     200     200
GET    /favicon.ico                        200      200     200      200           200     200     200
GET    /robots.txt                         200      200     200      200           200     200     200
GET    /docs                               200      200     200      200           200     200     200
GET    /docs.md                            200      200     200      200           200     200     200
GET    /llms.txt                           200      200     200      200           200     200     200
GET    /openapi.json                       200      200     200      200           200     200     200
GET    /setup                              404      404     404      404           404     404     404
POST   /setup                              404      404     404      404           404     404     404
GET    /verify                             410      410     410      410           410     410     410
POST   /verify                             410      410     410      410           410     410     410
GET    /password                           410      410     410      410           410     410     410
POST   /password                           410      410     410      410           410     410     410

GET    /admin                              303      303     200      200           200     303     303
GET    /admin/login                        200      303     303      303           303     200     200
POST   /admin/login                        422      422     422      422           422     422     422
POST   /admin/logout                       303      303     303      303           303     303     303
GET    /account                            303      200     200      200           200     303     303
POST   /account                            403      422     422      422           422     403     403
POST   /account/sessions                   403      303     303      303           303     403     403
POST   /account/sessions/end               403      303     303      303           303     403     403
GET    /account/password                   303      303     303      303           303     303     303
POST   /account/password                   403      303     303      303           303     403     403
GET    /admin/account                      303      303     303      303           303     303     303
GET    /admin/login/factor                 303      303     303      303           303     303     303
POST   /admin/login/factor                 403      303     303      303           303     403     403
GET    /account/confirm                    303      200     200      200           200     303     303
POST   /account/confirm                    403      422     422      422           422     403     403
POST   /account/passkey-options            403      404     404      404           404     403     403
GET    /admin/account/factors              303      303     303      303           303     303     303
GET    /account/factors                    303      200     200      200           200     303     303
POST   /account/factors/app                403      303     303      303           303     403     403
GET    /account/factors/passkey            303      200     200      200           200     303     303
POST   /account/factors/passkey            403      422     422      422           422     403     403
POST   /account/factors/passkey/options    403      200     200      200           200     403     403
GET    /account/factors/<factor_id>        303      404     404      404           404     303     303
POST   /account/factors/<factor_id>        403      404     404      404           404     403     403
GET    /account/factors/<factor_id>/app    303      404     404      404           404     303     303
POST   /account/factors/<factor_id>/app    403      404     404      404           404     403     403
GET    /account/factors/<factor_id>/codes  303      404     404      404           404     303     303
POST   /account/factors/<factor_id>/codes  403      404     404      404           404     403     403
POST   /account/factors/<factor_id>/activate 403    404     404      404           404     403     403
GET    /account/factors/<factor_id>/remove 303      404     404      404           404     303     303
POST   /account/factors/<factor_id>/remove 403      404     404      404           404     403     403
GET    /account/recovery-codes             303      200     200      200           200     303     303
POST   /account/recovery-codes             403      404     404      404           404     403     403
GET    /admin/start                        303      403     403      403           200     303     303

GET    /admin/users                        303      403     200      200           200     303     303
POST   /admin/users                        403      403     422      422           422     403     403
GET    /admin/users/new                    303      403     403      200           200     303     303
POST   /admin/users/new                    403      403     403      422           422     403     403
GET    /admin/users/export                 303      403     200      200           200     303     303
POST   /admin/users/export                 403      403     200      200           200     403     403
GET    /admin/users/<user_id>              303      403     200      200           200     303     303
GET    /admin/users/<user_id>/sessions     303      403     403      200           200     303     303
POST   /admin/users/<user_id>/sessions     403      403     403      303           303     403     403
GET    /admin/users/<user_id>/edit         303      403     403      200           200     303     303
POST   /admin/users/<user_id>/edit         403      403     403      200           200     403     403
GET    /admin/users/<user_id>/password     303      403     403      200           200     303     303
POST   /admin/users/<user_id>/password     403      403     403      422           422     403     403
POST   /admin/users/<user_id>/password-link/end 403 403     403      303           303     403     403
GET    /admin/users/<user_id>/verify       303      403     403      200           200     303     303
POST   /admin/users/<user_id>/verify       403      403     403      422           422     403     403
POST   /admin/users/<user_id>/verification 403      403     403      200           200     403     403
GET    /admin/users/<user_id>/deactivate   303      403     403      200           200     303     303
POST   /admin/users/<user_id>/deactivate   403      403     403      303           303     403     403
GET    /admin/users/<user_id>/reactivate   303      403     403      200           200     303     303
POST   /admin/users/<user_id>/reactivate   403      403     403      303           303     403     403
GET    /admin/users/<user_id>/unlock       303      403     403      200           200     303     303
POST   /admin/users/<user_id>/unlock       403      403     403      303           303     403     403
GET    /admin/users/<user_id>/reset-second-factor 303 403   403      200           200     303     303
POST   /admin/users/<user_id>/reset-second-factor 403 403   403      303           303     403     403
GET    /admin/users/<user_id>/delete       303      403     403      403           200     303     303
POST   /admin/users/<user_id>/delete       403      403     403      403           303     403     403
GET    /admin/users/<user_id>/restore      303      403     403      403           200     303     303
POST   /admin/users/<user_id>/restore      403      403     403      403           303     403     403

GET    /admin/users/import                303      403     403     403           200     303     303
POST   /admin/users/import                403      403     403     403           422     403     403
GET    /admin/users/import/template.csv   303      403     403     403           200     303     303
GET    /admin/imports                     303      403     403     403           200     303     303
GET    /admin/imports/<import_id>         303      403     403     403           404     303     303
POST   /admin/imports/<import_id>/columns 403      403     403     403           404     403     403
POST   /admin/imports/<import_id>/start   403      403     403     403           404     403     403
GET    /admin/imports/<import_id>/cancel  303      403     403     403           404     303     303
GET    /admin/imports/<import_id>/undo     303      403     403     403           404     303     303
POST   /admin/imports/<import_id>/undo     403      403     403     403           404     403     403
POST   /admin/imports/<import_id>/cancel  403      403     403     403           404     403     403
GET    /admin/imports/<import_id>/rejects 303      403     403     403           404     303     303
GET    /admin/imports/<import_id>/users   303      403     403     403           404     303     303

GET    /admin/acts                         303      403     200      200           200     303     303
GET    /admin/acts/<act_id>                303      403     404      404           404     303     303
POST   /admin/acts/<act_id>/start          403      403     404      404           404     403     403
POST   /admin/acts/<act_id>/cancel         403      403     404      404           404     403     403
POST   /admin/acts/<act_id>/links          403      403     404      404           404     403     403

GET    /admin/keys                         303      403     403      403           200     303     303
GET    /admin/keys/new                     303      403     403      403           200     303     303
POST   /admin/keys/new                     403      403     403      403           422     403     403
GET    /admin/keys/<key_id>                303      403     403      403           200     303     303
GET    /admin/keys/<key_id>/roll           303      403     403      403           200     303     303
POST   /admin/keys/<key_id>/roll           403      403     403      403           422     403     403
GET    /admin/keys/<key_id>/revoke         303      403     403      403           200     303     303
POST   /admin/keys/<key_id>/revoke         403      403     403      403           303     403     403

GET    /admin/audit                        303      403     200      403           200     303     303

POST   /v1/user/                           401      403     403      422           422     401     401
GET    /v1/user/                           401      403     200      200           200     401     401
GET    /v1/user/<user_id>                  401      403     200      200           200     401     401
PATCH  /v1/user/<user_id>                  401      403     403      200           200     401     401
DELETE /v1/user/<user_id>                  401      403     403      403           200     401     401
GET    /v1/user/email/<email>              401      403     200      200           200     401     401
GET    /v1/user/deleted                    401      403     200      200           200     401     401
GET    /v1/user/export                     401      403     200      200           200     401     401
POST   /v1/user/batch                      401      403     422      422           422     401     401
POST   /v1/user/import                     401      403     403      403           422     401     401
GET    /v1/user/me                         401      200     200      200           200     401     401
GET    /v1/user/profile                    401      200     200      200           200     401     401
GET    /v1/user/current                    401      200     200      200           200     401     401
POST   /v1/user/invite                     401      403     403      422           422     401     401
POST   /v1/user/<user_id>/password-link    401      403     403      201           201     401     401
GET    /v1/user/<user_id>/password-link    401      403     200      200           200     401     401
DELETE /v1/user/<user_id>/password-link    401      403     403      200           200     401     401
POST   /v1/user/<user_id>/restore          401      403     403      403           200     401     401
POST   /v1/user/<user_id>/verification     401      403     403      201           201     401     401
POST   /v1/user/import/jobs                401      403     403      403           415     401     401
GET    /v1/user/import/jobs                401      403     403      403           200     401     401
GET    /v1/user/import/jobs/<import_id>    401      403     403      403           404     401     401
POST   /v1/user/import/jobs/<import_id>/start 401   403     403      403           404     401     401
POST   /v1/user/import/jobs/<import_id>/cancel 401  403     403      403           404     401     401
GET    /v1/user/import/jobs/<import_id>/rejects 401 403     403      403           404     401     401
POST   /v1/user/verify-password            401      403     403      403           422     401     401
"""

_, _, *PEOPLE = TABLE.split("\n")[1].split()
MATRIX = {
    (method, route): dict(zip(PEOPLE, map(int, answers), strict=True))
    for method, route, *answers in (line.split() for line in TABLE.splitlines()[2:] if line)
}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # no database has a say in this
def test_table_is_complete(app: Flask) -> None:
    """Every route has a row, and every row a route."""
    there = {
        (method, re.sub(r"<\w+:", "<", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert there == set(MATRIX)


@pytest.fixture
def people(cast: Cast, app: Flask) -> dict[str, User | None]:
    """Everybody in the table."""
    return {
        "nobody": None,
        "member": make_user(app, "member@example.com"),
        "auditor": cast.vera,
        "operator": cast.omar,
        "administrator": cast.ada,
        "expired": make_user(app, "expired@example.com", Role.ADMIN),
        "stopped": make_user(app, "stopped@example.com", Role.ADMIN),
    }


def wear_out(app: Flask, people: dict[str, User | None]) -> None:
    """Let happen to the last of them what happened after they signed in and got their keys."""
    then = clock.now() - timedelta(days=1)
    for statement in ("UPDATE users SET is_active = false WHERE email = 'stopped@example.com'",):
        execute(app, statement)
    expired = people["expired"]
    assert expired
    execute(app, "UPDATE admin_sessions SET last_seen_at = :at WHERE user_id = :id", at=then, id=expired.id)
    execute(app, "UPDATE api_keys SET expires_at = :at WHERE owner_id = :id", at=then, id=expired.id)


def send_form(browser: Visitor, method: str, path: str) -> Answer:
    """Open the page, or send its form with the token of this browser and nothing in it."""
    if method == "GET":
        return browser.get(path)
    for place in ("/account", "/admin/login"):  # the one that this browser is shown
        page = browser.get(place)
        if page.status_code == 200:
            return browser.client.post(path, data={"csrf_token": token_in(page)})
    raise AssertionError("no page has a form")


def call(client: FlaskClient, method: str, path: str, key: str | None) -> Answer:
    """Call the API with an empty object for a body."""
    body: Any = {} if method in ("PATCH", "POST") else None
    return client.open(path, method=method, json=body, headers={"X-API-Key": key} if key else {})


@dataclass
class Callers:
    """Everybody in the table, at the pages and with a key that may do everything."""

    app: Flask
    ids: dict[str, str]
    sessions: dict[str, str | None]
    keys: dict[str, str | None]

    def statuses(self, method: str, route: str) -> dict[str, int]:
        """Return how each of them is answered."""
        path = re.sub(r"<(\w+)>", lambda found: self.ids[found[1]], route)
        if route.startswith("/v1"):
            answers = {name: call(self.app.test_client(), method, path, key) for name, key in self.keys.items()}
        else:
            answers = {name: send_form(self._browser(session), method, path) for name, session in self.sessions.items()}
        return {name: answer.status_code for name, answer in answers.items()}

    def _browser(self, session: str | None) -> Visitor:
        """Return a new browser with this session: a route may have taken the cookie from the last one."""
        browser = Visitor(self.app.test_client())
        if session:
            browser.client.set_cookie("enrol", session)
        return browser


@pytest.fixture
def callers(app: Flask, cast: Cast, people: dict[str, User | None]) -> Callers:
    """Everybody, when what happens to the last of them has happened."""
    make_key(app, Permission.USERS_READ, owner=cast.ada)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    ids = {"filename": "app.css", "email": "sam@example.com", "user_id": cast.sam.id, "key_id": key_id}
    ids |= {"factor_id": "fct_01900000000070008000000000000000"}  # of no user
    ids |= {"import_id": "imp_01900000000070008000000000000000"}  # of none
    ids |= {"act_id": "act_01900000000070008000000000000000"}
    sessions = {name: signed_in(app, user).session_id if user else None for name, user in people.items()}
    keys = {name: make_key(app, *Permission, owner=user) if user else None for name, user in people.items()}
    wear_out(app, people)
    return Callers(app, ids, sessions, keys)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # no database has a say in this
def test_reading(callers: Callers) -> None:
    """The statuses of all routes that read are those of the table."""
    reading = [(method, route) for method, route in MATRIX if method == "GET"]
    assert {one: callers.statuses(*one) for one in reading} == {one: MATRIX[one] for one in reading}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # no database has a say in this
def test_changing(callers: Callers, tmp_path: Path) -> None:
    """The statuses of each route that changes something are those of the table, each tried on the same users."""
    changing = [(method, route) for method, route in MATRIX if method != "GET"]
    live, saved = tmp_path / "enrol.db", tmp_path / "saved.db"
    copy(live, saved)
    found = {}
    for one in changing:
        found[one] = callers.statuses(*one)
        copy(saved, live)
    assert found == {one: MATRIX[one] for one in changing}


def copy(source: Path, target: Path) -> None:
    """Let the database in `target` be the one in `source`, also for the connections that have it open."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
