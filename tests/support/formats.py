"""What two formats of the document mean here, for Schemathesis to make such texts: a schema cannot tell all of it."""

import schemathesis
from hypothesis import strategies as st

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20)

schemathesis.openapi.format("idn-email", st.builds("{}@{}.com".format, WORDS, WORDS))
schemathesis.openapi.format("ip", st.ip_addresses().map(str))
schemathesis.openapi.format("password", WORDS.map(lambda word: word.ljust(8, "-")))
