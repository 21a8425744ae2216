"""The headers of every response about security and caching."""

import hashlib
import unicodedata
from functools import cache
from pathlib import Path
from urllib.parse import quote

from flask import Response, current_app, g, request

from users import settings

_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",  # no-referrer would send "Origin: null" with every form
    "X-Content-Type-Options": "nosniff",
}
_HSTS = "max-age=31536000"
_FOREVER = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"  # the browser may keep the response, but must ask each time whether it is still valid


def is_https() -> bool:
    """Tell whether people reach the service over https. Cookies and HSTS depend on it."""
    return request.is_secure or (settings.current().public_url or "").startswith("https:")


def add(response: Response) -> None:
    """Add the headers to `response`. A view may set `g.referrer_policy`, and `g.caching` to let caches keep it."""
    response.headers.extend(_SECURITY)  # no other code sets them: extend need not look for old ones
    if "referrer_policy" in g:
        response.headers["Referrer-Policy"] = g.referrer_policy
    response.headers["Cache-Control"] = _FOREVER if _is_hashed_file(response) else g.get("caching", "no-store")
    if is_https():
        response.headers["Strict-Transport-Security"] = _HSTS


def name_download(response: Response, name: str) -> None:
    """Let the browser save the response under `name`, whatever characters it has (RFC 6266, section 4.3).

    A header is Latin-1: the development server breaks off in the middle of an answer whose header is not.
    """
    plain = "".join(char for char in unicodedata.normalize("NFKD", name) if " " <= char <= "~") or "download"
    other = {} if plain == name else {"filename*": f"UTF-8''{quote(name, safe='', errors='replace')}"}
    response.headers.set("Content-Disposition", "attachment", filename=plain, **other)


def asset(name: str) -> str:
    """Return the path of a file under static/ with the hash of its content, which changes with the file."""
    return f"/static/{name}?v={_hash_of(name)}"


def _is_hashed_file(response: Response) -> bool:
    if request.endpoint != "static" or response.status_code >= 400 or not request.view_args:
        return False
    return request.args.get("v") == _hash_of(request.view_args["filename"])


def _hash_of(name: str) -> str:
    path = Path(current_app.static_folder or "") / name
    return _hash(path, path.stat().st_mtime_ns)


@cache
def _hash(path: Path, _changed: int) -> str:  # `_changed` only makes the cache forget a file that has changed
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
