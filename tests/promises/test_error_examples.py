"""The errors in `openapi.json` are those that the error classes render: every code, body and header."""

import json
from collections.abc import Callable
from typing import Any
from unittest.mock import create_autospec

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from support import bad_rows
from support.answers import judge_of
from users import errors, request_errors
from users.api import batches as batches_api
from users.api import parameters, request_body
from users.auth import hasher
from users.bulk import batches
from users.bulk.files.refusals import FileRefused
from users.bulk.imports.errors import ImportElsewhere, ImportNotFound, ImportState, TooManyImports
from users.bulk.imports.records import ImportCrashed
from users.bulk.imports.running import FileChanged
from users.bulk.imports.working import FileLost
from users.errors import Denied, EnrolError
from users.field_errors import FieldCode, FieldError, RowCode
from users.http.error_responses import json_body
from users.openapi import contract
from users.passwords.hashing import PasswordPlace
from users.rules import field_checks, validation

COMPONENTS = contract.document()["components"]
RESPONSES, SCHEMAS = COMPONENTS["responses"], COMPONENTS["schemas"]
TRACE_ID = COMPONENTS["headers"]["X-Request-Id"]["example"]
USER_ID = SCHEMAS["UserId"]["examples"][0]
# What the request hooks add to any answer, and to one whose key is known.
GENERAL = {"X-Request-Id", "Cache-Control"}
RATE = {name for name in COMPONENTS["headers"] if name.startswith("x-ratelimit-")}
# Which of these an answer has depends on what is wrong with the body.
SOME = {"UNSUPPORTED_MEDIA_TYPE": {"Accept", "Accept-Encoding", "Accept-Patch"}}
WITHOUT_RATE = {"Unauthorized", "NoPath", "WrongMethod"}


def all_classes(one: type[EnrolError] = EnrolError) -> set[type[EnrolError]]:
    """Return the class and all below it."""
    return {one}.union(*map(all_classes, one.__subclasses__()))


def answered() -> set[type[EnrolError]]:
    """Return the classes of errors that are answered. Why an import failed stands in the import."""
    return all_classes() - all_classes(FileRefused) - {FileChanged, FileLost, ImportCrashed}


def raised_by(act: Callable[[], object]) -> EnrolError:
    """Return the error that `act` raises."""
    with pytest.raises(EnrolError) as raised:
        act()
    return raised.value


def request(**parts: Any) -> Request:
    """Return a request to the API."""
    return Request(EnvironBuilder(path="/v1/user/", **parts).get_environ())


# Of a batch of which one user is rejected.
DAMAGED = "This bcrypt hash is damaged: 59 characters instead of 60"
RESULTS = [
    {"index": 0, "ref": "staff-17", "status": "valid"},
    {
        "index": 1,
        "ref": "staff-18",
        "status": "rejected",
        "errors": [FieldError("password_hash", RowCode.PASSWORD_HASH_INVALID, DAMAGED).as_dict()],
    },
]


def broken_json() -> object:
    """Read a body that ends after the 23rd character."""
    body = b'{"email": "a@b.example"'
    return request_body.json_object(request(method="POST", data=body, content_type="application/json"))


def new_user(**members: object) -> object:
    """Validate a new user."""
    return validation.new_user(members, validation.Rules())


# For each code, the error that its examples show.
SHOWN: dict[str, EnrolError] = {
    "BATCH_REJECTED": batches.BatchRejected(details={"results": RESULTS}),
    "BATCH_TOO_LARGE": batches.BatchTooLarge(batches.MOST_ROWS),
    "API_KEY_DEACTIVATED": errors.ApiKeyDeactivated(),
    "API_KEY_EXPIRED": errors.ApiKeyExpired(),
    "AUTHENTICATION_REQUIRED": errors.AuthenticationRequired(),
    "IDEMPOTENCY_KEY_REUSED": errors.IdempotencyKeyReused(),
    "IMPORT_ELSEWHERE": ImportElsewhere(),
    "IMPORT_NOT_FOUND": ImportNotFound(),
    "IMPORT_STATE": ImportState("finished"),
    "INSUFFICIENT_PERMISSIONS": errors.Denied(["users:create"]),
    "INTERNAL_SERVER_ERROR": errors.InternalServerError(),
    "INVALID_JSON": raised_by(broken_json),
    "INVALID_PARAMETER": raised_by(lambda: parameters.limit(request(query_string={"limit": "0"}))),
    "LAST_ADMINISTRATOR": errors.LastAdministrator(USER_ID),
    "METHOD_NOT_ALLOWED": request_errors.MethodNotAllowed(headers={"Allow": "GET, HEAD"}),
    "NOT_FOUND": errors.NotFound(),
    "OVERLOADED": errors.Overloaded(),
    "PASSWORD_TOO_SHORT": raised_by(lambda: new_user(email="ada@example.com", password="short")),
    "PAYLOAD_TOO_LARGE": request_errors.PayloadTooLarge(),
    "PRECONDITION_FAILED": request_errors.PreconditionFailed(),
    "RATE_LIMIT_EXCEEDED": errors.RateLimitExceeded(seconds=1),
    "SERVICE_UNAVAILABLE": errors.Unavailable("for the operator"),
    "TOO_MANY_IMPORTS": TooManyImports(),
    "UNSUPPORTED_MEDIA_TYPE": request_errors.UnsupportedMediaType(),
    "UNTRUSTED_HOST": request_errors.UntrustedHost(),
    "USER_ALREADY_EXISTS": errors.Conflict(user_id=USER_ID, show_user_id=True),
    "USER_DEACTIVATED": errors.UserDeactivated(),
    "USER_NOT_FOUND": errors.UserNotFound(),
    "VALIDATION_ERROR": raised_by(lambda: new_user(**{"e-mail": "ada@example.com", "password": "correct horse"})),
}
# Where a response says something else of its code.
SHOWN_IN: dict[tuple[str, str], EnrolError] = {
    ("TooLargeForMany", "PAYLOAD_TOO_LARGE"): request_errors.PayloadTooLarge(mebibytes=batches_api.MEBIBYTES),
}
EXAMPLES = [
    (name, code) for name, response in RESPONSES.items() for code in response["content"]["application/json"]["examples"]
]


ERRORS = [one for one in SCHEMAS.values() if "allOf" in one]


def schema_of(code: str) -> contract.Node:
    """Return the schema of the errors with this code; a field's own code has that of VALIDATION_ERROR."""
    found: contract.Node = next(one for one in ERRORS if code in contract.codes_of(one))
    return found


ADA = {"email": "ada@example.com", "password": "correct horse"}
COMMON = validation.Rules(password_blocklist=True)


def undeliverable() -> EnrolError:
    """Return the error of a domain that does not receive email; DNS is not asked."""
    words = field_checks._EMAIL_MESSAGES[FieldCode.EMAIL_DOMAIN_UNDELIVERABLE].format(domain="exmaple.org")
    return errors.Invalid([FieldError("email", FieldCode.EMAIL_DOMAIN_UNDELIVERABLE, words)])


def unchanged() -> None:
    """Choose the password that the user has."""
    hasher.require_other(create_autospec(PasswordPlace, instance=True), "", "")


# The errors whose answers are made from the examples of the schema FieldError.
OF_FIELDS: dict[str, EnrolError] = {
    "EMAIL_DOMAIN_RESERVED": raised_by(lambda: new_user(**ADA | {"email": "ada@host.test"})),
    "EMAIL_DOMAIN_UNDELIVERABLE": undeliverable(),
    "EMAIL_TOO_LONG": raised_by(lambda: new_user(**ADA | {"email": f"ada@{'a.' * 150}example.com"})),
    "INVALID_CHARACTERS": raised_by(lambda: new_user(**ADA, first_name="A\nda")),
    "INVALID_EMAIL_FORMAT": raised_by(lambda: new_user(**ADA | {"email": "ada"})),
    "INVALID_IP_ADDRESS": raised_by(lambda: validation.credentials({**ADA, "ip_address": "here"})),
    "INVALID_ROLE": raised_by(lambda: validation.user_changes({"global_role_id": "role_king"}, validation.Rules())),
    "INVALID_TYPE": raised_by(lambda: new_user(**ADA | {"email": 1})),
    "NAME_TOO_LONG": raised_by(lambda: new_user(**ADA, first_name="x" * 256)),
    "OUT_OF_RANGE": raised_by(lambda: validation.link_lifetime({"expires_in": 1})),
    "PASSWORD_TOO_COMMON": raised_by(lambda: validation.new_password("password", COMMON)),
    "PASSWORD_TOO_LONG": raised_by(lambda: new_user(**ADA | {"password": "x" * 1025})),
    "PASSWORD_UNCHANGED": raised_by(unchanged),
    "REQUIRED_FIELD": raised_by(lambda: new_user(password="correct horse")),
    "UNKNOWN_FIELD": raised_by(lambda: new_user(**ADA, **{"e-mail": "ada@example.com"})),
}


@pytest.mark.parametrize("code", [one.code for one in contract.codes()])
def test_answer_shown_for_each_code(code: str) -> None:
    """What the reference page shows is what the class renders."""
    shown = json.loads(contract.example_of(code))
    made = json_body({**OF_FIELDS, **SHOWN}[code], TRACE_ID)
    made["error"]["timestamp"] = shown["error"]["timestamp"]
    assert shown == made
    judge_of(schema_of(code)).validate(shown["error"])


def test_every_code_has_an_example() -> None:
    assert set(SHOWN) == {code for _, code in EXAMPLES} == {one.code for one in answered()} | {"PASSWORD_TOO_SHORT"}


@pytest.mark.parametrize(("response", "code"), EXAMPLES)
def test_example_is_what_the_class_renders(response: str, code: str) -> None:
    shown = RESPONSES[response]["content"]["application/json"]["examples"][code]["value"]
    made = json_body(SHOWN_IN.get((response, code), SHOWN[code]), TRACE_ID)
    made["error"]["timestamp"] = shown["error"]["timestamp"]
    assert json.dumps(shown) == json.dumps(made)


@pytest.mark.parametrize(("response", "code"), EXAMPLES)
def test_headers_are_those_of_the_class(response: str, code: str) -> None:
    headers = RESPONSES[response]["headers"]
    assert set(headers) == GENERAL | SOME.get(code, set()) | set(SHOWN[code].headers) | (
        set() if response in WITHOUT_RATE else RATE
    )
    assert headers == {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    for name, value in SHOWN[code].headers.items():
        schema = contract.resolve(headers[name])["schema"]
        assert judge_of(schema).is_valid(int(value) if schema["type"] == "integer" else value)


@pytest.mark.parametrize("error_class", sorted(answered(), key=str))
def test_schema_has_the_status_and_type_of_the_class(error_class: type[EnrolError]) -> None:
    """A class that shares a code, such as TooManyBodies, shares all that a program reads."""
    schema = schema_of(error_class.code)
    assert contract.codes_of(schema)[0] == error_class.code
    assert contract.own_members(schema)["status"] == {"const": error_class.status}
    assert contract.own_members(schema)["type"] == {"const": error_class.type}
    assert set(error_class.default_headers) <= set(SHOWN[error_class.code].headers) | SOME.get(error_class.code, set())
    assert schema["description"].endswith(".")
    assert schema["x-how-to-fix"].endswith(".")


def test_codes_are_those_of_the_classes() -> None:
    told = [contract.codes_of(one)[0] for one in ERRORS]
    assert len(told) == len(set(told))
    assert set(told) == {one.code for one in answered()}


def test_row_codes_are_those_of_the_enums() -> None:
    told = SCHEMAS["RowCode"]
    assert told["enum"] == sorted([*FieldCode, *RowCode])
    assert len(told["enum"]) == len(told["x-enum-descriptions"]) == len(told["x-how-to-fix"])


@pytest.mark.parametrize("shown", SCHEMAS["RowError"]["examples"], ids=lambda one: one["code"])
def test_error_of_a_row_is_in_the_table_of_bad_rows(shown: dict[str, str]) -> None:
    """The page's words are those that every door says, whatever row or permission they name."""
    said = {error for bad in bad_rows.ROWS for error in bad.errors}
    fixed = {"{first}": "2", "{missing}": "keys:write"}
    for name, value in fixed.items():
        said = {(field, code, words.replace(name, value)) for field, code, words in said}
    assert (shown["field"], shown["code"], shown["message"]) in said


def test_every_code_of_a_row_has_an_example() -> None:
    assert [one["code"] for one in SCHEMAS["RowError"]["examples"]] == list(RowCode)


def test_codes_of_an_import_are_those_of_the_classes() -> None:
    failures: set[type[EnrolError]] = {FileChanged, FileLost, ImportCrashed, Denied}
    classes = failures | all_classes(FileRefused) - {FileRefused}
    told = SCHEMAS["ImportErrorCode"]
    assert told["enum"] == sorted({one.code for one in classes})
    assert len(told["enum"]) == len(told["x-enum-descriptions"]) == len(told["x-how-to-fix"])


def test_field_codes_are_those_of_the_enum() -> None:
    assert list(FieldCode) == sorted(FieldCode)
    assert SCHEMAS["FieldCode"]["enum"] == [code.value for code in FieldCode]
    alone = contract.codes_of(SCHEMAS["ValidationFailed"])
    assert set(alone) == {"VALIDATION_ERROR", *FieldCode} - {FieldCode.USER_ALREADY_EXISTS}
    assert {one.code for one in contract.codes()} == {*SHOWN, *FieldCode}


@pytest.mark.parametrize("name", RESPONSES)
def test_response_names_its_codes(name: str) -> None:
    """The schema, its discriminator and the examples name the same codes, all of one status."""
    content = RESPONSES[name]["content"]["application/json"]
    error = content["schema"]["properties"]["error"]
    schemas = {one["$ref"]: contract.resolve(one) for one in error.get("oneOf", [error])}
    if "oneOf" in error:
        mapping = {code: ref for ref, schema in schemas.items() for code in contract.codes_of(schema)}
        assert error["discriminator"] == {"propertyName": "code", "mapping": mapping}
    assert {contract.codes_of(schema_of(code))[0] for code in content["examples"]} == {
        contract.codes_of(one)[0] for one in schemas.values()
    }
    assert len({SHOWN[code].status for code in content["examples"]}) == 1


@pytest.mark.parametrize("operation", contract.operations(), ids=lambda one: one.id)
def test_status_of_an_answer_is_that_of_its_errors(operation: contract.Operation) -> None:
    for answer in operation.responses:
        assert {SHOWN[code].status for code in answer.codes} <= {answer.status}
