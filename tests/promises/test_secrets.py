"""The password, its hash and the API key are nowhere but where they belong, after success and every kind of failure."""

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner
from itsdangerous import Signer

from support.api import Answer, Api
from support.databases import everything_stored, execute, rows
from support.people import make_key, make_user
from users.actors import terminal
from users.passwords.hashing import PasswordPlace
from users.roles import Permission
from users.services import idempotency, user_creation
from users.services.links import password_links

CANARY = "canary-Xq7pass"
HASH_MARK = "argon2id$v="
JSON = {"Content-Type": "application/json"}


def crash(*arguments: object, **_: object) -> None:
    """Fail with a text that quotes what it was given, as libraries do."""
    raise ValueError(f"cannot handle {arguments!r}")


class Scene:
    """What a failure is provoked with."""

    def __init__(self, app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.app, self.api, self.patch = app, api, monkeypatch

    def create(self, **members: object) -> Answer:
        """Send the canary as the password."""
        return self.api.create(**{"password": CANARY, **members})

    def send(self, body: bytes, headers: dict[str, str] = JSON) -> Answer:
        """Send this body."""
        return self.api.call("POST", "/v1/user/", data=body, headers=headers)

    def collide(self) -> Answer:
        """Create a user whose email is taken."""
        make_user(self.app, "jo@example.com", password=CANARY)
        return self.create()

    def repeat(self) -> Answer:
        """Create a user twice under one Idempotency-Key."""
        body = f'{{"email": "jo@example.com", "password": "{CANARY}"}}'.encode()
        return [self.send(body, {**JSON, "Idempotency-Key": "one"}) for _ in range(2)][1]

    def change(self, **members: object) -> Answer:
        """Send the canary as another password of a user."""
        user = make_user(self.app, "sam@example.com")
        key = make_key(self.app, Permission.USERS_UPDATE)
        return self.api.call("PATCH", f"/v1/user/{user.id}", key=key, json={"password": CANARY, **members})

    def check(self) -> Answer:
        """Let another application send the canary, which is right."""
        make_user(self.app, "sam@example.com", password=CANARY)
        key = make_key(self.app, Permission.USERS_VERIFY)
        body = {"email": "sam@example.com", "password": CANARY}
        return self.api.call("POST", "/v1/user/verify-password", key=key, json=body)

    def fail_to_check(self) -> Answer:
        """Let the check fail with a text that holds the password."""
        self.patch.setattr(PasswordPlace, "verify", crash)
        return self.check_unknown()

    def check_unknown(self) -> Answer:
        """Let another application send the canary for nobody, in both fields."""
        key = make_key(self.app, Permission.USERS_VERIFY)
        body = {"email": CANARY, "password": CANARY}
        return self.api.call("POST", "/v1/user/verify-password", key=key, json=body)

    def fail_to_hash(self) -> Answer:
        """Let the hash fail with a text that holds the password."""
        self.patch.setattr(PasswordPlace, "hash", crash)
        return self.create()

    def break_a_constraint(self) -> Answer:
        """Break a NOT NULL: Postgres answers with the whole row, hash and all."""
        self.patch.setattr(user_creation, "clock", SimpleNamespace(now=lambda: None))
        return self.create()

    def break_the_type(self) -> Answer:
        """Give the driver a value that it cannot send."""
        self.patch.setattr(user_creation.ids, "new_id", lambda _prefix: object())  # type: ignore[attr-defined]
        return self.create()

    def lose_the_table(self) -> Answer:
        """Let the INSERT find no table."""
        execute(self.app, "ALTER TABLE audit_events RENAME TO elsewhere")
        try:
            return self.create()
        finally:
            execute(self.app, "ALTER TABLE elsewhere RENAME TO audit_events")


KINDS: dict[str, tuple[Callable[[Scene], Answer], int]] = {
    "success": (lambda scene: scene.create(), 201),
    "given again": (Scene.repeat, 201),
    "taken": (Scene.collide, 409),
    "wrong email": (lambda scene: scene.create(email="jo"), 422),
    "password too long": (lambda scene: scene.create(password=CANARY * 100), 422),
    "password a list": (lambda scene: scene.create(password=[CANARY]), 422),
    "password as the email": (lambda scene: scene.create(email=CANARY), 422),
    "broken off": (lambda scene: scene.send(f'{{"password": "{CANARY}'.encode()), 400),
    "not utf-8": (lambda scene: scene.send(f'{{"password": "{CANARY}'.encode() + b'\xff"}'), 400),
    "named twice": (lambda scene: scene.send(f'{{"password": "{CANARY}", "password": "{CANARY}"}}'.encode()), 400),
    "a form": (lambda scene: scene.send(f"password={CANARY}".encode(), {"Content-Type": "text/plain"}), 415),
    "no permission": (lambda scene: scene.api.call("POST", "/v1/user/", key=None, json={"password": CANARY}), 401),
    "in the query": (lambda scene: scene.api.get(f"/v1/user/me?password={CANARY}"), 404),
    "in the path": (lambda scene: scene.api.get(f"/v1/user/{CANARY}"), 404),
    "in an unknown path": (lambda scene: scene.api.get(f"/v1/{CANARY}/{CANARY}"), 404),
    "changed": (Scene.change, 200),
    "not changed": (lambda scene: scene.change(email=CANARY), 422),
    "changed to a taken email": (
        lambda scene: [make_user(scene.app, "jo@example.com"), scene.change(email="jo@example.com")][1],
        409,
    ),
    "checked": (Scene.check, 200),
    "checked in vain": (Scene.check_unknown, 200),
    "check fails": (Scene.fail_to_check, 500),
    "hash fails": (Scene.fail_to_hash, 500),
    "constraint fails": (Scene.break_a_constraint, 500),
    "driver fails": (Scene.break_the_type, 500),
    "table is gone": (Scene.lose_the_table, 503),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_anywhere(
    app: Flask,
    api: Api,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The password, its hash and the key are in no log, answer or table but where they belong."""
    caplog.set_level(logging.DEBUG)  # every library's log, not only ours
    logging.getLogger("enrol").addHandler(caplog.handler)
    provoke, status = KINDS[kind]
    with monkeypatch.context() as patch:
        answer = provoke(Scene(app, api, patch))
    assert answer.status_code == status
    shown = "".join(capfd.readouterr())
    assert answer.headers["X-Request-Id"] in shown  # the log was looked at
    told = str([record.__dict__ for record in caplog.records]) + caplog.text
    stored = everything_stored(app)
    for secret in (CANARY, api.key or "no key"):
        assert secret not in shown
        assert secret not in told
        assert secret not in stored
        assert secret not in answer.text
        assert secret not in str(answer.headers)
    assert HASH_MARK not in shown + told + answer.text + str(answer.headers)
    assert stored.count(HASH_MARK) == len(rows(app, "SELECT id FROM users"))


def link_acts(api: Api, patch: pytest.MonkeyPatch) -> list[Answer]:
    """Invite a user twice under one key, make a link, fail with it in hand, open it, end it. Return the answers."""
    once = [api.invite(once="one") for _ in range(2)]
    user = once[0].json["user"]
    made = api.link(user["id"])
    token = made.json["password_url"].partition("?")[2]
    with patch.context() as broken:
        for name in ("users", "password_links"):
            broken.setattr(f"users.api.{name}.jsonify", crash)
        failed = [api.invite(json={"email": "al@example.com"}), api.link(user["id"])]
    others = [api.get(f"{path}?{token}") for path in ("/password", "/v1/user/me", "/nothing")]
    others += [api.get(f"/v1/user/{token}"), api.link(user["id"], json={"expires_in": token})]
    return [*once, made, *failed, *others, api.link(user["id"], "GET"), api.link(user["id"], "DELETE")]


def test_link_is_in_its_answer_alone(
    app: Flask, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """In no log, table, other answer or repr: neither the link nor its signature."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("enrol").addHandler(caplog.handler)
    signatures: set[str] = set()
    sign = Signer.sign

    def sign_and_note(self: Signer, value: str) -> bytes:
        signed = sign(self, value)
        signatures.add(signed.decode().rpartition(".")[2])
        return signed

    monkeypatch.setattr(Signer, "sign", sign_and_note)
    answers = link_acts(Api(app.test_client(), make_key(app, *Permission)), monkeypatch)
    statuses = [201, 201, 201, 500, 500, 303, 404, 404, 404, 422, 200, 200]
    assert [one.status_code for one in answers] == statuses
    shown = "".join(capfd.readouterr()) + caplog.text + str([record.__dict__ for record in caplog.records])
    assert answers[4].headers["X-Request-Id"] in shown  # the log was looked at
    assert len(signatures) == 4
    for signature in signatures:
        assert signature not in shown + everything_stored(app)
        for one in [*answers[3:5], *answers[6:]]:
            assert signature not in one.text + str(one.headers)
    with app.app_context():
        link = password_links.make(answers[0].json["user"]["id"], actor=terminal("req_test00000000"))
    assert link.token not in repr(link) + repr(idempotency.answer(link.user, link))


@pytest.mark.parametrize("email", ["jo@example.com", "taken@example.com", "jo"])
def test_command_line_shows_no_password(
    app: Flask, runner: FlaskCliRunner, capfd: pytest.CaptureFixture[str], email: str
) -> None:
    make_user(app, "taken@example.com", password=CANARY)
    for options in (["--json"], []):
        command = ["users", "create", email, "--password-stdin", *options]
        assert CANARY not in runner.invoke(args=command, input=CANARY).output
    for command in (["users", "list"], ["users", "show", "taken@example.com"], ["keys", "list"], ["doctor"]):
        output = runner.invoke(args=command).output
        assert CANARY not in output
        assert HASH_MARK not in output
    assert CANARY not in "".join(capfd.readouterr())


@pytest.mark.one_database
def test_commands_print_a_new_secret_on_stdout_alone(
    app: Flask, runner: FlaskCliRunner, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A link, a key or a generated password is in no message, log or table."""
    caplog.set_level(logging.DEBUG)
    base = "--base-url=https://users.example.com"
    sam = make_user(app, "sam@example.com")
    key = runner.invoke(args=["keys", "create", "ci", "--scope", "users:read", "--json"])
    secrets, told = [runner.app.json.loads(key.stdout)["key"]], key.stderr
    for command in (
        ["keys", "roll", runner.app.json.loads(key.stdout)["id"]],
        ["users", "create", "jo@example.com", "--link", base],
        ["users", "create", "ada@example.com", "--generate-password"],
        ["users", "set-password", sam.id, "--generate-password"],
        ["users", "password-link", sam.id, base],
        ["users", "verify", sam.id, "--link", base],
    ):
        result = runner.invoke(args=command)
        assert result.exit_code == 0, result.output
        secrets += [result.stdout.strip().rpartition(".")[2]]  # of a link, its signature
        secrets += [result.stdout.strip().rpartition("=")[2]]
        told += result.stderr
    for read in (["users", "list"], ["users", "show", sam.id], ["keys", "list"], ["audit", "export"]):
        told += runner.invoke(args=read).output
    told += "".join(capfd.readouterr()) + caplog.text + everything_stored(app)
    assert [secret for secret in secrets if secret in told] == []


def test_command_line_shows_no_quoted_value(
    runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command line does not show the value that an unexpected error quotes."""
    monkeypatch.setattr(PasswordPlace, "hash", crash)
    result = runner.invoke(args=["users", "create", "jo@example.com", "--password-stdin"], input=CANARY)
    assert result.exit_code == 1
    assert CANARY not in result.output + "".join(capfd.readouterr())


def test_a_key_is_shown_once(app: Flask, runner: FlaskCliRunner) -> None:
    secret = make_key(app)
    shown: Any = [runner.invoke(args=["keys", "list", *more]).output for more in ([], ["--json"])]
    assert secret not in str(shown)
    assert secret[:8] in str(shown)
    assert secret not in everything_stored(app)
