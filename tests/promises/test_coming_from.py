"""The section "Coming from another system" of OPERATIONS.md: each recipe as it stands there, on a small file.

The hashes are those of the libraries themselves, see `tests/passwords/foreign/make_vectors.py`. Where a program of the
recipe is here, it makes the file: jq, and Postgres in the place of psql.
"""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from support.api import Api
from support.command_line import run
from support.databases import rows
from support.documents import OPERATIONS, blocks, section
from support.people import make_key
from support.servers import REPOSITORY
from support.skips import unavailable
from users.roles import Permission

pytestmark = pytest.mark.one_database

PASSWORD = "correct horse battery"
VECTORS = json.loads((REPOSITORY / "tests/passwords/foreign/vectors.json").read_text(encoding="utf-8"))["vectors"]


def hash_by(maker: str, make: str = "") -> str:
    """Return the hash of PASSWORD that a library has made."""
    found = [one for one in VECTORS if one["maker"].startswith(maker) and one["password"] == PASSWORD]
    return str(next(one["hash"] for one in found if one["make"].startswith(make)))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recipe(system: str) -> str:
    """Return the commands of a recipe."""
    (found,) = blocks(section(OPERATIONS, system), "sh")
    return found


def follow(runner: FlaskCliRunner, system: str) -> Any:
    """Run the recipe's `flask users import …`, first as a dry run, and return the result."""
    command = recipe(system).replace("\\\n", " ").partition("flask users import ")[2]
    given = shlex.split(command)
    dry = [one for one in given if one not in ("--rejects", "rejected.csv")]
    assert run(runner, "users", "import", *dry, "--dry-run").exit_code in (0, 6)
    return run(runner, "users", "import", *given, "--yes", "--json")


def can_sign_in(app: Flask, email: str, password: str = PASSWORD) -> bool:
    """Tell whether the password is the user's, twice: the second time it is a hash of our own."""
    api = Api(app.test_client(), make_key(app, Permission.USERS_VERIFY))
    body = {"email": email, "password": password}
    answers = [api.call("POST", "/v1/user/verify-password", json=body).json["valid"] for _ in range(2)]
    return all(answers)


def check(app: Flask, *, with_password: int = 1, without: int = 1) -> None:
    """Check that Ada signs in with her password, and that Zoe came without one."""
    hashes = {row.email: row.password_hash for row in rows(app, "SELECT email, password_hash FROM users")}
    assert sorted(map(bool, hashes.values())) == [False] * without + [True] * with_password
    assert can_sign_in(app, "ada@example.com")
    assert not can_sign_in(app, "ada@example.com", "wrong horse battery")
    if without:
        assert hashes["zoe@example.com"] == ""


def jq(system: str, source: str) -> None:
    """Make users.jsonl of the file `source`, by the recipe's jq."""
    if not shutil.which("jq"):
        unavailable("jq")
    command = recipe(system).partition("flask users import ")[0]
    assert f" {source} > users.jsonl" in command
    subprocess.run(["sh", "-ec", command], check=True)


def test_django(app: Flask, runner: FlaskCliRunner, folder: Path) -> None:
    header = re.findall(r"write\(\[('email'.*?)\]\)", recipe("Django"))[0].replace("'", "").replace(", ", ",")
    made = "2026-11-01T13:05:09.095910+00:00"
    known = hash_by("Django PBKDF2PasswordHasher")
    text = f"{header}\r\nada@example.com,Ada,,True,{made},{known}\r\nzoe@example.com,,,False,{made},\r\n"
    (folder / "users.csv").write_text(text)
    assert follow(runner, "Django").exit_code == 0
    check(app)
    (zoe,) = rows(app, "SELECT is_active FROM users WHERE email = 'zoe@example.com'")
    assert not zoe.is_active


def test_werkzeug(app: Flask, runner: FlaskCliRunner, folder: Path) -> None:
    """The file is that of SQLite's own `-header -csv`."""
    text = f"email,password_hash\r\nada@example.com,{hash_by('Werkzeug', 'scrypt-32768')}\r\nzoe@example.com,\r\n"
    (folder / "users.csv").write_text(text)
    assert follow(runner, "Flask-Security or Werkzeug").exit_code == 0
    check(app)


@pytest.mark.parametrize("kind", ["pbkdf2-sha256", "pbkdf2-sha512", "argon2"])
def test_keycloak(app: Flask, runner: FlaskCliRunner, folder: Path, kind: str) -> None:
    """Credentials as `PasswordCredentialData` and `PasswordSecretData` of Keycloak are written."""
    how: dict[str, Any] = {"algorithm": kind, "additionalParameters": {}}
    if kind == "argon2":
        *_, salt, digest = hash_by("argon2-cffi", "argon2id-4096-2-1").split("$")
        how |= {"hashIterations": 2}
        how["additionalParameters"] = {
            "hashLength": ["32"],
            "memory": ["4096"],
            "type": ["id"],
            "version": ["1.3"],
            "parallelism": ["1"],
        }
    else:
        _, _, iterations, salt, digest = hash_by("Keycloak", kind).replace(".", "+").split("$")
        how["hashIterations"] = int(iterations)
    made = {"value": digest + "=" * (-len(digest) % 4), "salt": salt + "=" * (-len(salt) % 4)}
    made["additionalParameters"] = {}  # type: ignore[assignment]
    credential = {"type": "password", "secretData": json.dumps(made), "credentialData": json.dumps(how)}
    ada = {"username": "ada", "email": "ada@example.com", "firstName": "Ada", "enabled": True}
    zoe = {"username": "zoe", "email": "zoe@example.com", "enabled": True, "credentials": []}
    realm = {
        "realm": "myrealm",
        "users": [
            {**ada, "createdTimestamp": 1700000000123, "credentials": [{"type": "otp"}, credential]},
            {**zoe, "createdTimestamp": 1700000000123},
            {"username": "service-account-x", "enabled": True, "createdTimestamp": 1700000000123},
        ],
    }
    (folder / "export").mkdir()
    (folder / "export/myrealm-realm.json").write_text(json.dumps(realm, indent=2))
    jq("Keycloak", "export/myrealm-realm.json")
    assert follow(runner, "Keycloak").exit_code == 0
    check(app)


def test_auth0(app: Flask, runner: FlaskCliRunner, folder: Path) -> None:
    lines = [
        {"_id": {"$oid": "1"}, "email": "ada@example.com", "passwordHash": hash_by("bcrypt"), "tenant": "t"},
        {"_id": {"$oid": "2"}, "email": "zoe@example.com", "email_verified": False, "tenant": "t"},
    ]
    (folder / "hashes.json").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    jq("Auth0", "hashes.json")
    assert follow(runner, "Auth0").exit_code == 0
    check(app)


def test_supabase(app: Flask, runner: FlaskCliRunner, folder: Path, empty_postgres: str) -> None:
    """The columns are those of Supabase's table."""
    copy = re.findall(r'-c "(COPY .*)" > users.csv', recipe("Supabase"), re.DOTALL)[0]
    with psycopg.connect(empty_postgres) as connection:
        connection.execute(
            "CREATE SCHEMA auth; CREATE TABLE auth.users (id uuid, email varchar(255), encrypted_password varchar(255),"
            " email_confirmed_at timestamptz, created_at timestamptz, deleted_at timestamptz)"
        )
        for email, known, deleted in (
            ("ada@example.com", hash_by("bcrypt"), None),
            ("zoe@example.com", "", None),
            ("gone@example.com", hash_by("bcrypt"), "2026-01-02"),
            (None, hash_by("bcrypt"), None),
        ):
            statement = "INSERT INTO auth.users VALUES (NULL, %s, %s, '2026-01-01 10:30:00.25+02', '2026-01-01', %s)"
            connection.execute(statement, (email, known, deleted))
        with connection.cursor().copy(copy.encode()) as rows_out, (folder / "users.csv").open("wb") as file:
            file.writelines(bytes(part) for part in rows_out)
    assert follow(runner, "Supabase").exit_code == 0
    check(app)
    (ada,) = rows(app, "SELECT last_verified FROM users WHERE email = 'ada@example.com'")
    assert "08:30:00.25" in str(ada.last_verified)


def test_clerk(app: Flask, runner: FlaskCliRunner, folder: Path) -> None:
    header = (
        "id,first_name,last_name,username,primary_email_address,primary_phone_number,verified_email_addresses,"
        "unverified_email_addresses,verified_phone_numbers,unverified_phone_numbers,totp_secret,password_digest,"
        "password_hasher"
    )
    ada = f"user_1,Ada,Lovelace,ada,ada@example.com,,ada@example.com,,,,,{hash_by('bcrypt')},bcrypt"
    zoe = "user_2,,,,zoe@example.com,,zoe@example.com,,,,,,"
    (folder / "users.csv").write_text(f"{header}\n{ada}\n{zoe}\n")
    assert follow(runner, "Clerk").exit_code == 0
    check(app)


def test_wordpress(app: Flask, runner: FlaskCliRunner, folder: Path) -> None:
    known = hash_by("WordPress")
    old = "$P$BabcdefghijklmnopqrstuvwxyzABCDE"
    lines = ["user_email,user_pass,user_registered"]
    lines += [f'{email},{text},"2025-02-18 16:30:43"' for email, text in zip(("ada", "zoe"), (known, old), strict=True)]
    text = "\n".join(lines).replace("ada,", "ada@example.com,").replace("zoe,", "zoe@example.com,")
    (folder / "users.csv").write_text(f"{text}\n")
    assert follow(runner, "WordPress").exit_code == 0
    check(app)


def test_spreadsheet(app: Flask, runner: FlaskCliRunner, folder: Path) -> None:
    """Excel in Western Europe: semicolons, and a code page."""
    text = "E-Mail;Vorname\r\nzoe@example.com;Zoë\r\nno email;Bob\r\n".replace("Vorname", "First Name")
    (folder / "staff.csv").write_bytes(text.encode("windows-1252"))
    assert follow(runner, "A spreadsheet").exit_code == 6
    assert [row.first_name for row in rows(app, "SELECT first_name FROM users")] == ["Zoë"]
    assert "no email;Bob" in (folder / "rejected.csv").read_text("windows-1252")


def test_every_recipe_is_tried() -> None:
    """Each heading of the section has a test here."""
    headings = re.findall(r"^### (.*)$", section(OPERATIONS, "Coming from another system"), re.MULTILINE)
    tried = re.findall(r'follow\(runner, "(.*?)"\)', Path(__file__).read_text(encoding="utf-8"))
    assert headings == tried
