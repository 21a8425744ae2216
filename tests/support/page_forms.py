"""The forms of the pages: sent as a browser would, and every one of them for tests that try all."""

import html
import re

import pytest
from flask import Flask

from support.acts import DEACTIVATE, ask
from support.api import Answer
from support.databases import rows
from support.factors import begin_app
from support.imports import make_import
from support.people import PASSWORD, Cast, make_key
from support.visitors import Visitor
from users.roles import Permission

CANARY = "canary-Xq7pass-phrase"
EVERY_FIELD = {
    "email": "new@example.com",
    "password": CANARY,
    "current_password": PASSWORD,
    "name": "CI",
    "scopes": "users:read",
    "owner": "ada@example.com",
    "expires": "90",
    "choice": "type",
    "format": "csv",
    "hashes": "y",
}


@pytest.fixture
def changing(app: Flask, cast: Cast) -> list[str]:
    """The path of every page that changes something, filled in."""
    make_key(app, Permission.USERS_READ, owner=cast.omar)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    factor_id = begin_app(app, cast.ada).factor_id
    rules = (rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ()))
    paths = sorted(rule.rule for rule in rules if not rule.rule.startswith("/v1"))
    values = {"<user_id>": cast.omar.id, "<key_id>": key_id, "<factor_id>": factor_id}
    values["<import_id>"] = make_import(app, cast.ada).id
    values["<act_id>"] = ask(app, DEACTIVATE, [cast.omar], cast.ada).id
    return [re.sub("<.*?>", lambda found: values[found[0]], path) for path in paths]


def fields_of(page: Answer) -> dict[str, str]:
    """Return what the page's own form would send as it stands, but for the token."""
    form = page.text.partition("<main")[2]
    found = {}
    for tag in re.findall(r"<input[^>]+>", form):
        name, value = (re.search(rf'\b{attribute}="([^"]*)"', tag) for attribute in ("name", "value"))
        if name and name[1] != "csrf_token":
            found[name[1]] = html.unescape(value[1]) if value else ""
    for name, options in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        (found[name],) = re.findall(r'<option selected value="([^"]*)"', options)
    return found


def edit(browser: Visitor, user_id: str, opened: Answer | None = None, **typed: str) -> Answer:
    """Fill in the form for the user, as it was `opened` or as it is now, and send it."""
    path = f"/admin/users/{user_id}/edit"
    return browser.post(path, **{**fields_of(opened or browser.get(path)), **typed})


def user_row(app: Flask, user_id: str) -> tuple[str | None, ...]:
    """Return the email, the names and the role as they are stored."""
    query = "SELECT email, first_name, last_name, global_role_id FROM users WHERE id = :id"
    return tuple(rows(app, query, id=user_id)[0])


def acts_on(app: Flask, target_id: str) -> list[str]:
    """Return what was done to the user, or key, after it was made."""
    found = rows(app, "SELECT action FROM audit_events WHERE target_id = :id ORDER BY id", id=target_id)
    return [row.action for row in found][1:]


def key_on(page: str) -> str:
    """Return the key that a page shows."""
    (key,) = re.findall(r'<code id="key-shown"[^>]*>(ak_[0-9A-Za-z]{40})</code>', page)
    return str(key)


def key_names_on(page: str) -> list[str]:
    """Return the names in the list of API keys, in its order."""
    return re.findall(r'<th scope="row"><a href="/admin/keys/akid_\w+"><bdi dir="auto">([^<]+)<', page)
