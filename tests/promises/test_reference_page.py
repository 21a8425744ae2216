"""The reference page's own examples work here when only the base URL, the key and the values change."""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.api import USER_FIELDS
from support.application import app_on
from support.databases import DATABASES
from support.installations import Installation, installed
from support.people import PASSWORD, make_key
from support.servers import Server
from support.skips import unavailable
from users.roles import Permission

pytestmark = pytest.mark.xdist_group("reference")  # they share servers, which one worker of xdist starts

REFERENCE = Path(__file__).parents[1] / "reference"


def read_json(output: str) -> Any:
    """Read what curl prints."""
    return json.loads(output)


def read_javascript(output: str) -> Any:
    """Read what console.log prints of an object, by asking Node to read it again."""
    script = f"console.log(JSON.stringify({output}))"
    return json.loads(subprocess.check_output(["node", "-e", script], text=True))


EXAMPLES = {
    "create_user.sh": (["bash"], read_json),
    "create_user.py": ([sys.executable], ast.literal_eval),
    "create_user.mjs": (["node"], read_javascript),
}


@pytest.fixture(scope="module", params=DATABASES)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Installation, Server]]:
    """A running server on a migrated database."""
    settings = {}
    if request.param == "postgres":
        settings["DATABASE_URL"] = request.getfixturevalue("emptied_postgres")()
    with installed(tmp_path_factory.mktemp("page") / "enrol", settings) as tree:
        (server,) = tree.start("granian")
        yield tree, server


def run_example(name: str, site: tuple[Installation, Server], folder: Path, key: str, email: str) -> Any:
    """Run the page's example against the server, and return what it printed."""
    command, read = EXAMPLES[name]
    if shutil.which(command[0]) is None:
        unavailable(f"{command[0]} to run the page's example")
    text = (REFERENCE / name).read_text(encoding="utf-8")
    for published, ours in (
        ("https://api.aitronos.com", f"http://127.0.0.1:{site[1].port}"),
        ("your_email", email),
        ("your_password", PASSWORD),
    ):
        assert published in text
        text = text.replace(published, ours)
    script = folder / name
    script.write_text(text, encoding="utf-8")
    environment = {**os.environ, "FREDDY_API_KEY": key, "NODE_OPTIONS": "", "NO_COLOR": "1"}
    output = subprocess.check_output([*command, str(script)], env=environment, text=True, stderr=subprocess.DEVNULL)
    return read(output)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_creates_a_user(site: tuple[Installation, Server], name: str, tmp_path: Path) -> None:
    with app_on(site[0]) as app:
        key = make_key(app, Permission.USERS_CREATE)
    email = f"{name.replace('_', '.')}@example.com"
    user = run_example(name, site, tmp_path, key, email)
    assert list(user) == USER_FIELDS
    assert user["email"] == email
    assert user["is_active"] is True


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_without_permission(site: tuple[Installation, Server], name: str, tmp_path: Path) -> None:
    """The page's example prints the error that names what its key lacks."""
    with app_on(site[0]) as app:
        weak = make_key(app, Permission.USERS_READ)
    published = json.loads((REFERENCE / "errors.json").read_text(encoding="utf-8"))
    for key, expected in zip(("no key", weak), published, strict=True):
        answer = run_example(name, site, tmp_path, key, "jo@example.com")
        moving = {name: answer["error"][name] for name in ("trace_id", "timestamp")}
        assert answer == {"success": False, "error": {**expected["error"], **moving}}
        assert list(answer["error"]) == list(expected["error"])
