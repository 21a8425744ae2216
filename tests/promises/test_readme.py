"""README tells the truth: what it shows was run, and what it lists is what there is."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import create_app
from faults.matrix import CRASHES, FAULTS
from support.api import USER_FIELDS
from support.application import CHEAP
from support.installations import Installation, installed, production_line
from support.readme import blocks, first_cells, section
from support.servers import REPOSITORY, Server
from users import logs, rate_limits, settings
from users.auth import known_devices, known_networks, password_limits
from users.errors import EnrolError
from users.passwords import hash_queue
from users.passwords.argon2id import HashParameters
from users.passwords.policy import MIN_LENGTH, common_passwords

UNUSED = {**CHEAP, "DATABASE_URL": "sqlite:////nowhere/enrol.db"}  # for an application that is only looked at


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Server]]:
    """A fresh clone in which `flask run` was started."""
    with installed(tmp_path_factory.mktemp("readme") / "enrol") as tree:
        (tree.folder / ".venv").symlink_to(sys.prefix)
        (server,) = tree.start("flask")
        yield tree, server


def test_the_first_start_prints_what_readme_shows(site: tuple[Installation, Server]) -> None:
    printed = re.sub(r"token=[\w-]{43}", "token=…", site[1].log()).replace(f":{site[1].port}", ":5000").splitlines()
    shown = blocks("text")[0].splitlines()
    assert [line for line in printed if line in shown] == shown


def test_the_first_curl_answers_what_readme_shows(site: tuple[Installation, Server]) -> None:
    commands = next(block for block in blocks("sh") if "curl" in block)
    run = subprocess.run(
        ["bash", "-euc", commands.replace(":5000", f":{site[1].port}")],
        cwd=site[0].folder,
        env=site[0].environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answer, shown = json.loads(run.stdout), json.loads(blocks("json")[0])
    assert list(answer) == list(shown) == USER_FIELDS
    moving = dict.fromkeys(("id", "created_at", "updated_at"), "")
    assert {**answer, **moving} == {**shown, **moving}


def test_the_error_that_readme_shows_is_the_real_one(site: tuple[Installation, Server]) -> None:
    key = site[0].flask("keys", "create", "readme", "--scope", "users:create").stdout.strip()
    body = {"email": "jo@example.com", "password": "short"}
    answer = site[1].call("POST", "/v1/user/", key=key, body=body).json
    shown = json.loads(blocks("json")[1])
    moving = dict.fromkeys(("trace_id", "timestamp"), "")
    assert {**answer["error"], **moving} == {**shown["error"], **moving}
    assert list(answer["error"]) == list(shown["error"])


def test_the_table_of_settings_is_the_codes_own() -> None:
    table = section("Settings")
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


def test_a_worker_has_threads_for_more_than_every_place_of_the_hash_queue() -> None:
    line = production_line().split()
    threads = int(line[line.index("--blocking-threads") + 1])
    told = " ".join(section("Production").split())
    places = len(hash_queue.Share) * (1 + hash_queue.QUEUE)
    assert "With `ENROL_HASH_SLOTS=1`" in told
    assert f"{places} of the {threads} here" in told
    assert places < threads


def test_the_limits_are_the_codes_own() -> None:
    told = " ".join(section("The API").partition("### Limits")[2].split())
    assert (rate_limits.WRONG_KEYS.requests, rate_limits.WRONG_KEYS.seconds) == (100, 60)
    assert "100 a minute from one address" in told
    assert "An unknown path (`NOT_FOUND`) and a wrong method (405) are told without a look at the key" in told
    counts = [int(number) for number in re.findall(r"\d+", told.partition("| an account, from one known")[2])]
    from_one, (network, wide) = password_limits.FROM_ONE_SOURCE, password_limits.BY_NETWORK
    account, in_a_row = password_limits.BY_ACCOUNT, password_limits.IN_A_ROW
    expected = [from_one.tries, 5, in_a_row.tries, from_one.tries, 5, network.tries, 5, 6, 48, wide.tries]
    assert counts[: len(expected)] == expected
    assert f"| {account.tries} in an hour |" in told
    assert f"{known_devices.LIFETIME.days} days after" in told
    assert f"the last {known_networks.KEPT} networks" in told


def test_the_table_of_codes_is_the_codes_own() -> None:
    def classes(one: type[EnrolError]) -> set[type[EnrolError]]:
        return {one}.union(*map(classes, one.__subclasses__()))

    shown = {code for cell in first_cells(section("The API")) for code in re.findall(r"`([A-Z_]+)`", cell)}
    assert shown == {one.code for one in classes(EnrolError)}


def test_the_table_of_commands_is_the_codes_own() -> None:
    app = create_app(UNUSED)
    groups = {name: app.cli.commands[name] for name in ("users", "keys", "audit")}
    commands = {f"{group} {name}" for group, found in groups.items() for name in found.commands}  # type: ignore[attr-defined]
    shown = {" ".join(re.findall(r"[a-z-]+", cell)[1:3]) for cell in first_cells(section("The command line"))}
    assert shown == commands | {"db upgrade", "doctor"}


def test_the_table_of_routes_is_the_codes_own() -> None:
    app = create_app(UNUSED)
    routes = {str(rule).rstrip("/") for rule in app.url_map.iter_rules() if str(rule).startswith("/v1")}
    cells = " ".join(first_cells(section("The API")))
    shown = {path.rstrip("/") for path in re.findall(r"/v1/[\w/{}-]*", cells)}
    assert {re.sub(r"<\w+:(?:user_)?(\w+)>", r"{\1}", route) for route in routes} == shown


def test_the_map_names_every_folder() -> None:
    shown = re.findall(r"`users/(\w+)/`", section("Where things are"))
    assert sorted(shown) == sorted(path.parent.name for path in (REPOSITORY / "users").glob("*/__init__.py"))


def test_systemd_runs_the_production_line() -> None:
    unit = blocks("ini")[0]
    assert f"ExecStart=/opt/enrol/{production_line()}\n" in unit
    assert "\nRestart=on-failure\n" in unit  # which an exit code of 1 is


def test_the_lines_that_wait_are_the_codes_own() -> None:
    assert f"{logs.WAITING_LINES:,} lines of a worker wait" in section("Production")


def test_argon2_is_built_at_the_version_that_is_pinned() -> None:
    built = re.findall(r"(argon2-cffi-bindings==\S+)", section("Production"))
    pinned = re.findall(r"^argon2-cffi-bindings==.*$", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert built == pinned


def test_the_backup_of_readme_is_private_and_can_be_restored(site: tuple[Installation, Server], tmp_path: Path) -> None:
    backup, restore = blocks("sh", section("Backup and restore"))
    here = site[0]
    key = here.flask("keys", "create", "backup", "--scope", "users:create").stdout.strip()
    subprocess.run(["bash", "-euc", backup], cwd=here.folder, check=True)
    (made,) = here.instance.glob("backup-*")
    assert [oct(file.stat().st_mode)[-3:] for file in (made, *sorted(made.iterdir()))] == ["700", "600", "600"]
    with installed(tmp_path / "elsewhere") as elsewhere:
        shutil.copytree(made, elsewhere.instance / made.name)
        subprocess.run(["bash", "-euc", restore], cwd=elsewhere.folder, check=True)
        (server,) = elsewhere.start("granian")
        body = {"email": "restored@example.com", "password": "three random words"}
        assert server.call("POST", "/v1/user/", key=key, body=body).status == 201
        assert (elsewhere.instance / "secret_key").read_text() == (here.instance / "secret_key").read_text()


def test_the_table_of_faults_is_the_programs_own() -> None:
    table = section("What it survives")
    crashes = {f"kill -9 of {victim}" for _database, victim in CRASHES}
    assert {cell.split(",")[0] for cell in first_cells(table)} == crashes | set(FAULTS)
    assert all(line.split("|")[-2].strip() in ("nothing", "wrong", "---") for line in table.splitlines() if "|" in line)
