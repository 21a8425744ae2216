"""The reference for people who write programs: the contract as it stands, and as a page, for this server's address."""

import re
from itertools import groupby
from typing import Any

from flask import jsonify, render_template, request
from markupsafe import Markup, escape

from users import access, attempts, bp, contract, examples, pages, settings
from users.contract import Operation
from users.pages import Answer, public


@bp.get("/openapi.json")
@public()
def show_document() -> Answer:
    """Answer with the OpenAPI document, whose server is this one."""
    response = jsonify({**contract.document(), "servers": [{"url": pages.address() or "/"}]})
    response.add_etag()
    return response.make_conditional(request)


@bp.get("/docs")
@public()
def show_docs() -> Answer:
    """Show the reference."""
    schemas = contract.document()["components"]["schemas"]
    return render_template(
        "docs.html",
        address=pages.address(),
        tags=_tags(),
        objects=[(schemas[name], contract.fields(schemas[name])) for name in ("User", "Profile")],
        codes=contract.codes(),
        error=contract.example_of("Invalid", "PASSWORD_TOO_SHORT"),
        rate=settings.current().rate_limit,
        wrong_keys=access.WRONG_KEYS,
        passwords=attempts,
        samples=_samples,
        coded=_coded,
    )


def _tags() -> list[tuple[dict[str, Any], list[Operation]]]:
    """Return the tags, each with its operations."""
    found = {name: list(group) for name, group in groupby(contract.operations(), lambda one: one.tag)}
    return [(tag, found[tag["name"]]) for tag in contract.document()["tags"]]


def _samples(operation: Operation) -> dict[str, str]:
    """Return the operation in three languages."""
    url = f"{pages.address() or pages.UNKNOWN}{operation.example_path}"
    call = (operation.method, url, operation.body)
    return {
        "curl": examples.curl(*call),
        "Python": examples.python(*call),
        "JavaScript": examples.javascript(*call),
    }


def _coded(text: str) -> Markup:
    """Return `text` with what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  (escaped, then marked)
