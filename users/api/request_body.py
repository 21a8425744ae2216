"""The request body as one JSON object, read strictly (RFC 8259 with the restrictions of RFC 7493)."""

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from users.request_errors import InvalidJson, PayloadTooLarge, UnsupportedContentEncoding, UnsupportedMediaType
from users.rules import strict_json

MAX_BYTES = 64 * 1024
# The media types of the body, and the header that names them in a 415 (RFC 9110, section 15.5.16; RFC 5789, 2.2).
_ACCEPTED = {
    "POST": ("Accept", ("application/json",)),
    "PATCH": ("Accept-Patch", ("application/json", "application/merge-patch+json")),  # RFC 7396
}


def json_object(request: Request, *, mebibytes: int | None = None) -> dict[str, object]:
    """Return the body of `request`, one JSON object in strict UTF-8, of `mebibytes` or by default 64 KiB.

    Raises UnsupportedMediaType, PayloadTooLarge or InvalidJson, with the line and column in `details` if known.
    """
    _require_json(request)
    try:
        # UTF-16 and UTF-32 fail here or, if their bytes are valid UTF-8 too, as JSON: they contain NULs.
        text = _body(request, mebibytes).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidJson("The request body must be encoded in UTF-8.") from None
    if text.startswith("\ufeff"):  # RFC 8259, 8.1; no line and column: the mark is invisible
        raise InvalidJson("The request body must not start with a byte order mark.")
    try:
        members = strict_json.parse(text)
        if not isinstance(members, dict):
            raise InvalidJson('The request body must be one JSON object, like {"email": "name@example.com"}.')
        strict_json.check_contents(members)
    except strict_json.NotStrictJson as bad:
        details = {} if bad.line is None else {"line": bad.line, "column": bad.column}
        raise InvalidJson(f"The request body {bad.words}", details=details) from None
    return members


def _require_json(request: Request) -> None:
    header, accepted = _ACCEPTED.get(request.method, _ACCEPTED["POST"])
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype not in accepted or charset not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(headers={header: ", ".join(accepted)})
    codings = request.headers.get("Content-Encoding", "").lower().split(",")
    if any(coding.strip() not in ("", "identity") for coding in codings):
        raise UnsupportedContentEncoding


def _body(request: Request, mebibytes: int | None) -> bytes:
    """Return the bytes of the body, counted while they arrive: a chunked body announces no length."""
    max_bytes = mebibytes * 1024 * 1024 if mebibytes else MAX_BYTES
    request.max_content_length = max_bytes + 1  # one more: Werkzeug truncates a chunked body there without an error
    try:
        body = request.get_data(cache=False)
    except RequestEntityTooLarge:
        raise PayloadTooLarge(mebibytes=mebibytes) from None
    except Exception:  # a malformed chunk or a closed connection, for which each server raises its own error
        raise InvalidJson("The request body did not arrive whole.") from None
    if len(body) > max_bytes:
        raise PayloadTooLarge(mebibytes=mebibytes)
    if request.content_length not in (None, len(body)):  # some servers pass on the part before the connection closed
        raise InvalidJson("The request body did not arrive whole.")
    return body
