"""The document `openapi.json` is valid, complete, and says the same as the code."""

import re
from contextlib import nullcontext
from typing import Any

import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from app import create_app
from support.answers import judge_of, operation_of
from support.api import Api
from support.application import WITHOUT_DATABASE
from support.people import PASSWORD
from users import __version__, clock, errors, ids
from users.api import parameters, request_body
from users.openapi import contract
from users.passwords import policy
from users.roles import Role
from users.rules import emails, field_checks, strict_json, validation
from users.storage.models import User

DOCUMENT = contract.document()
SCHEMAS = DOCUMENT["components"]["schemas"]
VERBS = "cancel|create|delete|export|get|invite|list|restore|start|update|verify"


def test_version_of_the_release() -> None:
    assert DOCUMENT["info"]["version"] == __version__


def examples(node: Any, schema: contract.Node | None = None) -> list[tuple[contract.Node, Any]]:
    """Return every example in the document with its schema."""
    if isinstance(node, list):
        return [pair for one in node for pair in examples(one)]
    if not isinstance(node, dict):
        return []
    schema = node.get("schema")
    found = [pair for name, one in node.items() if name not in ("example", "examples") for pair in examples(one)]
    if schema:
        shown = [one["value"] for one in node.get("examples", {}).values()]
        found += [(schema, value) for value in [*shown, *([node["example"]] if "example" in node else [])]]
    return found


@pytest.fixture
def client() -> FlaskClient:
    """A client of an application whose database is away."""
    return create_app(WITHOUT_DATABASE).test_client()


def test_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert [error.message for error in OpenAPIV31SpecValidator(DOCUMENT).iter_errors()] == []


def test_examples_match_their_schemas() -> None:
    found = examples(DOCUMENT)
    assert len(found) > 60
    for schema, value in found:
        judge_of(schema).validate(value)
    for schema in SCHEMAS.values():
        for value in schema.get("examples", []):
            judge_of(schema).validate(value)


def test_references() -> None:
    used = set(re.findall(r'"\$ref": "#/components/(\w+)/([\w-]+)"', contract._FILE.read_text(encoding="utf-8")))
    kinds = ("headers", "parameters", "responses", "schemas")
    there = {(kind, name) for kind in kinds for name in DOCUMENT["components"][kind]}
    unused = {("responses", "NoPath"), ("responses", "WrongMethod"), ("headers", "Allow")}  # no operation answers these
    assert there - used <= unused
    assert used <= there


def test_operations_are_complete() -> None:
    operations = contract.operations()
    assert len({one.id for one in operations}) == len(operations)
    assert {one.tag for one in operations} == {tag["name"] for tag in DOCUMENT["tags"]}
    for one in operations:
        assert re.fullmatch(
            r"(cancel|create|delete|export|get|invite|list|restore|start|update|verify)[A-Z]\w+", one.id
        )
        assert one.summary
        assert one.description.endswith(".")
        statuses = {answer.status for answer in one.responses}
        assert {400, 401, 429, 500, 503} <= statuses
        assert (403 in statuses) == bool(one.permissions)
        assert ({413, 415} <= statuses) == (one.body is not None or one.file != "")
        assert all(field.description for field in (*one.parameters, *one.fields))


def test_objects_are_closed() -> None:
    loose = [
        schema.get("title")
        for schema in [*SCHEMAS.values(), *(one for one, _ in examples(DOCUMENT))]
        if schema.get("type") == "object" and schema.get("additionalProperties") is not False
    ]
    # One is completed by each code, one is empty, and one has a member for each make of hash.
    assert set(loose) == {"Error", "No details", "Makes of hashes"}
    assert all(one["unevaluatedProperties"] is False for one in SCHEMAS.values() if "allOf" in one)


def test_members_of_user_and_profile() -> None:
    user = User(is_active=True, created_at=clock.now(), updated_at=clock.now())
    for name, shown in (("User", user.as_user()), ("Profile", user.as_profile())):
        assert list(SCHEMAS[name]["properties"]) == SCHEMAS[name]["required"] == list(shown)


def test_bounds_are_those_of_the_code() -> None:
    new, changes, invited, link = (
        SCHEMAS[name]["properties"] for name in ("NewUser", "UserChanges", "NewInvitation", "NewPasswordLink")
    )
    for told in (new, changes, invited, SCHEMAS["User"]["properties"]):
        assert told["email"]["maxLength"] == emails.MAX_BYTES
        assert {told[name]["maxLength"] for name in ("first_name", "last_name")} == {field_checks.NAME_MAX_LENGTH}
    for told in (new, changes):
        assert told["password"]["minLength"] == policy.MIN_LENGTH
        assert told["password"]["maxLength"] == policy.MAX_BYTES
    assert SCHEMAS["Profile"]["properties"]["full_name"]["maxLength"] == 2 * field_checks.NAME_MAX_LENGTH + 1
    assert set(new) == set(validation.CREATE_FIELDS)
    assert set(invited) == {*validation.INVITE_FIELDS, *link} == {*validation.INVITE_FIELDS, "expires_in"}
    for told in (invited, link):
        bounds = told["expires_in"]["minimum"], told["expires_in"]["maximum"]
        assert bounds == tuple(one.total_seconds() for one in field_checks.LINK_LIFETIMES)
    assert set(changes) == {*validation.ADMIN_FIELDS, "is_active"}
    assert SCHEMAS["Role"]["enum"] == [*Role, None]
    assert ids.is_user_id(SCHEMAS["UserId"]["examples"][0])
    assert SCHEMAS["UserId"]["pattern"] == f"^{ids._USER_ID.pattern}$"
    assert request_body.MAX_BYTES == 64 * 1024
    assert "64 KiB" in SCHEMAS["PayloadTooLarge"]["x-how-to-fix"]
    assert f"{strict_json.MAX_DEPTH} levels" in SCHEMAS["InvalidJson"]["x-how-to-fix"]
    key = DOCUMENT["components"]["parameters"]["IdempotencyKey"]["schema"]["pattern"]
    assert key == f"^{parameters._IDEMPOTENCY_KEY.pattern}$"


def test_only_a_right_password_has_a_user() -> None:
    judge, user = judge_of(SCHEMAS["PasswordVerdict"]), SCHEMAS["User"]["examples"][0]
    assert judge.is_valid({"valid": True, "user": user})
    assert judge.is_valid({"valid": True, "password_change_required": True, "user": user})
    assert judge.is_valid({"valid": False})
    assert not judge.is_valid({"valid": True})
    assert not judge.is_valid({"valid": False, "user": user})
    assert not judge.is_valid({"valid": False, "password_change_required": True})
    assert not judge.is_valid({"valid": True, "password_change_required": False, "user": user})


NAMES = [
    ("Ada", True),
    ("\n Ada\t", True),
    ("\x1cAda\u2029", True),
    ("Zoë 😀 \u200d", True),
    ("A\nda", False),
    ("A\x85da", False),
    ("\u202eAda", False),
    ("Ada\x00", False),
    ("Ada\x7f", False),
    ("A\u2066da", False),
]


@pytest.mark.parametrize(("name", "passes"), NAMES)
def test_pattern_of_a_name(name: str, passes: bool) -> None:
    body = {"email": "ada@example.com", "password": PASSWORD, "first_name": name}
    assert judge_of(SCHEMAS["NewUser"]).is_valid(body) is passes
    with nullcontext() if passes else pytest.raises(errors.Invalid):
        validation.new_user(body, validation.Rules())


def test_operations_are_those_of_the_url_map(client: FlaskClient) -> None:
    """Every method of every path under /v1, with the permissions of its guard, and nothing else."""
    views: dict[str, Any] = client.application.view_functions
    there = {
        (*operation_of(method, rule.rule), *sorted(views[rule.endpoint].guard))
        for rule in client.application.url_map.iter_rules()
        if rule.rule.startswith("/v1")
        for method in (rule.methods or set()) - {"HEAD"}
    }
    assert {(one.method.lower(), one.path, *one.permissions) for one in contract.operations()} == there


@pytest.mark.parametrize("name", ["Limit", "Skip"])
def test_bounds_of_parameters(api: Api, name: str) -> None:
    parameter = DOCUMENT["components"]["parameters"][name]
    least, most = parameter["schema"]["minimum"], parameter["schema"]["maximum"]
    for value, status in ((least, 200), (most, 200), (least - 1, 400), (most + 1, 400)):
        for path in ("/v1/user/", "/v1/user/deleted"):
            assert api.get(f"{path}?{parameter['name']}={value}").status_code == status


def test_bounds_of_a_batch(api: Api) -> None:
    ids_told = SCHEMAS["UserIds"]["properties"]["user_ids"]
    least, most = ids_told["minItems"], ids_told["maxItems"]
    for number, status in ((least, 200), (most, 200), (least - 1, 422), (most + 1, 422)):
        body = {"user_ids": SCHEMAS["UserId"]["examples"] * number}
        assert api.call("POST", "/v1/user/batch", json=body).status_code == status


def test_server_url(client: FlaskClient) -> None:
    answer = client.get("/openapi.json", headers={"Host": "localhost:5000"})
    assert answer.json == {**DOCUMENT, "servers": [{"url": "http://localhost:5000"}]}
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-cache"
    stranger = client.get("/openapi.json", headers={"Host": "elsewhere.example"})
    assert stranger.json == {**DOCUMENT, "servers": [{"url": "/"}]}


def test_revalidation(client: FlaskClient) -> None:
    tag = client.get("/openapi.json").headers["ETag"]
    assert client.get("/openapi.json", headers={"If-None-Match": tag}).status_code == 304
    assert client.get("/openapi.json", headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/docs.md", "/llms.txt", "/openapi.json"])
def test_public_and_read_only(client: FlaskClient, path: str) -> None:
    for one in (path, f"{path}/"):
        assert client.get(one).status_code == 200
        head = client.head(one)
        assert (head.status_code, head.data) == (200, b"")
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = client.open(one, method=method)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
