"""The reference as a page: the contract, with the settings and the limits of this server, and code samples."""

import re
from functools import partial
from itertools import groupby
from typing import Any

from flask import render_template
from markupsafe import Markup, escape

from users import rate_limits, settings
from users.auth import attempt_limits
from users.http import urls
from users.openapi import changelog, code_samples, contract
from users.openapi.contract import Operation

OBJECTS = ("User", "Profile")


def page(base_url: str | None, language: str) -> str:
    """Return the page for a base URL, with the samples in `language`; the others are hidden."""
    schemas = contract.document()["components"]["schemas"]
    return render_template(
        "docs/reference.html",
        base_url=base_url,
        language=language,
        languages=code_samples.LANGUAGES,
        tags=_tags(),
        objects=[(schemas[name], contract.fields(schemas[name])) for name in OBJECTS],
        codes=contract.codes(),
        row_codes=contract.codes_in("RowCode"),
        import_codes=contract.codes_in("ImportErrorCode"),
        changes=changelog.versions(),
        error=contract.example_of("PASSWORD_TOO_SHORT"),
        rate=settings.current().rate_limit,
        wrong_keys=rate_limits.WRONG_KEYS,
        limits=attempt_limits,
        samples=partial(_samples, base_url),
        pages_sample=code_samples.python_pages(f"{base_url or urls.PLACEHOLDER_URL}/v1/user/?limit=1000"),
        coded=_coded,
    )


def _tags() -> list[tuple[dict[str, Any], list[Operation]]]:
    """Return the tags, each with its operations."""
    found = {name: list(group) for name, group in groupby(contract.operations(), lambda one: one.tag)}
    return [(tag, found[tag["name"]]) for tag in contract.document()["tags"]]


def _samples(base_url: str | None, operation: Operation) -> dict[str, str]:
    url = f"{base_url or urls.PLACEHOLDER_URL}{operation.example_path}"
    return code_samples.in_every_language(
        operation.method, url, operation.body, file=operation.file, is_download=operation.is_download
    )


def _coded(text: str) -> Markup:
    """Return `text` with the parts between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  (escaped, then marked)
