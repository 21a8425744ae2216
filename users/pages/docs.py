"""The reference for people who write programs: the contract, a page and its Markdown, for this server's address.

They are the same for every caller, so each is made once for a base URL, and for a language if it has one, and cached.
"""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from flask import Flask, Response, current_app, g, jsonify, request

from users.blueprint import bp, same_for_all
from users.http import headers, urls
from users.openapi import contract, markdown
from users.openapi.code_samples import LANGUAGES
from users.pages import reference

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
    app.extensions["enrol.docs"] = lru_cache(KEPT * len(LANGUAGES))(_page)
    app.extensions["enrol.markdown"] = lru_cache(KEPT * len(LANGUAGES))(_markdown)
    app.extensions["enrol.openapi"] = lru_cache(KEPT)(_document)


@bp.get("/openapi.json")
@same_for_all
def show_document() -> Response:
    """Answer with the OpenAPI document, whose server is this one."""
    return _answer("enrol.openapi")


@bp.get("/docs")
@same_for_all
def show_docs() -> Response:
    """Show the reference, with its examples in the language of `?lang=`."""
    return _answer("enrol.docs", _language())


@bp.get("/docs.md")
@same_for_all
def show_markdown() -> Response:
    """Show the reference as Markdown."""
    return _answer("enrol.markdown", _language())


@bp.get("/llms.txt")
@same_for_all
def show_llms_text() -> Response:
    """Show the same where language models look for it (https://llmstxt.org)."""
    return show_markdown()


def _language() -> str:
    """Return the language that the caller asks for, or the first one."""
    asked = request.args.get("lang", "")
    return asked if asked in LANGUAGES else next(iter(LANGUAGES))


def _answer(name: str, *variant: str) -> Response:
    """Return the body cached under `name` for the base URL and `variant`, compressed if the caller accepts that.

    It is 304 if the caller's copy is current.

    Each of the two has an entity tag of its own (RFC 9110, section 8.8.3.3).
    """
    keep: Callable[..., CachedBody] = current_app.extensions[name]
    made = keep(urls.base_url(), *variant)
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


def _page(base_url: str | None, language: str) -> CachedBody:
    return _made(reference.page(base_url, language), "text/html")


def _markdown(base_url: str | None, language: str) -> CachedBody:
    url = f"{base_url or urls.PLACEHOLDER_URL}/docs"
    return _made(markdown.of_page(reference.page(base_url, language), url), "text/markdown")
