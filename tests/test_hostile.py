"""Whatever is sent, wherever: never a 5xx or a slow answer, never a row without a 201, and alike on both databases.

2,000 examples; `.venv/bin/pytest tests/test_hostile.py --hypothesis-profile=long` tries 20,000.
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
from conftest import CHEAP, PASSWORD, Api, dispose, make_key, make_user, migrate, postgres_database, rows
from users.roles import Permission, Role
from visitors import Visitor, signed_in

ANSWER_SECONDS = 5
SHARES = {"api": 0.55, "anywhere": 0.25, "form": 0.2}  # of the examples


def examples(share: str) -> hypothesis_settings:
    """Return how often a test is tried: its share of 2,000, or of what the chosen profile says."""
    profile = hypothesis_settings.get_current_profile_name()
    whole = hypothesis_settings.get_profile("long").max_examples if profile == "long" else 2_000
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
names = "Accept Authorization Content-Encoding Cookie Host Idempotency-Key Origin X-API-Key X-Request-Id"
headers = st.dictionaries(st.sampled_from(names.split()), header_texts, max_size=3)
parameters = st.sampled_from(["validate_only", "next", "email", "token", "done", "after"])
queries = st.dictionaries(parameters, typed, max_size=2)
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
def administrators(apps: list[Flask]) -> list[Visitor]:
    """An administrator signed in at each."""
    return [signed_in(app, make_user(app, "root@example.com", Role.ADMIN)) for app in apps]


def alike(answers: list[Any]) -> Any:
    """Assert that both answers are the same harmless one, and return it."""
    for answer in answers:
        assert answer.status_code < 500, answer.text
    first, second = answers
    assert first.status_code == second.status_code
    if first.is_json and first.data:  # HEAD has none
        assert told(first.json) == told(second.json)
    return first


def told(body: Any) -> Any:
    """Return what an answer says, less what differs between any two answers."""
    if not isinstance(body, dict):
        return body
    error = body.get("error")
    if isinstance(error, dict):
        details = {name: value for name, value in error["details"].items() if name != "user_id"}
        return error["code"], error["message"], details
    return {name: value for name, value in body.items() if name not in ("id", "created_at", "updated_at")}


def timely(send: Any) -> Any:
    """Return what `send` answers, which must come in time."""
    start = time.monotonic()
    answer = send()
    assert time.monotonic() - start < ANSWER_SECONDS
    return answer


def count(app: Flask) -> int:
    """Return how many users there are."""
    return int(rows(app, "SELECT count(*) FROM users")[0][0])


@examples("api")
@given(body=bodies, more=headers, query=queries, media_type=st.just("application/json") | header_texts)
def test_a_create_makes_a_row_for_a_201_and_for_nothing_else(
    apps: list[Flask], callers: list[Api], body: bytes, more: dict[str, str], query: dict[str, str], media_type: str
) -> None:
    before = [count(app) for app in apps]
    sent: dict[str, Any] = {"data": body, "headers": {**more, "Content-Type": media_type}, "query_string": query}
    answer = alike([timely(lambda api=api: api.call("POST", "/v1/user/", **sent)) for api in callers])
    replayed = answer.headers.get("Idempotent-Replayed")
    assert [count(app) for app in apps] == [n + (answer.status_code == 201 and not replayed) for n in before]


@examples("anywhere")
@given(
    method=methods,
    path=st.sampled_from(
        ["/", "/setup", "/admin/login", "/admin/users", "/admin/keys", "/v1/user/me", "/v1/user/", "/readyz"]
    )
    | segments.map("/v1/user/{}".format)
    | segments.map("/admin/users/{}".format)
    | segments.map("/{}".format),
    more=headers,
    query=queries,
    body=bodies,
)
def test_every_address_bears_everything(
    apps: list[Flask],
    callers: list[Api],
    method: str,
    path: str,
    more: dict[str, str],
    query: dict[str, str],
    body: bytes,
) -> None:
    before = [count(app) for app in apps]
    sent: dict[str, Any] = {"data": body, "headers": more, "query_string": query}
    answer = alike([timely(lambda api=api: api.call(method, path, **sent)) for api in callers])
    assert [count(app) for app in apps] == [n + (answer.status_code == 201) for n in before]


fields = st.sampled_from(
    ["email", "first_name", "last_name", "password", "choice", "global_role_id", "name", "scopes", "owner"]
)


@examples("form")
@given(
    path=st.sampled_from(
        ["/admin/users/new", "/admin/keys/new", "/admin/account", "/admin/account/sessions", "/setup"]
    ),
    form=st.lists(st.tuples(fields | typed, typed | st.sampled_from(["type", "generate", PASSWORD])), max_size=8),
)
def test_every_form_bears_everything(
    apps: list[Flask], administrators: list[Visitor], path: str, form: list[tuple[str, str]]
) -> None:
    before = [count(app) for app in apps]
    answers = []
    for visitor in administrators:
        data = MultiDict([*form, ("csrf_token", visitor.token("/admin/account"))])
        answers.append(timely(lambda visitor=visitor, data=data: visitor.client.post(path, data=data)))
    answer = alike(answers)
    made = answer.status_code in (200, 303) and path == "/admin/users/new"
    assert [count(app) for app in apps] == [n + made for n in before]
