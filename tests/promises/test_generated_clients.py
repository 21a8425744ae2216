"""What is generated from openapi.json by the commands of the reference page is complete and works."""

import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.application import app_on
from support.installations import installed
from support.people import make_key
from support.servers import BIN, REPOSITORY, Server
from support.skips import unavailable
from users.openapi import contract
from users.roles import Permission

pytestmark = pytest.mark.xdist_group("clients")  # they share a server, which one worker of xdist starts

CLIENTS = REPOSITORY / "tests" / "clients"
NPM_PROGRAMS = CLIENTS / "node_modules" / ".bin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A running server, and a key that creates users."""
    with installed(tmp_path_factory.mktemp("clients") / "enrol") as here:
        (server,) = here.start("granian")
        with app_on(here) as app:
            key = make_key(app, Permission.USERS_CREATE, Permission.USERS_READ)
        yield server, key


def command(server: Server, name: str) -> list[str]:
    """Return the command in this block of the reference page."""
    return shlex.split(block(server, name))


def block(server: Server, name: str) -> str:
    """Return the text in this block of the reference page."""
    page = server.call("GET", "/docs").body.decode()
    found = re.search(rf'<pre id="{name}".*?><code>(.*?)</code></pre>', page, re.DOTALL)
    assert found
    return html.unescape(found[1])


def run(line: list[str | Path], folder: Path, **environment: str) -> str:
    """Run a command that must succeed, and return its output."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    done = subprocess.run(
        line,
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def class_name(operation: contract.Operation, status: int) -> str:
    """Return the generator's name for an error answer of the operation."""
    return f"{operation.id[0].upper()}{operation.id[1:]}Response{status}"


def test_python_client(site: tuple[Server, str], tmp_path: Path) -> None:
    server, key = site
    (tmp_path / "enrol.yaml").write_text(block(server, "client-settings"), encoding="utf-8")
    run([*command(server, "client-python"), "--fail-on-warning"], tmp_path)
    package = tmp_path / "enrol-client"
    models = (package / "enrol_client" / "models" / "__init__.py").read_text(encoding="utf-8")
    errors = {
        class_name(one, answer.status) for one in contract.operations() for answer in one.responses if answer.codes
    }
    assert errors <= set(re.findall(r"\w+", models))
    program = CLIENTS / "create_user.py"
    address = f"http://127.0.0.1:{server.port}"
    output = run([sys.executable, program], tmp_path, PYTHONPATH=str(package), ENROL_URL=address, API_KEY=key)
    assert output.splitlines() == [
        "ada@example.com Ada None UTC",
        "USER_ALREADY_EXISTS email True",
        "VALIDATION_ERROR ['email: INVALID_EMAIL_FORMAT', 'password: PASSWORD_TOO_SHORT']",
        "bob@example.com True",
        "False True",
        "AUTHENTICATION_REQUIRED 401 True",
    ]


def test_typescript_types(site: tuple[Server, str], tmp_path: Path) -> None:
    """`mistakes.ts` says of each of its mistakes that the compiler must refuse it."""
    if not NPM_PROGRAMS.exists() or shutil.which("node") is None:
        unavailable("openapi-typescript and tsc: npm ci --prefix tests/clients")
    npx, program, *arguments = command(site[0], "client-typescript")
    assert npx == "npx"
    run([NPM_PROGRAMS / program, *arguments], tmp_path)
    for name in ("create_user.ts", "mistakes.ts", "tsconfig.json"):
        shutil.copy(CLIENTS / name, tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}), encoding="utf-8")
    run([NPM_PROGRAMS / "tsc", "--project", tmp_path], tmp_path)
