"""The reference page: whole, for everybody, and every example on it was run."""

import ast
import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from answers import documented, judge_of
from app import create_app
from conftest import CHEAP, PASSWORD, behind, make_key, make_user, unavailable
from servers import Server, Tree, tree
from users import contract
from users.fields import FieldCode
from users.roles import Permission, Role

pytestmark = pytest.mark.xdist_group("docs")  # they share servers, which one worker of xdist starts

RUN = {"curl": ["bash"], "python": [sys.executable], "javascript": ["node"]}
ENDINGS = {"curl": "sh", "python": "py", "javascript": "mjs"}
USER_ID = contract.document()["components"]["parameters"]["UserId"]["example"]
UNREACHED = {**CHEAP, "DATABASE_URL": "sqlite:////nowhere/enrol.db", "TESTING": True}


@pytest.fixture
def client() -> FlaskClient:
    """Somebody without a key, at an application whose database is away."""
    return create_app(UNREACHED).test_client()


def test_it_tells_every_operation_with_its_fields_and_permissions(client: FlaskClient) -> None:
    page = client.get("/docs").text
    for one in contract.operations():
        section = page.partition(f'<section id="{one.id}"')[2].partition("</section>")[0]
        assert f"<code><b>{one.method}</b> {one.path}</code>" in section
        told = set(re.findall(r"<dt><code>([\w-]+)</code>", section))
        assert {field.name for field in (*one.parameters, *one.fields)} <= told
        assert re.findall(r'<span class="tag">([\w:]+)</span>', section) == one.permissions
        assert {str(answer.status) for answer in one.answers} <= set(re.findall(r"<code>(\d{3})</code>", section))


def test_it_tells_every_code_once_and_how_to_fix_it(client: FlaskClient) -> None:
    page = client.get("/docs").text
    rows = re.findall(r'<tr id="(\w+)">.*?<td data-label="Status">(\d+)</td>\s*<td>(.*?)</td>', page, re.DOTALL)
    codes = contract.codes()
    assert [(code, int(status)) for code, status, _ in rows] == [(one.code, one.status) for one in codes]
    for one, (_, _, words) in zip(codes, rows, strict=True):
        plain = html.unescape(re.sub(r"<.*?>", "", words))
        assert plain == f"{one.meaning} {one.fix}".replace("`", "")
    assert {one.code for one in codes} >= set(FieldCode)


def test_every_link_on_it_leads_somewhere(client: FlaskClient) -> None:
    page = client.get("/docs").text
    ids = re.findall(r'\bid="([\w-]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([\w-]+)"', page)) <= set(ids)
    assert set(re.findall(r'(?:href|src)="(?!#)([^"?]+)', page)) <= {
        *("/", "/admin/keys", "/docs", "/openapi.json"),
        *("/static/app.css", "/static/app.js", "/static/icon.svg"),
    }


def test_examples_use_the_address_of_this_server(client: FlaskClient) -> None:
    page = html.unescape(client.get("/docs", headers={"Host": "localhost:5000"}).text)
    assert page.count("http://localhost:5000/v1/user/") >= 3 * len(contract.operations())
    stranger = html.unescape(client.get("/docs", headers={"Host": "elsewhere.example"}).text)
    assert "elsewhere.example" not in stranger
    assert "https://your-enrol/v1/user/" in stranger


@pytest.mark.parametrize("rate", ["100/minute", "off"])
def test_it_tells_the_limit_that_this_server_sets(rate: str) -> None:
    page = create_app({**UNREACHED, "ENROL_RATE_LIMIT": rate}).test_client().get("/docs").text
    assert ("A key may send 100 requests in 60 seconds" in page) is (rate != "off")
    assert ("This server sets keys no limit." in page) is (rate == "off")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_whoever_was_signed_in_reads_it_without_the_database_too(path: str) -> None:
    client = create_app(UNREACHED).test_client()
    client.set_cookie("enrol", "x" * 43)
    answer = client.get(path)
    assert answer.status_code == 200
    assert "Sign out" not in answer.text
    assert answer.text == create_app(UNREACHED).test_client().get(path).text


def test_every_page_leads_to_it(client: FlaskClient) -> None:
    for path in ("/admin/login", "/nothing", "/docs"):
        assert '<a href="/docs">Docs</a>' in client.get(path).text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tree, Server]]:
    """A running server."""
    with tree(tmp_path_factory.mktemp("docs") / "enrol") as here:
        (server,) = here.start("granian")
        yield here, server


@pytest.fixture(scope="module")
def key(site: tuple[Tree, Server]) -> str:
    """The administrator's key, for everything."""
    with behind(site[0]) as app:
        return make_key(app, *Permission, owner=make_user(app, "owner@example.com", Role.ADMIN))


def shown(site: tuple[Tree, Server]) -> dict[str, str]:
    """Return what the running server's page shows as code, by its id."""
    page = site[1].call("GET", "/docs").body.decode()
    return {
        name: html.unescape(text)
        for name, text in re.findall(r'<pre id="([\w-]+)".*?><code>(.*?)</code></pre>', page, re.DOTALL)
    }


def with_a_real_user(text: str, site: tuple[Tree, Server], key: str, name: str) -> str:
    """Return an example in which a user of its own stands where the page's does."""
    email = f"{name}@example.com"
    text = text.replace("ada@example.com", email).replace('"PASSWORD"', f'"{PASSWORD}"')
    if name.startswith("createUser"):
        return text
    made = site[1].call("POST", "/v1/user/", key=key, body={"email": email, "password": PASSWORD}).json
    return text.replace(USER_ID, made["id"])


EXAMPLES = [(one.id, language) for one in contract.operations() for language in RUN]


@pytest.mark.parametrize(("operation", "language"), EXAMPLES)
def test_the_example_was_run(
    site: tuple[Tree, Server], key: str, operation: str, language: str, tmp_path: Path
) -> None:
    if shutil.which(RUN[language][0]) is None:
        unavailable(f"{RUN[language][0]} to run the page's example")
    name = f"{operation}-{language}"
    script = tmp_path / f"example.{ENDINGS[language]}"
    script.write_text(with_a_real_user(shown(site)[name], site, key, name), encoding="utf-8")
    environment = {**os.environ, "API_KEY": key, "NODE_OPTIONS": "", "NO_COLOR": "1"}
    output = subprocess.check_output(
        [*RUN[language], str(script)], env=environment, text=True, stderr=subprocess.DEVNULL
    )
    (one,) = [one for one in contract.operations() if one.id == operation]
    first = one.answers[0].status
    schema = documented((one.method.lower(), one.path), first)["content"]["application/json"]["schema"]
    judge_of(schema).validate(read(output, language))


def read(output: str, language: str) -> Any:
    """Read what an example printed: JSON, or how Python and Node.js show an object."""
    if language == "curl":
        return json.loads(output)
    if language == "python":
        return ast.literal_eval(output)
    return json.loads(subprocess.check_output(["node", "-e", f"console.log(JSON.stringify({output}))"], text=True))
