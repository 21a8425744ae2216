"""The memory of domains: it answers what the rules answer, or leaves the question to them; and DNS is asked once."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clocks import SteadyClock
from users import clock
from users.bulk import domain_memory
from users.bulk.domain_memory import SILENT_SECONDS, DnsMemory, DomainMemory
from users.bulk.judging import Judge
from users.bulk.options import Options
from users.bulk.rows import BadRow, Row
from users.rules import emails
from users.rules.emails import DNS_SECONDS, BadEmail, Email, parse_email
from users.rules.validation import Rules

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


Answers = Callable[[str], bool | None]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers, float], list[str]]:
    """A function that lets DNS answer as told, after so many seconds, and returns the list of domains it was asked."""

    def begin(answers: Answers, seconds: float) -> list[str]:
        domains: list[str] = []
        now = SteadyClock()
        monkeypatch.setattr(clock, "monotonic", now)

        def ask(_email: str, domain: str) -> bool | None:
            domains.append(domain)
            now.seconds += seconds
            return answers(domain)

        monkeypatch.setattr(emails, "ask_dns", ask)
        return domains

    return begin


def refused(judge: Judge, domains: list[str]) -> list[str]:
    """Return the domains whose rows are refused, in the order of a file with a row for each of `domains`."""
    hashed = "$2b$12$" + "." * 53
    rows = [judge.judge(Row(at, {"email": f"jo{at}@{one}", "password_hash": hashed})) for at, one in enumerate(domains)]
    return [error.message.split('"')[1] for row in rows if isinstance(row, BadRow) for error in row.errors]


def judge(dns: DnsMemory | None = None) -> Judge:
    """Return a judge who asks DNS."""
    return Judge(Options(), Rules(check_deliverability=True), frozenset(), dns or DnsMemory())


def test_dns_is_asked_once_about_a_domain(asked: Callable[..., list[str]]) -> None:
    domains = asked(lambda domain: domain != "bad.org", 0)
    given = ["bad.org", "good.org", "bücher.com", "BAD.org"] * 3
    assert refused(judge(), given) == ["bad.org"] * 6
    assert domains == ["bad.org", "good.org", "bücher.com"]


def test_dns_that_never_answers_is_left_alone(asked: Callable[..., list[str]]) -> None:
    """All domains pass then, as one does about which DNS does not answer."""
    domains = asked(lambda _domain: None, DNS_SECONDS)
    assert refused(judge(), [f"d{number}.org" for number in range(1000)]) == []
    assert (len(domains) - 1) * DNS_SECONDS < SILENT_SECONDS <= len(domains) * DNS_SECONDS


def test_dns_that_answers_at_times_is_asked_on(asked: Callable[..., list[str]]) -> None:
    domains = asked(lambda domain: None if domain.startswith("silent") else False, DNS_SECONDS)
    given = [f"{kind}{number}.org" for number in range(20) for kind in ("silent", "bad")]
    assert refused(judge(), given) == [one for one in given if one.startswith("bad")]
    assert domains == given


def test_a_batch_asks_for_some_seconds_in_all(asked: Callable[..., list[str]]) -> None:
    domains = asked(lambda _domain: False, 0.5)
    given = [f"bad{number}.org" for number in range(100)]
    assert refused(judge(DnsMemory(most_seconds=5)), given) == given[:10]
    assert refused(judge(), given) == given
    assert domains == given[:10] + given


def test_memory_of_dns_is_bounded(asked: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain_memory, "MOST_DOMAINS", 3)
    asked(lambda _domain: False, 0)
    memory = DnsMemory()
    for number in range(10):
        assert memory.ask("jo@x", f"d{number}.org") is False
        assert len(memory._said) <= 3
