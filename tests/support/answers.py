"""Compares every answer that a test gets from /v1 with openapi.json: status, headers and body."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from flask import Flask, Response, current_app, g, request, request_finished
from jsonschema_rs import Draft202012Validator
from werkzeug.datastructures import Headers

from users.openapi import contract

NO_ROUTE = {400: "BadRequest", 404: "NoPath", 405: "WrongMethod"}  # the answers to a request that matches no operation
LIMIT = "x-ratelimit-limit-requests"


def operation_of(method: str, rule: str) -> tuple[str, str]:
    """Return the method and the path as the document writes them: `get` and `/v1/user/{user_id}`."""
    return method.lower().replace("head", "get"), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def judge_of(schema: contract.Node) -> Draft202012Validator:
    """Return a validator of a schema of the document."""
    components = contract.document()["components"]
    return Draft202012Validator({**schema, "components": components}, validate_formats=True)


def documented(operation: tuple[str, str] | None, status: int) -> contract.Node:
    """Return the document's description of an answer, or raise KeyError."""
    if operation is None:
        return contract.resolve({"$ref": f"#/components/responses/{NO_ROUTE[status]}"})
    method, path = operation
    return contract.resolve(contract.document()["paths"][path][method]["responses"][str(status)])


@cache
def _body_judge(operation: tuple[str, str] | None, status: int) -> Draft202012Validator:
    return judge_of(documented(operation, status)["content"]["application/json"]["schema"])


@cache
def _header_judge(name: str) -> Draft202012Validator:
    return judge_of(contract.document()["components"]["headers"][name]["schema"])


def _header_complaints(expected: contract.Node, headers: Headers) -> Iterator[str]:
    for name, node in contract.document()["components"]["headers"].items():
        value: Any = headers.get(name)
        if value is None:
            if name in expected and contract.resolve(expected[name]).get("required"):
                yield f"lacks {name}"
            continue
        if node["schema"].get("type") == "integer" and value.isdecimal():
            value = int(value)
        if name not in expected or not _header_judge(name).is_valid(value):
            yield f"has {name}: {value}"


def _complaints(operation: tuple[str, str] | None, response: Response) -> Iterator[str]:
    try:
        expected = documented(operation, response.status_code)
    except KeyError:
        yield "is not in the document"
        return
    yield from _header_complaints(expected["headers"], response.headers)
    if response.content_type != "application/json":
        if response.mimetype == "application/json" or response.mimetype not in expected["content"]:
            yield f"is {response.content_type}"
    elif request.method != "HEAD":
        errors = _body_judge(operation, response.status_code).iter_errors(json.loads(response.get_data()))
        yield from (f"{error.message} at {error.instance_path}" for error in errors)
    limited = current_app.extensions["enrol.settings"].rate_limit is not None
    # A key that was revoked during the request has no limit any more.
    if limited and "actor" in g and response.status_code != 401 and LIMIT not in response.headers:
        yield "does not tell how its key stands with the limit"


@contextmanager
def watched() -> Iterator[list[str]]:
    """Check every answer from /v1 of every application in this process; yield the list of complaints."""
    found: list[str] = []

    def note(_app: Flask, response: Response) -> None:
        if request.path == "/v1" or request.path.startswith("/v1/"):
            rule = request.url_rule
            operation = operation_of(request.method, rule.rule) if rule else None
            where = f"{request.method} {request.path} {response.status_code}"
            found.extend(f"{where} {one}" for one in _complaints(operation, response))

    with request_finished.connected_to(note):
        yield found
