"""Every code sample of the reference page runs, and prints what the contract says."""

import ast
import contextlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.answers import documented, judge_of
from support.application import app_on
from support.databases import rows
from support.installations import Installation, installed
from support.people import PASSWORD, make_key, make_user
from support.servers import Server
from support.skips import unavailable
from users.openapi import code_samples, contract
from users.roles import Permission, Role

pytestmark = pytest.mark.xdist_group("docs")  # they share servers, which one worker of xdist starts


RUN = {"curl": ["bash"], "python": [sys.executable], "javascript": ["node"]}


ENDINGS = {"curl": "sh", "python": "py", "javascript": "mjs"}


PARAMETERS = contract.document()["components"]["parameters"]
USER_ID, IMPORT_ID = (PARAMETERS[name]["example"] for name in ("UserId", "ImportId"))


USERS = "email,first_name,last_name\r\n{email},Ada,Lovelace\r\nada@example,Ada,Lovelace\r\n"  # the second is rejected


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Server]]:
    """A running server."""
    with installed(tmp_path_factory.mktemp("docs") / "enrol") as here:
        (server,) = here.start("granian")
        yield here, server


@pytest.fixture(scope="module")
def key(site: tuple[Installation, Server]) -> str:
    """The administrator's key, for everything."""
    with app_on(site[0]) as app:
        return make_key(app, *Permission, owner=make_user(app, "owner@example.com", Role.ADMIN))


@pytest.fixture(scope="module")
def shown(site: tuple[Installation, Server]) -> dict[str, str]:
    """The code samples on the running server's page, by id."""
    page = site[1].call("GET", "/docs").body.decode()
    return {
        name: html.unescape(text)
        for name, text in re.findall(r'<pre id="([\w-]+)".*?><code>(.*?)</code></pre>', page, re.DOTALL)
    }


def with_a_real_user(text: str, site: tuple[Installation, Server], key: str, name: str) -> str:
    """Return the sample with a user of its own in place of the page's example."""
    email = f"{name}@example.com"
    text = text.replace("ada@example.com", email).replace('"PASSWORD"', f'"{PASSWORD}"')
    if name.startswith(("createUser", "inviteUser")):
        return text
    made = site[1].call("POST", "/v1/user/", key=key, body={"email": email, "password": PASSWORD}).json
    return text.replace(USER_ID, made["id"])


def with_a_real_import(text: str, site: tuple[Installation, Server], key: str, name: str) -> str:
    """Return the sample with an import of its own in place of the page's example: checked, or with rejects to keep."""
    start = "always" if name.startswith("getRejects") else "never"
    headers = {"Content-Type": "text/csv", "X-API-Key": key}
    with contextlib.closing(site[1].keep()) as connection:
        path = f"/v1/user/import/jobs?no_password=true&start={start}"
        connection.request("POST", path, USERS.format(email=f"{name}@example.com"), headers)
        answer = connection.getresponse()
        assert answer.status == 202
        job = json.loads(answer.read())
    wanted = "finished" if start == "always" else "checked"
    end = time.monotonic() + 60
    while site[1].call("GET", f"/v1/user/import/jobs/{job['id']}", key=key).json["state"] != wanted:
        assert time.monotonic() < end
        time.sleep(0.1)
    return text.replace(IMPORT_ID, job["id"])


SAMPLES = [(one.id, language) for one in contract.operations() for language in RUN]


@pytest.mark.parametrize(("operation", "language"), SAMPLES)
def test_sample_runs(
    site: tuple[Installation, Server], key: str, shown: dict[str, str], operation: str, language: str, tmp_path: Path
) -> None:
    if shutil.which(RUN[language][0]) is None:
        unavailable(f"{RUN[language][0]} to run the sample")
    name = f"{operation}-{language}"
    script = tmp_path / f"sample.{ENDINGS[language]}"
    (one,) = [one for one in contract.operations() if one.id == operation]
    with_real = with_a_real_import if "{import_id}" in one.path else with_a_real_user
    script.write_text(with_real(shown[name], site, key, name), encoding="utf-8")
    (tmp_path / code_samples.FILE).write_text(USERS.format(email=f"{name}@example.com"), encoding="utf-8", newline="")
    environment = {**os.environ, "API_KEY": key, "NODE_OPTIONS": "", "NO_COLOR": "1"}
    output = subprocess.check_output(
        [*RUN[language], str(script)], env=environment, text=True, stderr=subprocess.DEVNULL, cwd=tmp_path
    )
    first = one.responses[0].status
    content = documented((one.method.lower(), one.path), first)["content"]
    if one.is_download:
        assert output.splitlines()[0] == next(iter(content.values()))["example"].splitlines()[0]
        return
    schema = content["application/json"]["schema"]
    judge_of(schema).validate(read(output, language))


def test_all_pages(site: tuple[Installation, Server], key: str, shown: dict[str, str]) -> None:
    """The sample joins relative addresses: the server does not know the name by which the sample calls it."""
    here, server = site
    address = f"http://127.0.0.1:{server.port}"
    for number in range(3):
        body = {"email": f"page{number}@example.com", "password": PASSWORD}
        assert server.call("POST", "/v1/user/", key=key, body=body).status == 201
    text = shown["all-pages"].replace(address, "http://users.example").replace("limit=1000", "limit=2")
    assert "http://users.example/v1/user/?limit=2" in text
    # As a proxy, the server is asked for that name without a look-up.
    environment = {"API_KEY": key, "http_proxy": address}
    output = subprocess.check_output([sys.executable, "-c", text], env=environment, text=True)
    with app_on(here) as app:
        emails = [email for (email,) in rows(app, "SELECT email FROM users WHERE deleted_at IS NULL ORDER BY id")]
    assert len(emails) > 3
    assert output.split() == emails


def read(output: str, language: str) -> Any:
    """Return what a sample printed: JSON, or how Python and Node.js print an object."""
    if language == "curl":
        return json.loads(output)
    if language == "python":
        return ast.literal_eval(output)
    return json.loads(subprocess.check_output(["node", "-e", f"console.log(JSON.stringify({output}))"], text=True))
