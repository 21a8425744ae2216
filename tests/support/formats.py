"""Texts of four formats of openapi.json, for Schemathesis: a schema cannot say all of it."""

import schemathesis
from hypothesis import strategies as st

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)

schemathesis.openapi.format("idn-email", st.builds("{}@{}.com".format, WORDS, WORDS))
schemathesis.openapi.format("idn-hostname", WORDS.map("{}.com".format))
schemathesis.openapi.format("ip", st.ip_addresses().map(str))
schemathesis.openapi.format("password", WORDS.map(lambda word: word.ljust(8, "-")))
