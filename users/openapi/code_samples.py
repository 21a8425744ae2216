"""One call of the API as code to paste: curl, Python with Requests, or JavaScript. No Flask."""

import json
import shlex
from collections.abc import Mapping
from textwrap import indent
from typing import Any

Body = Mapping[str, Any] | None
FILE = "users.csv"  # which a sample sends

_WHOLE_JSON = "console.dir(await response.json(), { depth: null });"  # `console.log` folds what lies deeper

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
    headers = '"X-API-Key": process.env.API_KEY'
    lines = [f'method: "{method}"', f"headers: {{ {headers} }}"]
    if body is not None:
        lines[-1] = f'headers: {{ {headers}, "Content-Type": "application/json" }}'
        lines.append(f"body: JSON.stringify({_pretty(body, 2)})")
    options = indent(",\n".join(lines), "  ")
    shown = "console.log(await response.text());" if is_download else _WHOLE_JSON
    return f"const response = await fetch({json.dumps(url)}, {{\n{options},\n}});\n{shown}"


def in_every_language(
    method: str, url: str, body: Body = None, *, file: str = "", is_download: bool = False
) -> dict[str, str]:
    """Return the call in each of the languages, by its name. It prints JSON, or the text of a file.

    With `file`, it sends FILE as this media type.
    """
    if file:
        return _sending_file(method, url, file)
    return {
        "curl": curl(method, url, body),
        "python": python(method, url, body, is_download=is_download),
        "javascript": javascript(method, url, body, is_download=is_download),
    }


def _sending_file(method: str, url: str, media_type: str) -> dict[str, str]:
    kind = f'"Content-Type": "{media_type}"'
    return {
        "curl": " \\\n  ".join(
            (
                f'curl -X {method} "{url}"',
                '-H "X-API-Key: $API_KEY"',
                f'-H "Content-Type: {media_type}"',
                f"--data-binary @{FILE}",
            )
        ),
        "python": f"""\
import os
import requests

with open("{FILE}", "rb") as file:
    response = requests.{method.lower()}(
        {json.dumps(url)},
        headers={{"X-API-Key": os.environ["API_KEY"], {kind}}},
        data=file,
    )
print(response.json())""",
        "javascript": f"""\
import {{ openAsBlob }} from "node:fs";

const response = await fetch({json.dumps(url)}, {{
  method: "{method}",
  headers: {{ "X-API-Key": process.env.API_KEY, {kind} }},
  body: await openAsBlob("{FILE}"),
}});
{_WHOLE_JSON}""",
    }


def _pretty(body: Body, spaces: int) -> str:
    """Return `body` as JSON, which is also Python as long as it has no true, false or null: no sample has."""
    return json.dumps(body, indent=spaces, ensure_ascii=False)
