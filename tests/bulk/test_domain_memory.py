"""The memory of domains: it answers what the rules answer, or leaves the question to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from users.bulk import domain_memory
from users.bulk.domain_memory import DomainMemory
from users.rules.emails import BadEmail, Email, parse_email

pytestmark = pytest.mark.one_database

DOMAIN_189 = ".".join(["a" * 63, "b" * 63, "c" * 57, "com"])  # with a local part of 64 it makes 254
PASSED = ["example.com", "EXAMPLE.com", "mail.example.co.uk", "bücher.com", "xn--bcher-kva.com", DOMAIN_189, "a-b.io"]
_CHARACTERS = st.sampled_from([*"aZ09._+-'!#%/=?^`{|}~*&$", *'@ "(),:;<>[\\]\t', "é", "ｊ", "\u200b", "ß", "\ud800"])
_LOCAL_PARTS = st.one_of(
    st.text(_CHARACTERS, max_size=20),
    st.from_regex(r"\A[A-Za-z0-9._+-]{1,70}\Z"),
    st.sampled_from(["info", "Postmaster", "WEBMASTER", "Info.x", "l" * 64, "l" * 65, ".a", "a.", "a..b", ""]),
)
_DOMAINS = st.one_of(st.sampled_from([*PASSED, "Example.COM", "other.org", "jo@example.com", "example.com."]))


def by_the_rules(text: str) -> Email | None:
    """Return the email in `text`, None if it is refused."""
    try:
        return parse_email(text)
    except BadEmail:
        return None


def memory() -> DomainMemory:
    """Return a memory of the domains that passed."""
    found = DomainMemory()
    for domain in PASSED:
        found.note(f"jo@{domain}", parse_email(f"jo@{domain}"))
    return found


MEMORY = memory()


@given(_LOCAL_PARTS, _DOMAINS, st.sampled_from(["{}", "{}", " {}", "{}\n", "\u200b{}"]))
def test_same_as_the_rules(local_part: str, domain: str, around: str) -> None:
    text = around.format(f"{local_part}@{domain}")
    assert MEMORY.find(text) in (None, by_the_rules(text))


@pytest.mark.parametrize("text", ["Ada.L+x@example.com", "O'Brien@EXAMPLE.com", "l" * 64 + "@" + DOMAIN_189])
def test_knows_what_is_usual(text: str) -> None:
    assert MEMORY.find(text) == parse_email(text)


@pytest.mark.parametrize(
    "value", ["ada@other.org", "Info@example.com", "jo@bücher.com", "jo@xn--bcher-kva.com", " jo@example.com", None, 7]
)
def test_leaves_the_rest_to_the_rules(value: object) -> None:
    assert MEMORY.find(value) is None


def test_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_memory, "MOST_DOMAINS", 3)
    found = DomainMemory()
    for number in range(10):
        found.note(f"jo@d{number}.com", parse_email(f"jo@d{number}.com"))
        assert len(found._passed) <= 3
    assert found.find("ada@d9.com")
