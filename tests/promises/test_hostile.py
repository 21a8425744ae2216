"""Whatever is sent, wherever: never a 5xx or a slow answer, never a row without a 201, and alike on both databases.

600 examples, 200 in the fast lane. This tries 20,000:
`.venv/bin/pytest tests/promises/test_hostile.py --hypothesis-profile=long`.
"""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from app import create_app
from support.api import Api
from support.application import CHEAP, dispose, migrate
from support.databases import rows
from support.people import PASSWORD, make_key, make_user
from support.postgres import postgres_database
from support.visitors import Visitor, signed_in
from users.roles import Permission, Role
from users.storage.models import User

ANSWER_SECONDS = 5
SHARES = {"api": 0.4, "users": 0.25, "anywhere": 0.2, "form": 0.15}  # of the examples


def examples(share: str) -> hypothesis_settings:
    """Return how often a test is tried: its share of 600, or of what the chosen profile says."""
    profile = hypothesis_settings.get_current_profile_name()
    whole = {"fast": 200, "long": hypothesis_settings.get_profile("long").max_examples}.get(profile, 600)
    return hypothesis_settings(
        max_examples=int(whole * SHARES[share]),
        deadline=None,  # ours is ANSWER_SECONDS, for one answer
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


oddities = [
    "jo@example.com",
    "JO@EXAMPLE.COM",
    "ａ@example.com",
    "a" * 300,
    "\x00",
    "\ud800",
    "\u202e",
    "=1+1",
    "%s{0}",
]
texts = st.text(max_size=40) | st.sampled_from(oddities)
typed = texts.filter(lambda text: text.isascii() or "\ud800" not in text)  # what a form or an address can carry
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
members = st.sampled_from(["email", "password", "first_name", "last_name"])
objects = st.dictionaries(members | texts, values, max_size=5)
plausible = st.fixed_dictionaries(
    {"email": st.emails() | texts, "password": st.just(PASSWORD) | texts},
    optional={"first_name": texts, "last_name": texts, "id": values},
)
bodies = st.binary(max_size=200) | (objects | plausible | values).map(lambda value: json.dumps(value).encode())
header_texts = st.text(st.characters(min_codepoint=1, max_codepoint=255, exclude_characters="\r\n"), max_size=60)
names = "Accept Authorization Content-Encoding Cookie Host Idempotency-Key If-Match Origin X-API-Key X-Request-Id"
headers = st.dictionaries(st.sampled_from(names.split()), header_texts, max_size=3)
names_of_parameters = [
    "active_only",
    "after",
    "done",
    "email",
    "limit",
    "next",
    "q",
    "role",
    "skip",
    "status",
    "token",
    "validate_only",
    "verified",
]
parameters = st.sampled_from(names_of_parameters)
numbers = st.sampled_from([0, 1, 1000, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30]) | st.integers()
queries = st.dictionaries(parameters, typed | numbers.map(str) | st.sampled_from(["true", "false"]), max_size=3)
segments = st.text(max_size=30).map(quote)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])


@pytest.fixture(scope="module")
def apps(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite: Path, postgres_server: str
) -> Iterator[list[Flask]]:
    """The application on SQLite and on Postgres."""
    file = tmp_path_factory.mktemp("hostile") / "enrol.db"
    shutil.copy(migrated_sqlite, file)
    with postgres_database(postgres_server) as address:
        migrate(address)
        settings = {**CHEAP, "TESTING": True, "ENROL_RATE_LIMIT": "off"}
        made = [create_app({**settings, "DATABASE_URL": url}) for url in (f"sqlite:///{file}", address)]
        yield made
        for app in made:
            dispose(app)


@pytest.fixture(scope="module")
def callers(apps: list[Flask]) -> list[Api]:
    """A caller of each."""
    return [Api(app.test_client(), make_key(app, Permission.USERS_CREATE, Permission.USERS_READ)) for app in apps]


@pytest.fixture(scope="module")
def powers(apps: list[Flask]) -> list[Api]:
    """A caller of each who may do everything."""
    return [Api(app.test_client(), make_key(app, *Permission)) for app in apps]


@pytest.fixture(scope="module")
def administrators(apps: list[Flask]) -> list[Visitor]:
    """An administrator signed in at each."""
    return [signed_in(app, make_user(app, "root@example.com", Role.ADMIN)) for app in apps]


@pytest.fixture(scope="module")
def edited(apps: list[Flask]) -> list[User]:
    """Somebody at each whose form is filled in."""
    return [make_user(app, "edited@example.com") for app in apps]


def alike(answers: list[Any]) -> Any:
    """Assert that both answers are the same harmless one, and return it."""
    for answer in answers:
        assert answer.status_code < 500, answer.text
    first, second = answers
    assert first.status_code == second.status_code
    if first.is_json and first.data:  # HEAD has none
        assert told(first.json) == told(second.json)
    return first


MOVING = {"id", "created_at", "updated_at", "last_login", "last_verified", "expires_at"}
MOVING |= {"password_url", "verification_url"}
MOVING |= {"user_id", "requested_ids"}  # the ids that were asked for are each database's own


def told(body: Any) -> Any:
    """Return what an answer says, less what differs between any two answers."""
    if isinstance(body, list):
        return [told(one) for one in body]
    if not isinstance(body, dict):
        return body
    error = body.get("error")
    if isinstance(error, dict):
        return error["code"], error["message"], told(error["details"])
    return {name: told(value) for name, value in body.items() if name not in MOVING}


def timely(send: Any) -> Any:
    """Return what `send` answers, which must come in time."""
    start = time.monotonic()
    answer = send()
    assert time.monotonic() - start < ANSWER_SECONDS
    return answer


_counted: dict[Flask, int] = {}  # by the last example, if it came to its end


@pytest.fixture(autouse=True)
def _count_anew() -> None:
    _counted.clear()


def count(app: Flask) -> int:
    """Return how many users there are, and keep it for the next example."""
    _counted[app] = int(rows(app, "SELECT count(*) FROM users")[0][0])
    return _counted[app]


def count_before(app: Flask) -> int:
    """Return how many users there are before an example."""
    return _counted.pop(app) if app in _counted else int(rows(app, "SELECT count(*) FROM users")[0][0])


@examples("api")
@given(body=bodies, more=headers, query=queries, media_type=st.just("application/json") | header_texts)
def test_create(
    apps: list[Flask], callers: list[Api], body: bytes, more: dict[str, str], query: dict[str, str], media_type: str
) -> None:
    """A create makes a row if the answer is 201, and only then."""
    before = [count_before(app) for app in apps]
    sent: dict[str, Any] = {"data": body, "headers": {**more, "Content-Type": media_type}, "query_string": query}
    answer = alike([timely(lambda api=api: api.call("POST", "/v1/user/", **sent)) for api in callers])
    replayed = answer.headers.get("Idempotent-Replayed")
    assert [count(app) for app in apps] == [n + (answer.status_code == 201 and not replayed) for n in before]


# Where {id} stands, the id of a user made for the example is put in, which differs between the databases.
OWN_ID = "{id}"
changes = st.fixed_dictionaries(
    {},
    optional={
        "email": st.emails() | st.sampled_from(oddities) | values,
        "first_name": texts | values,
        "last_name": texts | values,
        "password": st.just(PASSWORD) | values,
        "is_active": st.booleans() | values,
        "global_role_id": st.sampled_from([*Role]) | values,
        "password_change_required": st.booleans() | values,
        "expires_in": st.floats() | st.integers() | values,
        "id": values,
    },
)
credentials = st.fixed_dictionaries({"email": st.emails() | values, "password": st.just(PASSWORD) | values})
batches = st.fixed_dictionaries({"user_ids": st.lists(st.just(OWN_ID) | texts | scalars, max_size=110) | values})
tags = st.sampled_from(["*", '""', '"x"', 'W/"x"', '"x", "y"', "x", ", " * 100]) | header_texts


@examples("users")
@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE"]) | methods,
    path=st.sampled_from(["", "batch", "deleted", "invite", "me", "verify-password", OWN_ID, OWN_ID])
    | st.sampled_from([f"{OWN_ID}/password-link", f"{OWN_ID}/restore", f"{OWN_ID}/verification"])
    | segments.map("email/{}".format)
    | segments.map("{}/password-link".format)
    | segments.map("{}/restore".format)
    | segments,
    body=(changes | credentials | batches).map(lambda value: json.dumps(value).encode()) | bodies,
    query=queries,
    more=st.fixed_dictionaries({}, optional={"If-Match": tags, "Host": st.sampled_from(["localhost", "a.b", "é"])}),
)
def test_user_operations(
    apps: list[Flask],
    powers: list[Api],
    method: str,
    path: str,
    body: bytes,
    query: dict[str, str],
    more: dict[str, str],
) -> None:
    number, _ = map(count_before, apps)
    answers = []
    for app, api in zip(apps, powers, strict=True):
        user = make_user(app, f"user{number}@example.com")
        own = {"data": body.replace(b"{id}", user.id.encode()), "query_string": query}
        headers = {**more, "Content-Type": "application/json"}
        address = f"/v1/user/{path.replace(OWN_ID, user.id)}"
        answers.append(timely(lambda api=api, own=own: api.call(method, address, headers=headers, **own)))  # noqa: B023
    answer = alike(answers)
    assert [count(app) for app in apps] == [number + 1 + (answer.status_code == 201 and path in ("", "invite"))] * 2


@examples("anywhere")
@given(
    method=methods,
    path=st.sampled_from(
        ["/", "/setup", "/admin/login", "/admin/users", "/admin/keys", "/v1/user/me", "/v1/user/", "/readyz", "/verify"]
    )
    | segments.map("/v1/user/{}".format)
    | segments.map("/admin/users/{}".format)
    | segments.map("/account/factors/{}/app".format)
    | segments.map("/{}".format),
    more=headers,
    query=queries,
    body=bodies,
)
def test_every_path(
    apps: list[Flask],
    callers: list[Api],
    method: str,
    path: str,
    more: dict[str, str],
    query: dict[str, str],
    body: bytes,
) -> None:
    before = [count_before(app) for app in apps]
    sent: dict[str, Any] = {"data": body, "headers": more, "query_string": query}
    answer = alike([timely(lambda api=api: api.call(method, path, **sent)) for api in callers])
    assert [count(app) for app in apps] == [n + (answer.status_code == 201) for n in before]


names_of_fields = "email first_name last_name password choice global_role_id name scopes owner link mark confirmed "
names_of_fields += "code recovery_code credential"
fields = st.sampled_from(
    [*names_of_fields.split(), "password_change_required", "was-email", "was-first_name", "was-last_name"]
)


@examples("form")
@given(
    path=st.sampled_from(
        ["/admin/users/new", "/admin/keys/new", "/account", "/account/sessions", "/password", "/setup", "/verify"]
    )
    | st.sampled_from(["edit", "password", "verify"]).map("/admin/users/{{id}}/{}".format)
    | st.sampled_from(["/account/factors/passkey", "/account/factors/app", "/account/recovery-codes"]),
    form=st.lists(
        st.tuples(fields | typed, typed | st.sampled_from(["type", "generate", "link", PASSWORD])), max_size=8
    ),
)
def test_every_form(
    apps: list[Flask], administrators: list[Visitor], edited: list[User], path: str, form: list[tuple[str, str]]
) -> None:
    before = [count_before(app) for app in apps]
    answers = []
    for visitor, user in zip(administrators, edited, strict=True):
        sent = {
            "path": path.format(id=user.id),
            "data": MultiDict([*form, ("csrf_token", visitor.token("/account"))]),
        }
        answers.append(timely(lambda visitor=visitor, sent=sent: visitor.client.post(**sent)))
    answer = alike(answers)
    made = answer.status_code in (200, 303) and path == "/admin/users/new"
    assert [count(app) for app in apps] == [n + made for n in before]
