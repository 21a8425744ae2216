"""Texts of four formats of openapi.json, and files as bodies, for Schemathesis: a schema cannot say all of it."""

from typing import Any

import schemathesis
from hypothesis import strategies as st

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)

schemathesis.openapi.format("idn-email", st.builds("{}@{}.com".format, WORDS, WORDS))
schemathesis.openapi.format("idn-hostname", WORDS.map("{}.com".format))
schemathesis.openapi.format("ip", st.ip_addresses().map(str))
schemathesis.openapi.format("password", WORDS.map(lambda word: word.ljust(8, "-")))


@schemathesis.serializer("text/csv", "application/x-ndjson")
def as_it_is(_context: object, value: Any) -> bytes:
    """Return a generated body as a file: its bytes, or its text."""
    given = getattr(value, "data", value)  # the bytes of a text of the format "binary"
    return given if isinstance(given, bytes) else str(given).encode("utf-8", "surrogatepass")
