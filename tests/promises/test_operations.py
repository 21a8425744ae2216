"""The pages for operators tell the truth: what they show was run, and what they list is what there is."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app import create_app
from faults.matrix import CRASHES, FAULTS, PAIR_FAULTS
from support.application import CHEAP
from support.documents import FAULTS as FAULTS_PAGE
from support.documents import OPERATIONS, blocks, first_cells, section
from support.installations import Installation, installed, production_line
from support.servers import REPOSITORY
from users import logs, rate_limits, settings
from users.auth import attempt_limits, known_devices, known_networks, sessions
from users.auth.factors import apps, recovery_codes
from users.errors import READ_ONLY
from users.logs import handlers
from users.pages import audit_sentences
from users.passwords import hash_queue
from users.passwords.argon2id import HashParameters
from users.passwords.password_lists import common_passwords
from users.passwords.policy import MIN_LENGTH, ONLY_FACTOR_MIN_LENGTH
from users.roles import Role
from users.rules.field_checks import LINK_LIFETIMES
from users.services import second_factors
from users.services.links import password_links

UNUSED = {**CHEAP, "DATABASE_URL": "sqlite:////nowhere/enrol.db"}  # for an application that is only looked at


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation whose server runs."""
    with installed(tmp_path_factory.mktemp("operations") / "enrol") as made:
        made.start("granian")
        yield made


def test_the_table_of_settings_is_the_codes_own() -> None:
    table = section(OPERATIONS, "Settings")
    assert [cell.strip("`") for cell in first_cells(table)] == list(settings.TAKES)
    defaults = {
        line.split("|")[1].strip(" `"): line.split("|")[2].strip(" `") for line in table.splitlines() if "|" in line
    }
    assert defaults["ENROL_PASSWORD_MIN_LENGTH"] == str(MIN_LENGTH)
    assert defaults["ENROL_PASSWORD_HASH"] == str(HashParameters())
    assert defaults["ENROL_HASH_QUEUE"] == str(hash_queue.QUEUE)
    assert defaults["ENROL_RATE_LIMIT"] == "6000/minute"
    assert f"{hash_queue.WAIT_SECONDS:.0f} seconds at most" in table
    assert f"{len(common_passwords()):,} passwords" in table
    assert f"It has {ONLY_FACTOR_MIN_LENGTH} characters or more" in table


def test_a_worker_has_threads_for_more_than_every_place_of_the_hash_queue() -> None:
    line = production_line().split()
    threads = int(line[line.index("--blocking-threads") + 1])
    told = " ".join(section(OPERATIONS, "Server").split())
    queue = hash_queue.HashQueue(1)
    places = sum(queue.places_of(share) for share in hash_queue.Share)
    assert "Set `ENROL_HASH_SLOTS=1` with it" in told
    assert f"{places} of the {threads} here" in told
    assert places < threads
    assert f"A worker holds {int(line[line.index('--backpressure') + 1]):,} (" in told


def test_the_limits_are_the_codes_own() -> None:
    told = " ".join(section(OPERATIONS, "Limits").split())
    assert (rate_limits.WRONG_KEYS.requests, rate_limits.WRONG_KEYS.seconds) == (100, 60)
    assert "100 a minute from one network" in told
    assert "An unknown path (`NOT_FOUND`) and a wrong method (405) are answered without a look at the key" in told
    counts = [int(number) for number in re.findall(r"\d+", told.partition("| an account, from one known")[2])]
    from_one, (network, wide) = attempt_limits.FROM_ONE_SOURCE, attempt_limits.BY_NETWORK
    account, in_a_row = attempt_limits.BY_ACCOUNT, attempt_limits.IN_A_ROW
    source = from_one.attempts
    expected = [source, 5, in_a_row.attempts, source, 5, network.attempts, 5, 6, 48, wide.attempts]
    assert counts[: len(expected)] == expected
    assert f"| {account.attempts} in an hour |" in told
    assert f"{known_devices.LIFETIME.days} days after" in told
    assert f"the last {known_networks.KEPT} networks" in told


def test_the_figures_of_second_factors_are_the_codes_own() -> None:
    told = " ".join(section(OPERATIONS, "Second factors").split())
    assert (second_factors.MOST_PER_USER, recovery_codes.NUMBER, sessions.MOST_ANSWERS) == (10, 10, 5)
    assert "ten at most" in told
    assert "a user gets ten" in told
    assert "Five in a row end the session" in told
    assert f"every {apps.STEP_SECONDS} seconds" in told
    assert sessions.CONFIRMED.total_seconds() == 10 * 60
    assert "a proof of the last ten minutes" in told
    pages = " ".join(section(OPERATIONS, "Pages").split())
    minutes = sessions.AWAITING // timedelta(minutes=1)
    assert f"waits for its second factor ends after {minutes} minutes. A user has {sessions.MOST_PER_USER} at" in pages


def test_the_fields_of_a_wrong_factor_are_told() -> None:
    told = section(OPERATIONS, "Audit trail")
    assert [name for name in audit_sentences.WRONG_FACTOR if f"`{name}`" not in told] == []


def test_an_old_secret_key_is_kept_as_long_as_a_link_works() -> None:
    told = " ".join(section(OPERATIONS, "Settings").split())
    assert f"`SECRET_KEY_FALLBACKS` for {LINK_LIFETIMES[1].days} days" in told
    assert f"Taken out after {password_links.FIRST_LIFETIME.days} days, it ends only links that were asked" in told


def test_the_table_of_commands_is_the_codes_own() -> None:
    app = create_app(UNUSED)
    groups = {name: app.cli.commands[name] for name in ("users", "keys", "audit")}
    commands = {f"{group} {name}": one for group, found in groups.items() for name, one in found.commands.items()}  # type: ignore[attr-defined]
    migrations = app.cli.commands["db"].commands  # type: ignore[attr-defined]
    own = {*commands, *(f"db {name}" for name, command in migrations.items() if not command.hidden)}
    assert {"downgrade", "migrate"} < migrations.keys()  # for developers
    table = section(OPERATIONS, "Command line")
    rows = [line.split("|", 2)[1:] for line in table.splitlines() if line.startswith("| `flask")]
    lines = {" ".join(re.findall(r"[a-z-]+", cell)[1:3]): cell + rest for cell, rest in rows}
    assert lines.keys() == own | {"doctor", "setup-link"}
    assert lines.keys() > {"db upgrade", "db current"}
    for name, command in commands.items():
        options = {option for one in command.params for option in one.opts + one.secondary_opts if option[:2] == "--"}
        told = set(re.findall(r"--[a-z-]+", lines[name]))
        assert told == options - {"--json", "--base-url"}, name  # which the text above the table tells


def test_the_table_of_roles_is_the_codes_own() -> None:
    table = section(OPERATIONS, "Permissions")
    told = {cells[1].strip(): cells[2].strip() for line in table.splitlines() if len(cells := line.split("|")) == 4}
    for role in Role:
        (words,) = [words for names, words in told.items() if f"`{role}`" in names]
        held = {"role_admin": "all", "role_member": "none"}.get(role)
        assert words == (held or ", ".join(f"`{one}`" for one in sorted(role.permissions, key=words.find)))


def test_systemd_runs_the_production_line() -> None:
    unit = blocks(OPERATIONS, "ini")[0]
    assert f"ExecStart=/opt/enrol/{production_line()}\n" in unit
    assert "\nRestart=on-failure\n" in unit  # which an exit code of 1 is


def test_the_lines_that_wait_are_the_codes_own() -> None:
    assert f"each worker keeps {handlers.BUFFERED_LINES:,} lines" in section(OPERATIONS, "Logs")


def test_the_table_of_log_members_is_the_codes_own() -> None:
    head = ["time", "level", "event", "trace_id", "request_id"]
    told = [cell.strip("`") for cell in first_cells(section(OPERATIONS, "Logs"))]
    assert told == [*head, *logs.FIELDS]


def test_argon2_is_built_at_the_version_that_is_pinned() -> None:
    built = re.findall(r"(argon2-cffi-bindings==\S+)", section(OPERATIONS, "A faster argon2"))
    pinned = re.findall(r"^argon2-cffi-bindings==.*$", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert built == pinned


def test_commands_read_the_settings_as_systemd_does(tmp_path: Path) -> None:
    """Between single quotes systemd and the shell take every character as it is (systemd.exec(5), EnvironmentFile)."""
    value = r'a  b $HOME `id` \n \\ # ; "c" %i !x é'
    (tmp_path / "enrol.env").write_text(f"ENROL_TEST='{value}'\n", encoding="utf-8")
    (script,) = re.findall(r"(#!/bin/sh\n.*?)END\n", section(OPERATIONS, "2. Settings and commands"), re.DOTALL)
    for shown, ours in (
        ("/etc/enrol.env", f"{tmp_path}/enrol.env"),
        ("/opt/enrol", str(tmp_path)),
        ('runuser -u enrol -- .venv/bin/flask "$@"', "env"),
    ):
        assert shown in script
        script = script.replace(shown, ours)
    told = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    assert f"ENROL_TEST={value}\n" in told
    assert f"HOME={tmp_path}\n" in told


def as_shown(block: str, here: Installation, backups: Path) -> str:
    """Return a block of OPERATIONS.md for an installation without systemd and without a user of its own."""
    for shown, ours in (
        ("/opt/enrol/.venv", sys.prefix),
        ("/opt/enrol", str(here.folder)),
        ("/var/lib/enrol-backup", str(backups)),
        (" -o enrol -g enrol", ""),
        ("sudo systemctl", "true"),
        ("sudo ", ""),
    ):
        block = block.replace(shown, ours)
    return block


def test_the_backup_is_private_and_can_be_restored(here: Installation, tmp_path: Path) -> None:
    backup, _enable, restore, _restore_postgres = blocks(section(OPERATIONS, "Backup and restore"), "sh")
    key = here.flask("keys", "create", "backup", "--scope", "users:create").stdout.strip()
    backups = tmp_path / "backups"
    (backups / "2020").mkdir(parents=True)
    os.utime(backups / "2020", (0, 0))  # so old that it is removed
    subprocess.run(["sh", "-c", as_shown(backup, here, backups)], check=True)
    (made,) = backups.iterdir()
    assert [oct(file.stat().st_mode)[-3:] for file in (made, *sorted(made.iterdir()))] == ["700", "600", "600"]
    with installed(tmp_path / "elsewhere") as elsewhere:
        subprocess.run(["bash", "-euc", as_shown(restore, elsewhere, backups)], check=True)
        (server,) = elsewhere.start("granian")
        body = {"email": "restored@example.com", "password": "three random words"}
        assert server.call("POST", "/v1/user/", key=key, body=body).status == 201
        assert (elsewhere.instance / "secret_key").read_text() == (here.instance / "secret_key").read_text()


def test_backup_of_a_sqlite_file_elsewhere(tmp_path: Path) -> None:
    """DATABASE_URL decides, and a file that is not there is no empty backup."""
    here, backup = Installation(tmp_path / "enrol"), blocks(section(OPERATIONS, "Backup and restore"), "sh")[0]
    with contextlib.closing(sqlite3.connect(tmp_path / "users.db")) as database:
        database.execute("CREATE TABLE users (id)")
    for name, code in (("users.db", 0), ("absent.db", 1)):
        (backups := tmp_path / f"backup-{name}").mkdir()
        command = ["sh", "-c", as_shown(backup, here, backups)]
        done = here.run(command, DATABASE_URL=f"sqlite:///{tmp_path / name}")
        assert done.returncode == code, done.stderr
    with contextlib.closing(sqlite3.connect(next((tmp_path / "backup-users.db").glob("2*/enrol.db")))) as copy:
        assert copy.execute("SELECT name FROM sqlite_schema").fetchall() == [("users",)]
    assert "There is no database at " in done.stderr
    assert not (tmp_path / "absent.db").exists()


def test_the_reasons_of_readyz_are_the_codes_own() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "users").rglob("*.py"))
    given = {"database", READ_ONLY, "secret_key", *re.findall(r'Unavailable\(.*reason="([\w-]+)"', code)}
    cells = {cell.strip("`") for cell in first_cells(section(OPERATIONS, "Health checks")) if cell.startswith("`")}
    assert {cell for cell in cells if not cell.startswith("/")} == given


def test_the_table_of_faults_is_the_programs_own() -> None:
    crashes = {f"kill -9 of {victim}" for _database, victim in CRASHES}
    assert {cell.split(",")[0] for cell in first_cells(FAULTS_PAGE)} == crashes | {*FAULTS, *PAIR_FAULTS}
    rows = [line for line in FAULTS_PAGE.splitlines() if "|" in line]
    assert all(line.split("|")[-2].strip() in ("nothing", "wrong", "---") for line in rows)
