"""Every operation answers the error codes that `openapi.json` lists for it, and no other in the same conditions.

After every test of the API, `support.answers` checks as well that each answer is listed.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from support.api import Answer, Api
from support.databases import execute
from support.imports import add_import
from support.people import PASSWORD, UNKNOWN_ID, make_key, make_user
from users import clock
from users.bulk import export
from users.errors import Overloaded
from users.field_errors import FieldCode
from users.openapi import contract
from users.openapi.contract import Operation
from users.passwords.hash_queue import HashQueue
from users.roles import Permission, Role
from users.rules import key_format

pytestmark = [pytest.mark.one_database]
TAKEN = "taken@example.com"
UNKNOWN_IMPORT = "imp_01900000000070008000000000000000"


@dataclass
class Caller:
    """Ada, the only administrator, who calls one operation about herself."""

    app: Flask
    api: Api
    user_id: str
    operation: Operation
    import_id: str = UNKNOWN_IMPORT

    def call(self, *, path: str | None = None, body: dict[str, Any] | None = None, **more: Any) -> Answer:
        """Call the operation, with what it needs unless that is given."""
        if self.operation.body is not None and "data" not in more:
            more["json"] = {**self.valid_body(), **(body or {})}
        elif self.operation.file and "data" not in more:
            more["data"] = f"email\n{(body or {}).get('email', 'jo@example.com')}\n"
            more["headers"] = {"Content-Type": self.operation.file, **more.get("headers", {})}
        return self.api.call(self.operation.method, path or self.path(), **more)

    def path(self, user_id: str | None = None, email: str = "ada@example.com", import_id: str | None = None) -> str:
        """Return the path of the operation, about Ada and her import unless another is given."""
        import_id = import_id or self.import_id
        return self.operation.path.format(user_id=user_id or self.user_id, email=email, import_id=import_id)

    def valid_body(self) -> dict[str, Any]:
        """Return a body that the operation takes."""
        bodies: dict[str, dict[str, Any]] = {
            "createPasswordLink": {},
            "createUsers": {"users": [{"email": "many@example.com", "password": PASSWORD}]},
            "createUser": {"email": "jo@example.com", "password": PASSWORD},
            "getUsersById": {"user_ids": [self.user_id]},
            "inviteUser": {"email": "ann@example.com"},
            "updateUser": {"password": PASSWORD},
            "verifyPassword": {"email": "ada@example.com", "password": PASSWORD},
        }
        return bodies[self.operation.id]


def send_raw(caller: Caller, body: bytes, content_type: str = "") -> Answer:
    """Call with these bytes as the body."""
    return caller.call(data=body, headers={"Content-Type": content_type or caller.operation.file or "application/json"})


def with_malformed_parameter(caller: Caller) -> Answer:
    """Call with values that no parameter of the operation takes or, if it has none, as no operation is called."""
    if queried := [f"{one.name}=?" for one in caller.operation.parameters if "in the query" in one.type]:
        return caller.call(path=f"{caller.path()}?{'&'.join(queried)}")
    for one in caller.operation.parameters:
        if one.name == "If-Match":
            return caller.call(headers={"If-Match": "?"})
    return caller.call(headers={"Connection": "Upgrade", "Upgrade": "websocket"})


def with_stopped_key(caller: Caller, column: str) -> Answer:
    """Call with a key of which one of the times is over."""
    key = make_key(caller.app, *Permission)
    statement = f"UPDATE api_keys SET {column} = :at WHERE key_hash = :hash"
    execute(caller.app, statement, at=clock.now(), hash=key_format.digest(key))
    return caller.call(key=key)


def about_unknown_user(caller: Caller) -> Answer:
    """Call about a user who does not exist, or with a key that no user owns."""
    if "{" in caller.operation.path:
        return caller.call(path=caller.path(UNKNOWN_ID, "nobody@example.com"))
    return caller.call(key=make_key(caller.app, *Permission))


def about_deactivated_user(caller: Caller) -> Answer:
    """Call about a user who is deactivated."""
    user = make_user(caller.app, f"{caller.operation.id}@example.com")
    execute(caller.app, "UPDATE users SET is_active = false WHERE id = :id", id=user.id)
    return caller.call(path=caller.path(user.id, user.email))


def twice_with_one_idempotency_key(caller: Caller) -> Answer:
    """Send two bodies."""
    headers = {"Idempotency-Key": "one"}
    caller.call(headers=headers)
    other = {"email": "other@example.com"}
    return caller.call(headers=headers, body={"users": [other]} if caller.operation.id == "createUsers" else other)


def about_import(caller: Caller, state: str, **values: Any) -> Answer:
    """Call about an import of Ada's that is in this state."""
    add_import(caller.app, caller.import_id, state, **values)
    try:
        return caller.call()
    finally:
        execute(caller.app, "DELETE FROM imports")


def with_ten_imports(caller: Caller) -> Answer:
    """Call while ten imports have not ended."""
    for number in range(10):
        add_import(caller.app, f"imp_{number:032}", "checked")
    try:
        return caller.call()
    finally:
        execute(caller.app, "DELETE FROM imports")


def twice(caller: Caller) -> Answer:
    """Call twice where one request a minute is allowed."""
    caller.call()
    return caller.call()


def without_table(caller: Caller) -> Answer:
    """Call while the database cannot be read."""
    execute(caller.app, "ALTER TABLE api_keys RENAME TO elsewhere")
    try:
        return caller.call()
    finally:
        execute(caller.app, "ALTER TABLE elsewhere RENAME TO api_keys")


def while_patched(target: object, name: str, error: Exception) -> Callable[[Caller], Answer]:
    """Return what calls while the function `name` of `target` raises `error`."""

    def fail(*_: object, **__: object) -> None:
        raise error

    def provoke(caller: Caller) -> Answer:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, name, fail)
            return caller.call()

    return provoke


def while_everything_is_busy(caller: Caller) -> Answer:
    """Call while the hash queue is full and other exports are being made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "_making", threading.BoundedSemaphore(1))
        export._making.acquire()
        return while_patched(HashQueue, "place", Overloaded())(caller)


def about_taken_email(caller: Caller) -> Answer:
    """Call with the email of another user or, without a body, about a deleted user who had that email."""
    if caller.operation.body is not None:
        return caller.call(body={"email": TAKEN})
    user = make_user(caller.app, f"{caller.operation.id}@example.com")
    taken = "UPDATE users SET email = :taken, email_key = :taken, deleted_at = updated_at WHERE id = :id"
    execute(caller.app, taken, taken=TAKEN, id=user.id)
    return caller.call(path=caller.path(user.id, TAKEN))


PROVOKED: dict[str, Callable[[Caller], Answer]] = {
    "API_KEY_DEACTIVATED": lambda caller: with_stopped_key(caller, "deactivated_at"),
    "API_KEY_EXPIRED": lambda caller: with_stopped_key(caller, "expires_at"),
    "AUTHENTICATION_REQUIRED": lambda caller: caller.call(key=None),
    "BATCH_REJECTED": lambda caller: caller.call(body={"users": [{}], "all_or_nothing": True}),
    "BATCH_TOO_LARGE": lambda caller: caller.call(body={"users": [{}] * 1_001}),
    "IDEMPOTENCY_KEY_REUSED": twice_with_one_idempotency_key,
    "IMPORT_ELSEWHERE": lambda caller: about_import(caller, "checked", machine="another"),
    "IMPORT_NOT_FOUND": lambda caller: caller.call(),
    "IMPORT_STATE": lambda caller: about_import(caller, "finished", ended_at=clock.now()),
    "INSUFFICIENT_PERMISSIONS": lambda caller: caller.call(key=make_key(caller.app)),
    "INTERNAL_SERVER_ERROR": while_patched(key_format, "digest", RuntimeError()),
    "INVALID_JSON": lambda caller: send_raw(caller, b"{"),
    "INVALID_PARAMETER": with_malformed_parameter,
    "LAST_ADMINISTRATOR": lambda caller: caller.call(body={"is_active": False}),
    "NOT_FOUND": lambda caller: caller.call(path=caller.path("/x", "", "/x")),
    "OVERLOADED": while_everything_is_busy,
    "PAYLOAD_TOO_LARGE": lambda caller: send_raw(caller, b" " * (2 * 1024 * 1024 + 1)),
    "PRECONDITION_FAILED": lambda caller: caller.call(headers={"If-Match": '"other"'}),
    "RATE_LIMIT_EXCEEDED": twice,
    "SERVICE_UNAVAILABLE": without_table,
    "TOO_MANY_IMPORTS": with_ten_imports,
    "UNSUPPORTED_MEDIA_TYPE": lambda caller: send_raw(caller, b"{}", "text/plain"),
    "UNTRUSTED_HOST": lambda caller: caller.call(headers={"Host": "other.example"}),
    "USER_ALREADY_EXISTS": about_taken_email,
    "USER_DEACTIVATED": about_deactivated_user,
    "USER_NOT_FOUND": about_unknown_user,
    "VALIDATION_ERROR": lambda caller: caller.call(body={"unknown": 1}),
}
SETTINGS = {
    "PAYLOAD_TOO_LARGE": {"ENROL_IMPORT_MAX_BYTES": "65536"},
    "RATE_LIMIT_EXCEEDED": {"ENROL_RATE_LIMIT": "1/minute"},
    "UNTRUSTED_HOST": {"ENROL_TRUSTED_HOSTS": "localhost"},
}
# They have no such parameter, and Werkzeug answers 405 to a WebSocket on a path that has other methods too.
NOT_PROVOKED = [
    (operation, "INVALID_PARAMETER")
    for operation in ("createPasswordLink", "deletePasswordLink", "getPasswordLink", "getUser")
]
LISTED = {code for operation in contract.operations() for answer in operation.responses for code in answer.codes}


def test_every_listed_code_is_provoked() -> None:
    assert set(PROVOKED) == LISTED


def code_of(answer: Answer) -> str:
    """Return the code of an answer, VALIDATION_ERROR for a field's own, or "" for what is no error."""
    if answer.status_code < 400:
        return ""
    code: str = answer.json["error"]["code"]
    return "VALIDATION_ERROR" if code in set(FieldCode) - {FieldCode.USER_ALREADY_EXISTS} else code


@pytest.mark.parametrize(("code", "settings"), [(code, SETTINGS.get(code, {})) for code in sorted(LISTED)])
def test_code_is_answered_where_it_is_listed(app: Flask, code: str) -> None:
    make_user(app, TAKEN)
    ada = make_user(app, "ada@example.com", Role.ADMIN)
    for operation in contract.operations():
        listed = any(code in answer.codes for answer in operation.responses)
        api = Api(app.test_client(), make_key(app, *Permission, owner=ada))
        answered = code_of(PROVOKED[code](Caller(app, api, ada.id, operation)))
        assert (answered == code) is (listed and (operation.id, code) not in NOT_PROVOKED), operation.id
