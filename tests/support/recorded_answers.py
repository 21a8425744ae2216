"""The record of what /v1 answered before other work began, and how to make the requests again.

`recorded_answers.json` holds the requests in the order in which they are sent, each with its answer. To record anew,
after a change of the answers that is meant or with a new request: `PYTHONPATH=.:tests .venv/bin/python -m
support.recorded_answers`, then read the difference.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flask import Flask

from app import create_app
from support.application import CHEAP, dispose, migrate
from support.databases import execute
from support.people import UNKNOWN_ID, make_key, make_user
from users import clock
from users.roles import Permission, Role
from users.rules import key_format

RECORD = Path(__file__).parents[1] / "promises" / "recorded_answers.json"
SETTINGS = {"ENROL_PASSWORD_BLOCKLIST": "on"}

Exchange = dict[str, Any]  # name, request, status, headers, body

# What differs from one run to the next, by its form, and what stands for it in the record.
_MASKS = [
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "<time>"),
    (re.compile(r"\breq_[0-9a-f]{24}\b"), "<trace id>"),
    (re.compile(r'"\d{4}-\d\d-\d\dT[\d.:/T+-]+"'), '"<tag>"'),
    (re.compile(r"(?<=\?token=)[\w.-]+"), "<token>"),
]
_NUMBERS = {"retry-after", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"}  # depend on the time


class Caller:
    """Sends the requests of the record to an application that has Ada, Omar and Sam, and masks the answers."""

    def __init__(self, app: Flask) -> None:
        """Make the users and the keys that the requests name."""
        self.client = app.test_client()
        ada = make_user(app, "ada@example.com", Role.ADMIN, first_name="Ada", last_name="Lovelace")
        omar = make_user(app, "omar@example.com", Role.OPERATOR, first_name="Omar")
        sam = make_user(app, "sam@example.com")
        self.ids = {"ada": ada.id, "omar": omar.id, "sam": sam.id, "nobody": UNKNOWN_ID}
        self.keys = {
            "all": make_key(app, *Permission),
            "ada": make_key(app, *Permission, owner=ada),
            "omar": make_key(app, *Role.OPERATOR.permissions, owner=omar),
            "sam": make_key(app, owner=sam),
            "bare": make_key(app),
            "create": make_key(app, Permission.USERS_CREATE),
            "update": make_key(app, Permission.USERS_UPDATE),
            "expired": make_key(app),
            "revoked": make_key(app),
            "unknown": key_format.new_key(),
        }
        for name, column in (("expired", "expires_at"), ("revoked", "deactivated_at")):
            statement = f"UPDATE api_keys SET {column} = :at WHERE key_hash = :hash"
            execute(app, statement, at=clock.now(), hash=key_format.digest(self.keys[name]))
        self.tag = ""  # of the last answer that had one

    def answer(self, request: Exchange) -> Exchange:
        """Send the request, as often as it says, and return the last answer with its status, headers and body."""
        for _ in range(request.get("times", 1)):
            found = self.client.open(self._filled(request["path"]), method=request["method"], **self._parts(request))
            self.tag = found.headers.get("ETag", self.tag)
        text = found.get_data(as_text=True)
        self.ids |= {user["email"].partition("@")[0]: user["id"] for user in _users_in(text)}
        return {
            "status": found.status_code,
            "headers": {name: self._masked_header(name, value) for name, value in sorted(found.headers)},
            "body": _as_json(self._masked(text)),
        }

    def _parts(self, request: Exchange) -> dict[str, Any]:
        """Return headers and body of a request."""
        headers = {name: self._filled(value) for name, value in request.get("headers", {}).items()}
        if "key" in request:
            headers["X-API-Key"] = self.keys[request["key"]]
        if "json" in request:
            return {"headers": headers, "json": json.loads(self._filled(json.dumps(request["json"])))}
        if "spaces" in request:
            return {"headers": headers, "data": " " * request["spaces"]}
        return {"headers": headers, "data": request["text"].encode()} if "text" in request else {"headers": headers}

    def _filled(self, text: str) -> str:
        """Return a part of a request with real ids, keys and the last tag in it."""
        text = re.sub(r"usr_<(\w+)>", lambda found: self.ids[found[1]], text)
        return re.sub(r"ak_<(\w+)>", lambda found: self.keys[found[1]], text).replace("<tag>", self.tag.strip('"'))

    def _masked(self, text: str) -> str:
        """Return a part of an answer with names in the place of ids, and a mask over all that moves."""
        for form, mask in _MASKS:  # before the ids: a token has one in it
            text = form.sub(mask, text)
        for name, user_id in self.ids.items():
            text = text.replace(user_id, f"usr_<{name}>")
        return text

    def _masked_header(self, name: str, value: str) -> str:
        return "<number>" if name.lower() in _NUMBERS and value.isdecimal() else self._masked(value)


def _users_in(text: str) -> Iterator[dict[str, str]]:
    """Yield the users of an answer: itself, those of a list, or its member."""
    found = json.loads(text) if text else {}
    members = found if isinstance(found, list) else [found, *found.values()]
    yield from (one for one in members if isinstance(one, dict) and {"id", "email"} <= set(one))


def _as_json(text: str) -> Any:
    """Return the JSON in a body whose bytes are those of the service's one way to write it, or else the text."""
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return found if json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n" == text else text


def answers_of(app: Flask, record: list[Exchange]) -> list[Exchange]:
    """Return the record with what `app`, on an empty database, answers to its requests now."""
    caller = Caller(app)
    return [{"name": one["name"], "request": one["request"], **caller.answer(one["request"])} for one in record]


def read() -> list[Exchange]:
    """Return the record, each answer with all of its headers."""
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    return [{**one, "headers": found["headers"] | one.get("headers", {})} for one in found["answers"]]


def write(answers: list[Exchange]) -> None:
    """Write the record: a member of an answer to a line, the headers that all answers share once."""
    shared = set.intersection(*(set(one["headers"].items()) for one in answers))
    lines = []
    for one in answers:
        own = {name: value for name, value in one["headers"].items() if (name, value) not in shared}
        members = {**one, "headers": own}
        lines.append(",\n".join(f'   "{name}": {_line(value)}' for name, value in members.items()))
    entries = ",\n".join(f"  {{\n{text}\n  }}" for text in lines)
    text = f'{{\n "headers": {_line(dict(sorted(shared)))},\n "answers": [\n{entries}\n ]\n}}\n'
    RECORD.write_text(text, encoding="utf-8")


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def main() -> None:
    """Ask an application on a new SQLite database, and write what it answers."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/enrol.db"
        migrate(url)
        app = create_app({**CHEAP, **SETTINGS, "DATABASE_URL": url, "TESTING": True})
        write(answers_of(app, read()))
        dispose(app)


if __name__ == "__main__":
    main()
