"""URLs in settings and options: the address of this service, and a page to lead on to."""

import re
from urllib.parse import urlsplit

_WEB_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")  # the characters of RFC 3986


def read_base_url(text: str) -> str:
    """Return the base URL in `text`, in lower case and without a slash at its end. Raises ValueError."""
    url = urlsplit(text)
    usable = url.scheme in ("http", "https") and re.fullmatch(r"[a-z0-9_.:-]+", url.hostname or "")
    extra = url.path.strip("/") or url.query or url.fragment or "@" in url.netloc
    _ = url.port
    if not usable or extra:
        raise ValueError
    return f"{url.scheme}://{url.netloc.lower().removesuffix(':')}"


def read_web_url(text: str) -> str:
    """Return `text` if it is an http or https URL without a user. Raises ValueError."""
    url = urlsplit(text)
    if not _WEB_URL.fullmatch(text):
        raise ValueError
    read_base_url(f"{url.scheme}://{url.netloc}")
    return text
