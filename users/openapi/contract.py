"""The API's contract, `openapi.json`, as objects: operations, fields, responses and error codes. No Flask."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Node = Mapping[str, Any]  # a part of the document

_FILE = Path(__file__).with_name("openapi.json")
_FORMATS = {"date-time": "RFC 3339", "idn-email": "email", "ip": "IP address", "uri": "URL"}


@dataclass(frozen=True)
class Field:
    """A member of a JSON object, or a parameter."""

    name: str
    type: str  # in words, with bounds
    required: bool
    description: str


@dataclass(frozen=True)
class OperationResponse:
    """A response of an operation: an object, or one of several errors."""

    status: int
    description: str
    returns: str  # in words
    fields: list[Field]
    codes: list[str]
    example: str  # JSON, or "" for an error


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    id: str
    tag: str
    method: str
    path: str
    summary: str
    description: str
    permissions: list[str]
    parameters: list[Field]
    fields: list[Field]  # of the body
    body: dict[str, Any] | None  # an example
    is_download: bool  # it answers with a file
    file: str  # the media type of a body that is a file, or ""
    responses: list[OperationResponse]
    example_path: str  # with an id or an email in it


@dataclass(frozen=True)
class PartCode:
    """A code that stands in an answer beside others or in an import, what it means and how to fix it."""

    code: str
    meaning: str
    fix: str


@dataclass(frozen=True)
class ErrorCode:
    """An error code, what it means and how to fix it."""

    code: str
    status: int
    meaning: str
    fix: str
    example: str  # JSON


@cache
def document() -> dict[str, Any]:
    """Return the whole document."""
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return found


def resolve(node: Node) -> Node:
    """Return the target of the reference in `node`, with the other members of `node` over it, or `node` itself."""
    if "$ref" not in node:
        return node
    found: Any = document()
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return {**resolve(found), **{name: value for name, value in node.items() if name != "$ref"}}


@cache
def operations() -> list[Operation]:
    """Return all operations, in the document's order."""
    return [
        _operation(method, path, node)
        for path, methods in document()["paths"].items()
        for method, node in methods.items()
    ]


def _operation(method: str, path: str, node: Node) -> Operation:
    parameters = [resolve(one) for one in node.get("parameters", [])]
    content = node.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {})
    values = {one["name"]: one["example"] for one in parameters if one["in"] == "path"}
    return Operation(
        id=node["operationId"],
        tag=node["tags"][0],
        method=method.upper(),
        path=path,
        summary=node["summary"],
        description=node["description"],
        permissions=next(iter(node["security"][0].values())),
        parameters=[_parameter(one) for one in parameters],
        fields=fields(body["schema"]) if body else [],
        body=body.get("example"),
        is_download="text/csv" in next(map(resolve, node["responses"].values()))["content"],
        file="" if body else next(iter(content), ""),
        responses=[_response(int(status), resolve(one)) for status, one in node["responses"].items()],
        example_path=path.format(**values),
    )


def _parameter(node: Node) -> Field:
    where = {"path": "in the path", "query": "in the query", "header": "header"}[node["in"]]
    return Field(node["name"], f"{where}, {_type(node['schema'])}", node.get("required", False), node["description"])


def _response(status: int, node: Node) -> OperationResponse:
    content = next(iter(node["content"].values()))
    schema = content["schema"]
    if status >= 400:
        error = schema["properties"]["error"]
        codes = [codes_of(resolve(one))[0] for one in error.get("oneOf", [error])]
        return OperationResponse(status, node["description"], "", [], codes, "")
    examples = [one["value"] for one in content.get("examples", {}).values()] or [content["example"]]
    shown = "\n\n".join(_shown(one) for one in examples)
    return OperationResponse(status, node["description"], _type(schema), _own_fields(schema), [], shown)


def _shown(example: Any) -> str:
    """Return an example as it is shown: a file as its lines, anything else as JSON."""
    is_file = isinstance(example, str)
    return "\n".join(example.splitlines()) if is_file else json.dumps(example, indent=2, ensure_ascii=False)


def _own_fields(schema: Node) -> list[Field]:
    """Return the fields of a response, none for a user and a profile: the page lists those once."""
    return [] if resolve(schema).get("title") in ("User", "Profile") else fields(schema)


def fields(schema: Node) -> list[Field]:
    """Return the members of an object."""
    found = resolve(schema)
    return [
        Field(name, _type(one), name in found.get("required", []), resolve(one).get("description", ""))
        for name, one in found.get("properties", {}).items()
    ]


def _type(node: Node) -> str:
    """Return the type in words, with its bounds: "string or null, at most 255 characters"."""
    schema = resolve(node)
    if schema.get("type") == "object":
        return str(schema["title"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        values = [json.dumps(value) for value in schema["enum"]]
        return f"{', '.join(values[:-1])} or {values[-1]}"
    if schema["type"] == "array":
        return f"array of {_bounds(schema, 'Items')}{_type(schema['items'])}"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return ", ".join(part for part in (" or ".join(types), *_limits(schema)) if part)


def _limits(schema: Node) -> Iterator[str]:
    yield _FORMATS.get(schema.get("format", ""), "")
    length, size = _bounds(schema, "Length"), _bounds(schema, "imum")
    yield f"{length}characters" if length else ""
    yield size.strip()
    if "default" in schema:
        yield f"default {json.dumps(schema['default'])}"


def _bounds(schema: Node, name: str) -> str:
    """Return `8 to 1,024 `, with a space at the end, or ""."""
    least, most = schema.get(f"min{name}"), schema.get(f"max{name}")
    if most is not None:
        return f"{least:,} to {most:,} " if least else f"at most {most:,} "
    return f"{least:,} or more " if least else ""


def own_members(schema: Node) -> Node:
    """Return the members that an error has beside those of every error."""
    own: Node = schema["allOf"][1]["properties"]
    return own


def codes_of(schema: Node) -> list[str]:
    """Return the codes of an error: one, or VALIDATION_ERROR and those of the fields."""
    code = own_members(schema)["code"]
    return [code["const"]] if "const" in code else list(code["enum"])


@cache
def codes() -> list[ErrorCode]:
    """Return every error code, by status; the codes of fields come after VALIDATION_ERROR."""
    schemas = document()["components"]["schemas"]
    found = [_code(one) for one in schemas.values() if "allOf" in one]
    alone = _field_codes(schemas["FieldCode"], {one.code for one in found})
    return sorted([*found, *alone], key=lambda one: one.status)


def codes_in(name: str) -> list[PartCode]:
    """Return the codes of the schema `name` that are not among those of `codes`."""
    schema, listed = document()["components"]["schemas"][name], {one.code for one in codes()}
    parts = zip(schema["enum"], schema["x-enum-descriptions"], schema["x-how-to-fix"], strict=True)
    return [PartCode(*one) for one in parts if one[0] not in listed]


def _code(schema: Node) -> ErrorCode:
    code, status = codes_of(schema)[0], own_members(schema)["status"]["const"]
    return ErrorCode(code, status, schema["description"], schema["x-how-to-fix"], example_of(code))


def _field_codes(schema: Node, listed: set[str]) -> Iterator[ErrorCode]:
    for code, meaning, fix in zip(schema["enum"], schema["x-enum-descriptions"], schema["x-how-to-fix"], strict=True):
        if code not in listed:
            yield ErrorCode(code, 422, meaning, fix, example_of(code))


def example_of(code: str) -> str:
    """Return an error answer with this code, as JSON."""
    return json.dumps(_examples()[code], indent=2, ensure_ascii=False)


@cache
def _examples() -> dict[str, Node]:
    """Return an example for each code: that of a response, else one made from the example of the field's error."""
    components = document()["components"]
    contents = [one["content"]["application/json"] for one in components["responses"].values()]
    found = {code: one["value"] for content in contents for code, one in content["examples"].items()}
    of_fields = {one["code"]: _about_field(found["PASSWORD_TOO_SHORT"], one) for one in _field_errors(components)}
    return {**of_fields, **found}


def _field_errors(components: Node) -> list[Node]:
    found: list[Node] = components["schemas"]["FieldError"]["examples"]
    return found


def _about_field(answer: Node, error: Node) -> Node:
    """Return an answer whose only error is `error`."""
    changed = {"code": error["code"], "message": error["message"]}
    details = {"field": error["field"], "errors": [error]}
    return {**answer, "error": {**answer["error"], **changed, "details": details}}
