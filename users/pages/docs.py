"""The reference for people who write programs: the contract as it stands, and as a page, for this server's address.

Both are the same for every caller, so each is made once for a base URL and cached.
"""

import gzip
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import groupby
from typing import Any

from flask import Flask, Response, current_app, g, jsonify, render_template, request
from markupsafe import Markup, escape

from users import rate_limits, settings
from users.auth import attempt_limits
from users.blueprint import bp, same_for_all
from users.http import headers, urls
from users.openapi import code_samples, contract
from users.openapi.contract import Operation

KEPT = 8  # base URLs: a Host that is loopback or trusted may have any port


@dataclass(frozen=True)
class CachedBody:
    """A body, plain and compressed, and its hash."""

    mimetype: str
    plain: bytes = field(repr=False)
    gzipped: bytes = field(repr=False)
    digest: str


def init_app(app: Flask) -> None:
    """Give `app` its caches: the page depends on the settings. The base URL used longest ago is dropped."""
    app.extensions["enrol.docs"] = lru_cache(KEPT)(_page)
    app.extensions["enrol.openapi"] = lru_cache(KEPT)(_document)


@bp.get("/openapi.json")
@same_for_all
def show_document() -> Response:
    """Answer with the OpenAPI document, whose server is this one."""
    return _answer("enrol.openapi")


@bp.get("/docs")
@same_for_all
def show_docs() -> Response:
    """Show the reference."""
    return _answer("enrol.docs")


def _answer(name: str) -> Response:
    """Return the body cached under `name`, compressed if the caller accepts that, or 304 if its copy is current.

    Each of the two has an entity tag of its own (RFC 9110, section 8.8.3.3).
    """
    keep: Callable[[str | None], CachedBody] = current_app.extensions[name]
    made = keep(urls.base_url())
    encoding = request.accept_encodings.best_match(("gzip", "identity"), "identity")
    response = Response(made.plain, mimetype=made.mimetype)
    response.set_etag(made.digest)
    if encoding == "gzip":
        response.set_data(made.gzipped)
        response.content_encoding = encoding
        response.set_etag(f"{made.digest}-gzip")
    response.vary.add("Accept-Encoding")
    g.caching = headers.REVALIDATED
    response.make_conditional(request)
    return response


def _made(text: str, mimetype: str) -> CachedBody:
    plain = text.encode()
    # Without a time, so every process makes the same bytes.
    return CachedBody(mimetype, plain, gzip.compress(plain, mtime=0), hashlib.sha256(plain).hexdigest()[:32])


def _document(base_url: str | None) -> CachedBody:
    document = jsonify({**contract.document(), "servers": [{"url": base_url or "/"}]})
    return _made(document.get_data(as_text=True), "application/json")


def _page(base_url: str | None) -> CachedBody:
    schemas = contract.document()["components"]["schemas"]
    page = render_template(
        "docs/reference.html",
        base_url=base_url,
        tags=_tags(),
        objects=[(schemas[name], contract.fields(schemas[name])) for name in ("User", "Profile")],
        codes=contract.codes(),
        error=contract.example_of("Invalid", "PASSWORD_TOO_SHORT"),
        rate=settings.current().rate_limit,
        wrong_keys=rate_limits.WRONG_KEYS,
        limits=attempt_limits,
        samples=partial(_samples, base_url),
        pages_sample=code_samples.python_pages(f"{base_url or urls.PLACEHOLDER_URL}/v1/user/?limit=1000"),
        coded=_coded,
    )
    return _made(page, "text/html")


def _tags() -> list[tuple[dict[str, Any], list[Operation]]]:
    """Return the tags, each with its operations."""
    found = {name: list(group) for name, group in groupby(contract.operations(), lambda one: one.tag)}
    return [(tag, found[tag["name"]]) for tag in contract.document()["tags"]]


def _samples(base_url: str | None, operation: Operation) -> dict[str, str]:
    """Return the operation in three languages."""
    url = f"{base_url or urls.PLACEHOLDER_URL}{operation.example_path}"
    call = (operation.method, url, operation.body)
    return {
        "curl": code_samples.curl(*call),
        "Python": code_samples.python(*call),
        "JavaScript": code_samples.javascript(*call),
    }


def _coded(text: str) -> Markup:
    """Return `text` with the parts between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  (escaped, then marked)
