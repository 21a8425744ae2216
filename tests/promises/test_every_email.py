"""Every email that can be created is found at every door, as it is typed and as people paste it."""

import html
import json
import re
from urllib.parse import quote

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.api import Api
from support.command_line import run
from support.databases import execute
from support.people import PASSWORD, make_key, make_user
from support.visitors import Visitor, signed_in
from users.roles import Permission, Role
from users.services import user_queries

pytestmark = pytest.mark.one_database

EMAILS = [
    "/lead@example.com",
    "//two/@example.com",
    "a//b///c@example.com",
    "a/./b@example.com",
    "a/b?c#d%e%2Ff@example.com",
    "+&=@example.com",
    "{user_id}|`'@example.com",
    "{{7*7}}@example.com",
    "-option@example.com",
    "--help@example.com",
    "~!$*^_@example.com",
    "usr_01900000000070008000000000000000@example.com",
    "xn--exmple-cua@example.com",
    "o’brien@example.com",
    "Jürgen@exämple.com",
    "¨ˇ´@example.com",
    "用户@例子.公司",
    "ﬁn@faß.de",
    "a" * 64 + "@example.com",
]
PASTED = ["\u200b{}", "{}\ufeff", "\u200e{}\u200f", "\u2068{}\u2069", "\ufeff {} \u200b", "\u3164{}\u2800"]


def found_by(app: Flask, api: Api, runner: FlaskCliRunner, browser: Visitor, typed: str) -> set[str]:
    """Return the ids that the doors find by an email."""
    shown = run(runner, "users", "show", "--json", "--", typed)
    page = browser.get("/admin/users", query_string={"q": typed}).text
    with app.app_context():
        stored = user_queries.get_user_by_email(typed).id
    return {
        stored,
        api.get(f"/v1/user/email/{quote(typed)}").json["id"],
        api.get(f"/v1/user/email/{quote(typed, safe='')}/").json["id"],
        json.loads(shown.stdout)["id"],
        *re.findall(r'<a href="/admin/users/(usr_\w+)"', page),
    }


@pytest.fixture
def grace(app: Flask) -> Visitor:
    """An administrator at the pages."""
    return signed_in(app, make_user(app, "grace@example.org", Role.ADMIN))


@pytest.mark.parametrize("email", EMAILS, ids=range(len(EMAILS)))
def test_found_at_every_door(app: Flask, api: Api, runner: FlaskCliRunner, grace: Visitor, email: str) -> None:
    user = api.create(email=email).json
    assert found_by(app, api, runner, grace, email) == {user["id"]}
    api.key = make_key(app, *Permission)
    assert api.patch_user(user["id"], email=email).json == user
    assert email in [one["email"] for one in api.get("/v1/user/").json]
    assert email in run(runner, "users", "list").stdout
    for path in ("", "/edit"):
        page = grace.get(f"/admin/users/{user['id']}{path}")
        assert (page.status_code, email in html.unescape(page.text)) == (200, True)
    assert user["id"] in grace.get("/admin/audit", query_string={"user": email}).text
    assert f'value="{html.escape(email)}"'.replace("&#x27;", "&#39;") in (
        grace.get("/admin/users/new", query_string={"email": email}).text
    )
    verified = api.call("POST", "/v1/user/verify-password", json={"email": email, "password": PASSWORD})
    assert verified.json["user"]["id"] == user["id"]
    assert run(runner, "keys", "create", "ci", f"--owner={email}").exit_code == 0


def pasted(email: str) -> list[str]:
    """Return the email as people paste it, with characters at its ends that nothing shows."""
    return [around.format(email) for around in PASTED]


def test_found_as_pasted(app: Flask, api: Api, runner: FlaskCliRunner, grace: Visitor) -> None:
    """Characters at the ends of an email that nothing shows are dropped wherever one is typed."""
    email = "用户@例子.公司"
    user = make_user(app, email, Role.AUDITOR)
    api.key = make_key(app, *Permission)
    for typed in [*pasted(email), email.replace("@", "＠"), email.replace("@", "﹫")]:
        assert found_by(app, api, runner, grace, typed) == {user.id}
        assert api.create(email=typed).status_code == 409
        assert api.patch_user(user.id, email=typed).json == user.as_user()
        credentials = {"email": typed, "password": PASSWORD}
        assert api.call("POST", "/v1/user/verify-password", json=credentials).json["valid"] is True
        assert Visitor(app.test_client()).sign_in(typed).status_code == 303
        assert run(runner, "keys", "create", "ci", "--owner", typed).exit_code == 0
        assert grace.get("/admin/audit", query_string={"user": typed}).status_code == 200


@pytest.mark.parametrize(
    "email", ["j\ufe0fo@example.com", "\u3164@example.com", "\u115fjo@example.com", "a＠b@example.com"]
)
def test_email_of_an_older_version(app: Flask, api: Api, runner: FlaskCliRunner, email: str) -> None:
    """A user whose email could not be created today is found, signs in, and keeps it."""
    user = make_user(app, "jo@example.com", Role.AUDITOR)
    key = email.replace("\u3164", "\u1160").replace("＠", "@")
    execute(app, "UPDATE users SET email = :email, email_key = :key WHERE id = :id", email=email, key=key, id=user.id)
    api.key = make_key(app, *Permission)
    assert api.get(f"/v1/user/email/{quote(email)}").json["id"] == user.id
    assert json.loads(run(runner, "users", "show", "--json", email).stdout)["id"] == user.id
    assert Visitor(app.test_client()).sign_in(email).status_code == 303
    assert api.patch_user(user.id, email=email, first_name="Jo").json["email"] == email
    assert api.create(email="other" + email).status_code == 422


local_parts = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,12}(\.[a-z/%?#+-]{1,4}){0,2}", fullmatch=True) | st.text(
    st.characters(categories=["L", "Mn", "Nd", "S", "Cf"]), min_size=1, max_size=8
)


@given(local_parts, st.sampled_from(["example.com", "bücher.com", "例え.jp"]), st.sampled_from(["{}", *PASTED]))
@hypothesis_settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_email(
    app: Flask, api: Api, runner: FlaskCliRunner, grace: Visitor, local_part: str, domain: str, around: str
) -> None:
    typed = around.format(f"{local_part}@{domain}")
    made = api.create(email=typed)
    if made.status_code == 201:
        for spelling in (made.json["email"], typed):
            assert found_by(app, api, runner, grace, spelling) == {made.json["id"]}
    else:
        assert made.status_code in (409, 422)
