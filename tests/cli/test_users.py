"""The command line: data on stdout, words on stderr, and an exit code that a script can read."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.command_line import in_a_shell, run
from support.databases import execute, rows
from support.people import PASSWORD, Cast, make_key, make_user
from users.passwords import argon2id, policy
from users.roles import Permission, Role
from users.rules import key_format
from users.services import api_keys, user_creation
from users.storage import paging


def test_create_prints_what_the_api_answers(runner: FlaskCliRunner, api: Api) -> None:
    command = ("users", "create", "jo@example.com", "--first-name", "Jo", "--password-stdin", "--json")
    result = run(runner, *command, stdin=PASSWORD)
    assert result.exit_code == 0
    user = json.loads(result.stdout)
    assert api.get(f"/v1/user/{user['id']}").text == run(runner, "users", "show", user["id"], "--json").stdout
    assert list(user) == list(api.create(email="ada@example.com").json)
    assert user["email"] in result.stderr
    again = run(runner, *command, stdin=PASSWORD)
    assert again.exit_code == 4
    answer = api.create(email="jo@example.com").json
    told = json.loads(again.stdout)
    for body in (answer, told):
        del body["error"]["trace_id"], body["error"]["timestamp"]
    assert told == answer
    assert again.stderr == f"A user with this email address already exists: {user['id']}\n"


def test_create_without_json_prints_the_id_alone(runner: FlaskCliRunner) -> None:
    result = run(
        runner, "users", "create", "jo@example.com", "--role", "role_admin", "--password-stdin", stdin=PASSWORD
    )
    assert re.fullmatch(r"usr_[0-9a-f]{32}\n", result.stdout)
    assert "global_role_id: role_admin" in run(runner, "users", "show", "jo@example.com").stdout


def test_a_generated_password_is_alone_on_stdout_and_works(app: Flask, runner: FlaskCliRunner) -> None:
    made = run(runner, "users", "create", "jo@example.com", "--generate-password")
    changed = run(runner, "users", "set-password", "jo@example.com", "--generate-password")
    assert made.stdout != changed.stdout
    assert len(changed.stdout) == policy.GENERATED_LENGTH + 1
    ((stored,),) = rows(app, "SELECT password_hash FROM users")
    assert PasswordHasher().verify(stored, changed.stdout.removesuffix("\n"))


@pytest.mark.one_database
@pytest.mark.parametrize(
    "args",
    [
        ("users", "create", "jo@example.com"),  # no terminal to ask at
        ("users", "create", "jo@example.com", "--generate-password", "--json"),
        ("users", "create", "jo@example.com", "--generate-password", "--password-stdin"),
        ("users", "create"),
        ("users", "create", "jo@example.com", "--password", "in argv"),
        ("users", "list", "--limit", "0"),
        ("users", "list", "--limit", "9223372036854775808"),
        ("users", "list", "--after", "ada@example.com"),
        ("users", "list", "--after", "\udcff"),
        ("keys", "create", "ci"),
        ("keys", "create", "ci", "--scope", "users:conquer"),
        ("keys", "create", "ci", "--scope", "users:read", "--expires-in", "soon"),
        ("keys", "create", "ci", "--scope", "users:read", "--expires-in", "0d"),
        ("keys", "create", "ci", "--scope", "users:read", "--expires-in", "9999999w"),
        ("users", "conquer"),
    ],
    ids=lambda args: ascii(" ".join(args)),
)
def test_wrong_usage_is_exit_2(app: Flask, runner: FlaskCliRunner, args: tuple[str, ...]) -> None:
    result = run(runner, *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert rows(app, "SELECT id FROM users") == rows(app, "SELECT id FROM api_keys") == []


def test_a_password_is_asked_for_twice_at_a_terminal(
    app: Flask, runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("users.cli.prompts.has_terminal", lambda: True)
    result = run(runner, "users", "create", "jo@example.com", stdin=f"{PASSWORD}\nslip\n{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert len(rows(app, "SELECT id FROM users")) == 1


def test_what_was_not_found_is_exit_5(runner: FlaskCliRunner) -> None:
    for reference in ("nobody@example.com", "usr_01900000000070008000000000000000", "no address", "", "jo@x\udcff.com"):
        for command in (("show",), ("deactivate",), ("set-password", "--generate-password")):
            result = run(runner, "users", command[0], reference, *command[1:])
            assert (result.exit_code, result.stdout, result.stderr) == (5, "", "There is no such user.\n")
    for key_id in ("akid_1", "akid_01900000000070008000000000000000", "\udcff"):
        assert run(runner, "keys", "revoke", key_id).exit_code == 5
    assert run(runner, "keys", "create", "ci", "--owner", "nobody@example.com").exit_code == 5


def test_a_role_that_is_none_is_exit_3(runner: FlaskCliRunner) -> None:
    result = run(runner, "users", "create", "jo@example.com", "--role", "boss", "--password-stdin", stdin=PASSWORD)
    assert result.exit_code == 3
    words = "Choose one of the roles: role_admin, role_operator, role_auditor, role_member\n"
    assert result.stderr == words


def test_bytes_that_are_not_utf_8_are_no_password(runner: FlaskCliRunner) -> None:
    result = run(runner, "users", "create", "jo@example.com", "--password-stdin", stdin=b"caf\xe9 au lait")
    assert result.exit_code == 3
    assert result.stderr == "Password must not contain NUL or lone surrogates\n"


def test_an_owner_who_goes_while_a_key_is_made_is_exit_5(
    app: Flask, runner: FlaskCliRunner, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key = api_keys.create_key

    def erase_first(*given: Any, **more: Any) -> api_keys.IssuedKey:
        execute(app, "DELETE FROM users WHERE id = :id", id=cast.sam.id)
        return create_key(*given, **more)

    monkeypatch.setattr(api_keys, "create_key", erase_first)
    result = run(runner, "keys", "create", "CI", "--owner", "sam@example.com", "--scope", "users:read")
    assert (result.exit_code, result.stdout, result.stderr) == (5, "", "There is no such user.\n")


def test_the_last_administrator_is_exit_3(runner: FlaskCliRunner, cast: Cast) -> None:
    result = run(runner, "users", "deactivate", "ada@example.com")
    assert result.exit_code == 3
    words = "This is the last active administrator. Give another user the role first."
    assert result.stderr == f"{words} ({cast.ada.id})\n"


def test_a_refusal_is_in_the_trail_under_the_id_that_was_printed(
    app: Flask, runner: FlaskCliRunner, cast: Cast
) -> None:
    printed = json.loads(run(runner, "users", "deactivate", "ada@example.com", "--json").stdout)
    (row,) = rows(app, "SELECT request_id FROM audit_events WHERE outcome = 'refused'")
    assert printed["error"]["trace_id"] == row.request_id


def test_a_user_is_found_by_any_spelling_of_the_email(app: Flask, runner: FlaskCliRunner) -> None:
    user = make_user(app, "Jürgen@exämple.com")
    for spelling in ("jürgen@exämple.com", " JÜRGEN@XN--EXMPLE-CUA.COM ", "ju\u0308rgen@exämple.com", user.id):
        assert json.loads(run(runner, "users", "show", spelling, "--json").stdout)["id"] == user.id


def test_a_user_whose_domain_is_no_longer_allowed_is_found(app: Flask, runner: FlaskCliRunner) -> None:
    user = make_user(app, "jo@example.com")
    execute(app, "UPDATE users SET email = 'jo@intra', email_key = 'jo@intra' WHERE id = :id", id=user.id)
    assert json.loads(run(runner, "users", "show", "jo@intra", "--json").stdout)["id"] == user.id


def test_list_is_paged_oldest_first(runner: FlaskCliRunner, cast: Cast) -> None:
    whole = run(runner, "users", "list", "--json")
    assert [user["email"].split("@")[0] for user in json.loads(whole.stdout)] == ["ada", "omar", "vera", "sam"]
    assert whole.stderr == ""
    first = run(runner, "users", "list", "--json", "--limit", "3")
    assert first.stderr == f"There may be more: --after {cast.vera.id}\n"
    rest = run(runner, "users", "list", "--json", "--after", cast.vera.id)
    assert json.loads(whole.stdout) == json.loads(first.stdout) + json.loads(rest.stdout)
    run(runner, "users", "deactivate", "sam@example.com")
    assert "sam@example.com" not in run(runner, "users", "list", "--active-only").stdout
    table = run(runner, "users", "list").stdout
    assert re.search(r"sam@example\.com +deactivated", table)
    assert re.search(r"ada@example\.com +Ada Lovelace +active +role_admin", table)


def test_deactivate_and_set_password_print_the_user(runner: FlaskCliRunner, cast: Cast) -> None:
    changed = run(runner, "users", "set-password", "sam@example.com", "--password-stdin", "--json", stdin=PASSWORD)
    assert json.loads(changed.stdout)["id"] == cast.sam.id
    stopped = run(runner, "users", "deactivate", "sam@example.com", "--json")
    assert json.loads(stopped.stdout)["is_active"] is False
    assert run(runner, "users", "deactivate", "sam@example.com").exit_code == 0
    weak = run(runner, "users", "set-password", "sam@example.com", "--password-stdin", stdin="short")
    assert (weak.exit_code, weak.stderr) == (3, "Password must be at least 8 characters\n")


def test_a_key_is_printed_alone_and_works(app: Flask, runner: FlaskCliRunner, api: Api) -> None:
    result = run(runner, "keys", "create", "ci", "--scope", "users:create", "--scope", "users:read")
    assert key_format.is_well_formed(result.stdout.removesuffix("\n"))
    api.key = result.stdout.strip()
    assert api.create().status_code == 201


def test_a_key_as_json_has_the_contracts_members(runner: FlaskCliRunner, cast: Cast) -> None:
    command = ("keys", "create", "ci", "--scope", "users:read", "--owner", "ada@example.com", "--expires-in", "90d")
    made = json.loads(run(runner, *command, "--json").stdout)
    assert list(made) == ["id", "key", "name", "prefix", "scopes", "owner_id", "created_at", "expires_at"]
    assert made["prefix"] == made["key"][:8]
    assert (made["scopes"], made["owner_id"]) == (["users:read"], cast.ada.id)
    assert made["created_at"] < made["expires_at"]
    (listed,) = json.loads(run(runner, "keys", "list", "--json").stdout)
    secret = made.pop("key")
    assert listed == made
    assert secret not in run(runner, "keys", "list").stdout


def test_a_scope_that_the_owner_does_not_hold_is_pointed_out(runner: FlaskCliRunner, cast: Cast) -> None:
    result = run(runner, "keys", "create", "ci", "--scope", "users:create", "--owner", "sam@example.com")
    assert result.exit_code == 0
    assert "sam@example.com does not hold users:create now, nor does the key." in result.stderr
    run(runner, "users", "deactivate", "sam@example.com")
    result = run(runner, "keys", "create", "ci", "--owner", "sam@example.com")
    assert "sam@example.com is deactivated, and so is the key until that changes." in result.stderr


def test_the_list_of_keys_tells_their_state(app: Flask, runner: FlaskCliRunner, api: Api) -> None:
    run(runner, "keys", "create", "old", "--scope", "users:read", "--expires-in", "1m")
    execute(app, "UPDATE api_keys SET expires_at = created_at WHERE name = 'old'")
    gone = json.loads(run(runner, "keys", "create", "gone", "--scope", "users:read", "--json").stdout)
    revoked = run(runner, "keys", "revoke", gone["id"])
    assert (revoked.exit_code, revoked.stdout) == (0, gone["id"] + "\n")
    api.get("/v1/user/me")
    table = run(runner, "keys", "list").stdout
    for name, state in (("test", "active"), ("old", "expired"), ("gone", "revoked")):
        assert re.search(rf" {name} .* {state}\n", table)


@pytest.mark.parametrize("at_once", [1, 2, 1000])
def test_the_list_of_keys_is_whole_and_read_piece_by_piece(
    app: Flask, runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    assert run(runner, "keys", "list", "--json").stdout == "[]\n"
    assert run(runner, "keys", "list").stdout.startswith("ID  NAME  PREFIX  SCOPES  OWNER  CREATED  LAST USED  ")
    for number in range(5):
        make_key(app, Permission.USERS_READ, name="x" * (number * 7 % 5 + 1))
    monkeypatch.setattr(paging, "BATCH_SIZE", at_once)
    with app.app_context():
        key_format = [key.as_key() for key in api_keys.list_keys()]
    assert run(runner, "keys", "list", "--json").stdout == json.dumps(key_format, separators=(",", ":")) + "\n"
    assert [len(key["name"]) for key in key_format] == [1, 3, 5, 2, 4]
    head, *lines = run(runner, "keys", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [key["id"] for key in key_format]
    assert {line.index(key["prefix"]) for line, key in zip(lines, key_format, strict=True)} == {head.index("PREFIX")}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "Enter a name"),
        ("x" * 256, "Name must be 255 characters or fewer"),
        ("a\nb", "Name must not contain line breaks or control characters"),
    ],
)
def test_a_key_needs_a_name(runner: FlaskCliRunner, name: str, words: str) -> None:
    result = run(runner, "keys", "create", name, "--scope", "users:read")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", words + "\n")


def test_a_database_that_is_away_is_a_sentence_and_exit_1(app: Flask, runner: FlaskCliRunner) -> None:
    execute(app, "ALTER TABLE users RENAME TO elsewhere")
    try:
        result = run(runner, "users", "list", "--json")
    finally:
        execute(app, "ALTER TABLE elsewhere RENAME TO users")
    assert result.exit_code == 1
    assert result.stderr == "The database is not set up for this version of Enrol. Run: flask db upgrade\n"
    assert json.loads(result.stdout)["error"]["code"] == "SERVICE_UNAVAILABLE"


def test_a_reader_who_has_seen_enough_is_no_fault(app: Flask) -> None:
    for number in range(3):
        make_user(app, f"user{number}@example.com", first_name="x" * 200)
    assert in_a_shell(app, "flask users list --limit 1000 | head -c 1") == (0, "I", "")


def test_nothing_is_made_that_could_not_be_shown(app: Flask) -> None:
    words = "Error: Standard output is closed; there is nowhere to print to.\n"
    assert in_a_shell(app, "flask users create jo@example.com --generate-password >&-") == (1, "", words)
    assert in_a_shell(app, "flask users create jo@example.com --password-stdin <&-")[:2] == (2, "")
    assert rows(app, "SELECT id FROM users") == []


def test_an_unexpected_error_is_exit_1_without_a_traceback(
    runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def crash(**_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(user_creation, "list_users", crash)
    result = run(runner, "users", "list")
    assert result.exit_code == 1
    assert "canary" not in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("settings", [{"ENROL_PASSWORD_HASH": "m=19456,t=2,p=1"}])
def test_doctor_says_ok_or_what_to_do(app: Flask, runner: FlaskCliRunner) -> None:
    ill = run(runner, "doctor")
    assert ill.exit_code == 1
    assert "FAIL administrators: There is none. Run: flask users create you@example.com --role role_admin" in ill.stdout
    make_user(app, "ada@example.com", Role.ADMIN)
    well = run(runner, "doctor")
    subjects = ["versions", "database", "instance", "secret key", "administrators", "password hash", "addresses"]
    assert [line[5:].split(":")[0] for line in well.stdout.splitlines()] == subjects
    assert well.exit_code == 0, well.stdout
    assert re.search(r"password hash: argon2id m=19456,t=2,p=1, \d+ ms a hash, \d+ a second", well.stdout)


def test_doctor_finds_a_weak_hash(runner: FlaskCliRunner) -> None:
    assert "FAIL password hash: argon2id m=8,t=1,p=1" in run(runner, "doctor").stdout


@pytest.mark.parametrize("settings", [{"ENROL_HASH_SLOTS": "3", "ENROL_HASH_QUEUE": "0"}])
def test_doctor_hashes_as_many_at_once_as_the_service_would(
    runner: FlaskCliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argon2id, "hash_of", lambda *_: time.sleep(0.05))
    start = time.monotonic()
    found = re.search(r", (\d+) ms a hash, (\d+) a second \(3 at once\)", run(runner, "doctor").stdout)
    assert time.monotonic() - start < 5
    assert found
    assert int(found[1]) >= 50
    assert 20 < int(found[2]) <= 60, "one alone makes 20"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ENROL_TRUSTED_PROXIES": "1"}, "Set ENROL_PUBLIC_URL."),
        ({"ENROL_PUBLIC_URL": "https://users.example.com"}, "Set ENROL_TRUSTED_PROXIES to 1."),
        (
            {"ENROL_PUBLIC_URL": "http://users.example.com", "ENROL_TRUSTED_HOSTS": "example.com"},
            "Add the host of ENROL_PUBLIC_URL to ENROL_TRUSTED_HOSTS.",
        ),
    ],
)
def test_doctor_finds_addresses_that_do_not_agree(runner: FlaskCliRunner, words: str) -> None:
    assert words in run(runner, "doctor").stdout


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_doctor_finds_files_that_others_can_read(runner: FlaskCliRunner, tmp_path: Path) -> None:
    (tmp_path / "enrol.db").chmod(0o644)
    assert f"Run: chmod 600 {tmp_path / 'enrol.db'}" in run(runner, "doctor").stdout
    for file in tmp_path.glob("enrol.db*"):  # those beside the database took on its mode
        file.chmod(0o600)
    assert "ok   instance" in run(runner, "doctor").stdout
    (tmp_path / "enrol.db.before-0001").touch(0o644)
    assert f"Run: chmod 600 {tmp_path / 'enrol.db.before-0001'}" in run(runner, "doctor").stdout
