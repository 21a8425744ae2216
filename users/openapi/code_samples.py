"""One call of the API as code to paste: curl, Python or JavaScript, with nothing to install. No Flask."""

import json
import shlex
from collections.abc import Mapping
from textwrap import indent
from typing import Any

Body = Mapping[str, Any] | None


def curl(method: str, url: str, body: Body = None, *, key: str = "$API_KEY") -> str:
    """Return the call as a shell command."""
    option = "" if method == "GET" else f"-X {method} "
    lines = [f'curl {option}"{url}"', f'-H "X-API-Key: {key}"']
    if body is not None:
        sent = shlex.quote(_pretty(body, 2).replace("\n", "\n  "))
        lines += ['-H "Content-Type: application/json"', f"-d {sent}"]
    return " \\\n  ".join(lines)


def python(method: str, url: str, body: Body = None) -> str:
    """Return the call as a Python program that needs only the standard library."""
    headers = '"X-API-Key": os.environ["API_KEY"]'
    lines = [json.dumps(url), f'method="{method}"', f"headers={{{headers}}}"]
    if body is not None:
        lines[-1] = f'headers={{{headers}, "Content-Type": "application/json"}}'
        lines.append(f"data=json.dumps({_pretty(body, 4)}).encode()")
    arguments = indent(",\n".join(lines), "    ")
    return (
        "import json, os, urllib.request\n\n"
        f"request = urllib.request.Request(\n{arguments},\n)\n"
        "with urllib.request.urlopen(request) as response:\n"
        "    print(json.load(response))"
    )


def python_pages(url: str) -> str:
    """Return a Python program that reads the list at `url`, page by page. A Link may be relative (RFC 8288, 3.1)."""
    return f"""\
import json, os, re, urllib.request
from urllib.parse import urljoin

url = {json.dumps(url)}
while url:
    request = urllib.request.Request(url, headers={{"X-API-Key": os.environ["API_KEY"]}})
    with urllib.request.urlopen(request) as response:
        for user in json.load(response):
            print(user["email"])
        link = re.search(r'<([^>]+)>; rel="next"', response.headers.get("Link", ""))
    url = urljoin(url, link[1]) if link else None"""


def javascript(method: str, url: str, body: Body = None) -> str:
    """Return the call as a module for Node.js 18 or newer."""
    headers = '"X-API-Key": process.env.API_KEY'
    lines = [f'method: "{method}"', f"headers: {{ {headers} }}"]
    if body is not None:
        lines[-1] = f'headers: {{ {headers}, "Content-Type": "application/json" }}'
        lines.append(f"body: JSON.stringify({_pretty(body, 2)})")
    options = indent(",\n".join(lines), "  ")
    return f"const response = await fetch({json.dumps(url)}, {{\n{options},\n}});\nconsole.log(await response.json());"


def _pretty(body: Body, spaces: int) -> str:
    """Return `body` as JSON, which is also Python as long as it has no true, false or null: no sample has."""
    return json.dumps(body, indent=spaces, ensure_ascii=False)
