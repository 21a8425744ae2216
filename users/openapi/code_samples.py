"""One call of the API as code to paste: curl, Python with Requests, or JavaScript. No Flask."""

import json
import shlex
from collections.abc import Mapping
from textwrap import indent
from typing import Any

Body = Mapping[str, Any] | None

LANGUAGES = {"curl": "curl", "python": "Python", "javascript": "JavaScript"}


def curl(method: str, url: str, body: Body = None, *, key: str = "$API_KEY") -> str:
    """Return the call as a shell command."""
    option = "" if method == "GET" else f"-X {method} "
    lines = [f'curl {option}"{url}"', f'-H "X-API-Key: {key}"']
    if body is not None:
        sent = shlex.quote(_pretty(body, 2).replace("\n", "\n  "))
        lines += ['-H "Content-Type: application/json"', f"-d {sent}"]
    return " \\\n  ".join(lines)


def python(method: str, url: str, body: Body = None, *, is_download: bool = False) -> str:
    """Return the call as a Python program with Requests."""
    lines = [json.dumps(url), 'headers={"X-API-Key": os.environ["API_KEY"]}']
    if body is not None:
        lines.append(f"json={_pretty(body, 4)}")
    arguments = indent(",\n".join(lines), "    ")
    call = f"response = requests.{method.lower()}(\n{arguments},\n)"
    return f"import os\nimport requests\n\n{call}\nprint(response.{'text' if is_download else 'json()'})"


def python_pages(url: str) -> str:
    """Return a Python program that reads the list at `url`, page by page. A Link may be relative (RFC 8288, 3.1)."""
    return f"""\
import os
from urllib.parse import urljoin
import requests

url = {json.dumps(url)}
while url:
    response = requests.get(url, headers={{"X-API-Key": os.environ["API_KEY"]}})
    for user in response.json():
        print(user["email"])
    following = response.links.get("next")
    url = urljoin(url, following["url"]) if following else None"""


def javascript(method: str, url: str, body: Body = None, *, is_download: bool = False) -> str:
    """Return the call as a module for Node.js 18 or newer."""
    read = "text" if is_download else "json"
    headers = '"X-API-Key": process.env.API_KEY'
    lines = [f'method: "{method}"', f"headers: {{ {headers} }}"]
    if body is not None:
        lines[-1] = f'headers: {{ {headers}, "Content-Type": "application/json" }}'
        lines.append(f"body: JSON.stringify({_pretty(body, 2)})")
    options = indent(",\n".join(lines), "  ")
    return (
        f"const response = await fetch({json.dumps(url)}, {{\n{options},\n}});\nconsole.log(await response.{read}());"
    )


def in_every_language(method: str, url: str, body: Body = None, *, is_download: bool = False) -> dict[str, str]:
    """Return the call in each of the languages, by its name. It prints JSON, or the text of a file."""
    return {
        "curl": curl(method, url, body),
        "python": python(method, url, body, is_download=is_download),
        "javascript": javascript(method, url, body, is_download=is_download),
    }


def _pretty(body: Body, spaces: int) -> str:
    """Return `body` as JSON, which is also Python as long as it has no true, false or null: no sample has."""
    return json.dumps(body, indent=spaces, ensure_ascii=False)
