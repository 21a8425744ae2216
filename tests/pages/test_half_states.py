"""Which page opens at which stage of a sign-in: a row for every route, a column for every stage.

A route without a row fails. Each page is opened, and each form is sent as if it did something.
"""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from support.api import Answer
from support.databases import rows
from support.factors import CONFIRM, FACTOR, add_app
from support.half_states import EVERY_STATE, HALF_STATES, Begin, HalfState, awaits_factor, proved_long_ago
from support.page_forms import EVERY_FIELD
from support.passkeys import OPTIONS
from support.people import Cast, make_key
from support.visitors import LOGIN, Visitor, token_in
from users.actors import terminal
from users.auth.factors import held
from users.auth.sessions import Stage
from users.roles import Permission
from users.services.links import email_verification, password_links

pytestmark = pytest.mark.one_database

TERMINAL = terminal("req_test00000000")
half_states = pytest.mark.parametrize(("begin", "settings"), HALF_STATES)
# =        as to a visitor
# step     led to what the sign-in needs next: the second factor, a new password, a new second factor
# account  led to the account, which leads to that step
# confirm  asked at "Confirm that it is you"
# open     the page's own answer
# apart    a test below
TABLE = """
routes                                      factor   password  enrolment  old-proof
* /v1/...                                   =        =         =          =
* /static/<path:filename>                   =        =         =          =
* /healthz                                  =        =         =          =
* /readyz                                   =        =         =          =
* /docs                                     =        =         =          =
* /docs.md                                  =        =         =          =
* /llms.txt                                 =        =         =          =
* /openapi.json                             =        =         =          =
* /favicon.ico                              =        =         =          =
* /robots.txt                               =        =         =          =
* /setup                                    =        =         =          =
* /verify                                   =        =         =          =
* /password                                 =        =         =          =
GET /                                       =        account   account    =

GET /admin                                  step     step      step       open
GET /admin/login                            =        step      step       open
POST /admin/login                           apart    apart     apart      apart
* /admin/login/factor                       open     step      step       open
POST /admin/logout                          apart    apart     apart      apart

GET /admin/account                          step     step      step       open
GET /account                                step     step      step       open
POST /account                               step     step      step       confirm
POST /account/sessions                      step     step      step       open
POST /account/sessions/end                  step     step      step       open
* /account/password                         step     open      step       open
* /account/confirm                          step     open      open       open
GET /admin/account/factors                  step     step      step       open
GET /account/factors                        step     step      open       open
* /account/factors/<factor_id>              step     step      step       open
* /account/factors/<factor_id>/remove       step     step      step       confirm
* /account/recovery-codes                   step     step      step       confirm
POST /account/factors/app                   step     step      open       confirm
* /account/factors/<factor_id>/app          step     step      open       confirm
* /account/factors/passkey                  step     step      open       confirm
POST /account/factors/passkey/options       step     step      open       confirm
POST /account/passkey-options               apart    open      open       open
GET /account/factors/<factor_id>/codes      step     step      open       open
POST /account/factors/<factor_id>/codes     step     step      open       confirm
POST /account/factors/<factor_id>/activate  step     step      open       confirm

GET /admin/start                            step     step      step       open
GET /admin/audit                            step     step      step       open
GET /admin/keys                             step     step      step       open
* /admin/keys/new                           step     step      step       confirm
GET /admin/keys/<key_id>                    step     step      step       open
* /admin/keys/<key_id>/roll                 step     step      step       confirm
* /admin/keys/<key_id>/revoke               step     step      step       open
* /admin/users/import                       step     step      step       open
GET /admin/users/import/template.csv        step     step      step       open
GET /admin/imports                          step     step      step       open
GET /admin/imports/<import_id>              step     step      step       open
POST /admin/imports/<import_id>/columns     step     step      step       open
POST /admin/imports/<import_id>/start       step     step      step       open
* /admin/imports/<import_id>/undo            step     step      step       open
* /admin/imports/<import_id>/cancel         step     step      step       open
GET /admin/imports/<import_id>/rejects      step     step      step       open
GET /admin/imports/<import_id>/users        step     step      step       open
* /admin/users                              step     step      step       open
GET /admin/acts                             step     step      step       open
GET /admin/acts/<act_id>                    step     step      step       open
POST /admin/acts/<act_id>/start             step     step      step       open
POST /admin/acts/<act_id>/cancel            step     step      step       open
POST /admin/acts/<act_id>/links             step     step      step       open
* /admin/users/new                          step     step      step       open
GET /admin/users/export                     step     step      step       open
POST /admin/users/export                    step     step      step       confirm
GET /admin/users/<user_id>                  step     step      step       open
* /admin/users/<user_id>/edit               step     step      step       open
* /admin/users/<user_id>/password           step     step      step       open
POST /admin/users/<user_id>/password-link/end step   step      step       open
* /admin/users/<user_id>/verify             step     step      step       open
POST /admin/users/<user_id>/verification    step     step      step       open
* /admin/users/<user_id>/deactivate         step     step      step       open
* /admin/users/<user_id>/reactivate         step     step      step       open
* /admin/users/<user_id>/unlock             step     step      step       open
* /admin/users/<user_id>/reset-second-factor step    step      step       confirm
* /admin/users/<user_id>/sessions           step     step      step       open
* /admin/users/<user_id>/delete             step     step      step       confirm
* /admin/users/<user_id>/restore            step     step      step       open
"""
_, HEAD, *LINES = TABLE.split("\n")
COLUMNS = HEAD.split()[1:]
ROWS = {
    (method, route): dict(zip(COLUMNS, answers, strict=True))
    for method, route, *answers in (line.split() for line in LINES if line)
}


def row_of(method: str, route: str) -> tuple[str, str]:
    """Return the row of the table for this method and route."""
    of_group = "/v1/..." if route.startswith("/v1/") else route
    asked = "GET" if method == "HEAD" else method
    return (asked, of_group) if (asked, of_group) in ROWS else ("*", of_group)


def routes_of(app: Flask) -> list[tuple[str, str]]:
    """Return every method and route of the URL map."""
    return [
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"OPTIONS"})
    ]


def test_table_is_complete(app: Flask) -> None:
    """Each route has one row, and each row a route."""
    assert {row_of(method, route) for method, route in routes_of(app)} == ROWS.keys()


@dataclass
class Walk:
    """A walk through all routes in a half state, with a visitor beside it."""

    app: Flask
    state: HalfState
    values: dict[str, str]
    token: str

    def answers(self, expected: str) -> dict[tuple[str, str], str]:
        """Return what the routes answer that are expected to answer so, in the words of the table."""
        found = {}
        for method, route in routes_of(self.app):
            if ROWS.get(row_of(method, route), {}).get(self.state.column) == expected:
                found[method, route] = self.word_for(method, route, expected)
        return found

    def word_for(self, method: str, route: str, expected: str) -> str:
        path = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: self.values[found[1]], route)
        # Where a half state opens a form, a stale token keeps it from doing its part of the sign-in.
        token = "stale" if expected == "open" and self.state.step else self.token
        answer = send(self.state.browser, method, path, token)
        assert "Set-Cookie" not in answer.headers or "enrol=" not in answer.headers["Set-Cookie"], (method, path)
        if answer.location == self.state.step:
            return "step"
        asks = (answer.location or "").startswith(f"{CONFIRM}?next=") or "Confirm that it is you</h1>" in answer.text
        if asks and path not in (CONFIRM, OPTIONS):  # which ask by themselves
            return "confirm"
        if answer.location == "/account" and expected == "account":
            return "account"
        if expected == "=":
            return "=" if self.is_as_to_a_visitor(method, path, answer) else f"{answer.status_code} {answer.location}"
        is_out = answer.status_code == 401 or "Your session has ended" in answer.text
        return "sign-in" if is_out or (answer.location or "").startswith(LOGIN) else "open"

    def is_as_to_a_visitor(self, method: str, path: str, answer: Answer) -> bool:
        visitor = Visitor(self.app.test_client())
        theirs = send(visitor, method, path, visitor.token(LOGIN))
        return (answer.status_code, answer.location) == (theirs.status_code, theirs.location)


def send(browser: Visitor, method: str, path: str, token: str) -> Answer:
    """Open the page, or send a form that would do something."""
    data = {**EVERY_FIELD, "csrf_token": token} if method == "POST" else None
    return browser.client.open(path, method=method, data=data, buffered=True)


def begin_walk(app: Flask, cast: Cast, state: HalfState) -> Walk:
    make_key(app, Permission.USERS_READ, owner=cast.ada)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys ORDER BY id DESC LIMIT 1")
    values = {
        "factor_id": state.factor_id,
        "filename": "app.css",
        "email": "sam@example.com",
        "user_id": cast.sam.id,
        "key_id": key_id,
        "import_id": "imp_01900000000070008000000000000000",
        "act_id": "act_01900000000070008000000000000000",  # of none, as that of the import
    }
    return Walk(app, state, values, state.browser.token(state.step or "/account"))


def stored(app: Flask) -> list[Any]:
    """Return all that an act could change."""
    tables = ("users", "api_keys", "audit_events", "second_factors", "recovery_codes")
    there = rows(app, "SELECT id_hash, user_id, awaits_factor, confirmed_at, failures FROM admin_sessions")
    return [there, *(rows(app, f"SELECT * FROM {table}") for table in tables)]


@half_states
@pytest.mark.parametrize("expected", ["=", "step", "account", "open"])
def test_half_states(app: Flask, cast: Cast, begin: Begin, expected: str) -> None:
    """Each route answers as the table says, and nothing is changed by any."""
    walk = begin_walk(app, cast, begin(app, cast))
    then = stored(app)
    found = walk.answers(expected)
    assert found == dict.fromkeys(found, expected)
    assert stored(app) == then


@pytest.mark.parametrize("expected", ["=", "confirm", "open"])
def test_old_proof(app: Flask, cast: Cast, expected: str) -> None:
    """Only what needs a fresh proof asks for one; a form that needs it changes nothing."""
    walk = begin_walk(app, cast, proved_long_ago(app, cast))
    then = stored(app)
    found = walk.answers(expected)
    assert found == dict.fromkeys(found, expected)
    assert (stored(app) == then) == (expected != "open")


def test_pages_of_a_half_session(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the second factor is awaited, no page names the user as signed in; what cannot be found says no more."""
    half = awaits_factor(app, cast).browser
    for path in ("/nothing", "/admin/logout", "/verify", "/password", LOGIN):
        page = half.get(path)
        assert "ada@example.com" not in page.text, path
        assert "Sign out" not in page.text, path
        assert 'href="/admin/users"' not in page.text, path
    assert "Sign in as another user" in half.get(FACTOR).text

    def fail(_user_id: str) -> None:
        raise ValueError

    app.config["PROPAGATE_EXCEPTIONS"] = False
    monkeypatch.setattr(held, "of_user", fail)
    broken = half.get(FACTOR)
    assert broken.status_code == 500
    assert not re.search(r'ada@example\.com|Sign out|href="/admin', broken.text)


def test_other_user_begins_to_sign_in(app: Flask, cast: Cast, ada: Visitor) -> None:
    """From then on the browser shows no user as signed in, also on the page that answers the password."""
    add_app(app, cast.omar)
    page = ada.sign_in("omar@example.com", next="/admin/users/new", **{"kept-email": "jo@example.com"})
    assert page.status_code == 200
    assert "<h1>Confirm your sign-in</h1>" in page.text
    assert not re.search(r'ada@example\.com|Sign out|href="/admin', page.text)


def test_links_in_a_half_session(app: Flask, cast: Cast) -> None:
    """A link that is opened while the second factor is awaited is a visitor's act: the password alone proves no one."""
    browser = awaits_factor(app, cast).browser
    with app.app_context():
        verification = email_verification.issue(cast.sam.id, actor=TERMINAL).token
        link = password_links.make(cast.sam.id, actor=TERMINAL).token
    for path, token in (("/verify", verification), ("/password", link)):
        page = browser.get(f"{path}?token={token}", follow_redirects=True)
        sent = {"link": token, "password": "another horse battery", "csrf_token": token_in(page)}
        assert browser.client.post(path, data=sent).status_code == 303
    found = rows(app, "SELECT actor_kind, actor_user_id FROM audit_events ORDER BY id DESC LIMIT 2")
    assert [tuple(row) for row in found] == [("password_link", None), ("verification", None)]


@pytest.mark.parametrize(("begin", "settings"), EVERY_STATE)
def test_sign_out(app: Flask, cast: Cast, begin: Begin) -> None:
    """It works in each state, and not with another site's form."""
    state = begin(app, cast)
    browser, there = state.browser, state.step or "/account"
    assert browser.client.post("/admin/logout", data={"csrf_token": "stale"}).location != LOGIN
    token = browser.token(there)
    answer = browser.client.post("/admin/logout", data={"csrf_token": token})
    assert answer.location == LOGIN
    assert browser.session_id is None
    assert browser.get("/account").location.startswith(LOGIN)
    assert "You are signed out" in browser.get(LOGIN).text
    assert rows(app, "SELECT 1 FROM admin_sessions") == []
    ended = rows(app, "SELECT 1 FROM audit_events WHERE action = 'session.end'")
    assert len(ended) == (0 if state.column == "factor" else 1)  # nobody was signed in before the second factor


@half_states
def test_sign_in_instead(app: Flask, cast: Cast, begin: Begin) -> None:
    """Another user may sign in in the same browser while the factor is awaited; in other states, after a sign-out."""
    state = begin(app, cast)
    browser = state.browser
    token = browser.token(LOGIN if state.column == "factor" else state.step)
    answer = browser.client.post(
        LOGIN, data={"email": "sam@example.com", "password": EVERY_FIELD["current_password"], "csrf_token": token}
    )
    assert answer.location == "/account"
    assert "sam@example.com" in browser.get("/account").text
    assert len(rows(app, "SELECT 1 FROM admin_sessions")) == 1


def test_every_stage_has_a_column() -> None:
    assert len(Stage) == len(COLUMNS)
