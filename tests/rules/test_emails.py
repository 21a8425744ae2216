"""Email addresses: validity, the stored text, and the key that makes them unique."""

import time
from types import SimpleNamespace
from typing import Any

import dns.exception
import dns.resolver
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from users.rules.emails import DNS_SECONDS, RESERVED_DOMAINS, BadEmail, Email, ask_dns, parse_email, possible_emails

DOMAIN_189 = ".".join(["a" * 63, "b" * 63, "c" * 57, "com"])  # with a local part of 64 it makes 254


def lookup_key(text: str) -> str:
    """Return the key by which the email in `text` is looked up."""
    (possible,) = possible_emails(text)
    return possible.key


def refusal(text: str, **more: Any) -> tuple[str, str]:
    """Return the code and the domain of the refusal of `text`."""
    with pytest.raises(BadEmail) as caught:
        parse_email(text, **more)
    return caught.value.code.value, caught.value.domain


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that would ask a real DNS."""

    def ask(*_: object, **__: object) -> None:
        pytest.fail("DNS was asked")

    monkeypatch.setattr(dns.resolver.Resolver, "resolve", ask)
    monkeypatch.setattr(dns.resolver, "get_default_resolver", ask)


@pytest.mark.parametrize(
    ("text", "address", "key"),
    [
        ("jo@example.com", "jo@example.com", "jo@example.com"),
        (" \tJo@EXAMPLE.com\r\n", "Jo@example.com", "jo@example.com"),
        ("\u00a0jo@example.com\u3000", "jo@example.com", "jo@example.com"),
        ("Jo.Mc-Kay+tag_1@mail.example.com", "Jo.Mc-Kay+tag_1@mail.example.com", "jo.mc-kay+tag_1@mail.example.com"),
        ("=cmd|x@example.com", "=cmd|x@example.com", "=cmd|x@example.com"),
        ("o'brien@example.com", "o'brien@example.com", "o'brien@example.com"),
        ("jo@bücher.com", "jo@bücher.com", "jo@xn--bcher-kva.com"),
        ("jo@BÜCHER.com", "jo@bücher.com", "jo@xn--bcher-kva.com"),
        ("jo@xn--bcher-kva.com", "jo@bücher.com", "jo@xn--bcher-kva.com"),
        ("jo@XN--BCHER-KVA.com", "jo@bücher.com", "jo@xn--bcher-kva.com"),
        ("jo@faß.de", "jo@faß.de", "jo@xn--fa-hia.de"),
        ("jo@ｅｘａｍｐｌｅ。com", "jo@example.com", "jo@example.com"),
        ("jose\u0301@example.com", "josé@example.com", "josé@example.com"),
        ("JOSÉ@example.com", "JOSÉ@example.com", "josé@example.com"),
        ("Straße@example.com", "Straße@example.com", "strasse@example.com"),
        ("ｊｏ@example.com", "ｊｏ@example.com", "jo@example.com"),
        ("ﬁn@example.com", "ﬁn@example.com", "fin@example.com"),
        ("用户@例え.jp", "用户@例え.jp", "用户@xn--r8jz45g.jp"),
        ("a" * 64 + "@example.com", "a" * 64 + "@example.com", "a" * 64 + "@example.com"),
        ("l" * 64 + "@" + DOMAIN_189, "l" * 64 + "@" + DOMAIN_189, "l" * 64 + "@" + DOMAIN_189),
    ],
)
def test_text_and_key(text: str, address: str, key: str) -> None:
    """An email has a text to show and a key to compare."""
    assert parse_email(text) == Email(address, key)
    assert lookup_key(text) == lookup_key(address) == key


@pytest.mark.parametrize(
    "text",
    [
        "jo",
        "@example.com",
        "jo@",
        "jo@@example.com",
        "jo@example@example.com",
        "jo@example",
        "jo@mylocal",
        "jo@example.",
        "jo@.example.com",
        "jo@example..com",
        "jo@-example.com",
        "jo@exa_mple.com",
        "jo@example.123",
        "jo@127.0.0.1",
        "jo@[127.0.0.1]",
        "jo@[IPv6:::1]",
        '"jo smith"@example.com',
        '"jo"@example.com',
        "Jo <jo@example.com>",
        "jo smith@example.com",
        "jo@exam ple.com",
        "jo@example.com, al@example.com",
        ".jo@example.com",
        "jo.@example.com",
        "j..o@example.com",
        "jo@example.com\r\nBcc: al@example.com",
        "j\no@example.com",
        "j\0o@example.com",
        "jo@exam\0ple.com",
        "j\x7fo@example.com",
        "j\ud800o@example.com",
        "jo@\ud800.com",
        "jo@exam\udfffple.com",
        "j\u202eo@example.com",
        "jo@xn--a.com",
        "jo@ab--cd.com",
        "jo@" + "a" * 64 + ".com",
        "a" * 65 + "@example.com",
        "ü" * 65 + "@example.com",
    ],
)
def test_invalid_emails(text: str) -> None:
    """A text that is no public email address is refused."""
    assert refusal(text) == ("INVALID_EMAIL_FORMAT", "")


@pytest.mark.parametrize(
    "text",
    [
        "l" * 65 + "@" + DOMAIN_189,
        "ü" * 32 + "@" + "a" + DOMAIN_189,  # 223 characters, 255 bytes
        "a" * 60 + "@" + "ü." * 25 + "com",  # 139 bytes as sent, 264 with the domain in IDNA
        "a@" + "ü." * 50 + "com",  # 155 bytes as sent; its domain alone is over 253 in IDNA
        "ü" * 30 + "@" + "ü." * 25 + "com",
        "x" * 255,
        "\ud800" * 255,
    ],
)
def test_too_long(text: str) -> None:
    """More than 254 bytes are refused, as sent and in IDNA."""
    assert refusal(text) == ("EMAIL_TOO_LONG", "")
    assert possible_emails(text) == []


def test_outer_white_space() -> None:
    """White space around an email does not count."""
    assert parse_email(" " * 1000 + "jo@example.com").text == "jo@example.com"


@pytest.mark.parametrize("unit", ["a", "@", ".", "ü", "\ud800", "a@", "ü.", '"', "\\", "(", "٠"])
def test_huge_text_is_fast(unit: str) -> None:
    texts = [unit * (2_000_000 // len(unit)), "jo@" + unit * 100, unit * 60]
    start = time.thread_time()
    for text in texts:
        assert refusal(text)[0] in ("EMAIL_TOO_LONG", "INVALID_EMAIL_FORMAT")
    assert time.thread_time() - start < 0.5


@pytest.mark.parametrize("domain", sorted(RESERVED_DOMAINS))
def test_reserved_domains(domain: str) -> None:
    """Each reserved domain and its subdomains are refused, and the error names the domain."""
    assert refusal(f"jo@{domain}") == ("EMAIL_DOMAIN_RESERVED", domain)
    assert refusal(f"jo@MAIL.{domain.upper()}") == ("EMAIL_DOMAIN_RESERVED", f"mail.{domain}")
    assert lookup_key(f"Jo@{domain}") == f"jo@{domain}"


def test_reserved_list_is_the_librarys() -> None:
    assert {"arpa", "invalid", "local", "localhost", "onion", "test"} <= RESERVED_DOMAINS


@pytest.mark.parametrize(
    ("text", "domain"), [("jo@ｐｒｉｎｔｅｒ．ｌｏｃａｌ", "printer.local"), ("jo@bücher.test", "bücher.test")]
)
def test_spellings_of_reserved_domains(text: str, domain: str) -> None:
    """No spelling hides a reserved domain."""
    assert refusal(text) == ("EMAIL_DOMAIN_RESERVED", domain)


@pytest.mark.parametrize(
    ("text", "allowed", "expected"),
    [
        ("jo@printer.local", {"local"}, None),
        ("jo@local", {"local"}, None),
        ("jo@CORP.test", {"corp.test"}, None),
        ("jo@mail.corp.test", {"corp.test"}, None),
        ("jo@intranet", {"intranet"}, None),
        ("jo@notcorp.test", {"corp.test"}, "EMAIL_DOMAIN_RESERVED"),
        ("jo@test", {"corp.test"}, "EMAIL_DOMAIN_RESERVED"),
        ("jo@other.local", {"corp.test", "test"}, "EMAIL_DOMAIN_RESERVED"),
        ("jo@mylocal", {"local"}, "INVALID_EMAIL_FORMAT"),
        ("j o@printer.local", {"local"}, "INVALID_EMAIL_FORMAT"),
        ("jo@example.com", {"local"}, None),
    ],
)
def test_allowed_domains(text: str, allowed: set[str], expected: str | None) -> None:
    """A reserved domain can be allowed, with its subdomains."""
    if expected is None:
        assert parse_email(text, allow_domains=allowed).text == text.lower()
    else:
        assert refusal(text, allow_domains=allowed)[0] == expected


ascii_local = st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True)
letters = st.text(st.characters(categories=["L", "Mn", "Nd"]), min_size=1, max_size=12)


@given(ascii_local | letters, st.sampled_from(["example.com", "bücher.com", "FASS.de", "例え.jp"]))
@hypothesis_settings(deadline=None, max_examples=200)
def test_stored_text_has_the_same_key(local_part: str, domain: str) -> None:
    try:
        email = parse_email(f"{local_part}@{domain}")
    except BadEmail:
        return
    assert parse_email(email.text) == email
    assert lookup_key(email.text) == email.key


class FakeResolver:
    """A DNS with an answer for each record type: records, or an error to raise."""

    lifetime = 0.0

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, str]] = []

    def resolve(self, domain: str, kind: str) -> Any:
        """Answer as dnspython's resolver does."""
        self.asked.append((domain, kind))
        answer = self.answers.get(kind, dns.resolver.NoAnswer)
        if isinstance(answer, list):
            return answer
        raise answer


MX = SimpleNamespace(preference=10, exchange="mail.example.net.")
NULL_MX = SimpleNamespace(preference=0, exchange=".")
PUBLIC, PRIVATE = SimpleNamespace(address="9.9.9.9"), SimpleNamespace(address="10.0.0.1")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"MX": [MX]}, True),
        ({"A": [PUBLIC]}, True),
        ({"MX": [NULL_MX]}, False),
        ({"A": [PRIVATE]}, False),
        ({}, False),
        ({"MX": dns.resolver.NXDOMAIN}, False),
        ({"MX": dns.resolver.NoNameservers}, None),
        ({"MX": dns.exception.Timeout}, None),
        ({"A": dns.resolver.LifetimeTimeout}, None),
    ],
    ids=str,
)
def test_dns_refusals(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], said: bool | None) -> None:
    """DNS refuses only a domain that receives no mail according to it; None is no answer."""
    resolver = FakeResolver(answers)
    monkeypatch.setattr(dns.resolver, "get_default_resolver", lambda: resolver)
    if said is not False:
        assert parse_email("jo@bücher.com", check_deliverability=True).text == "jo@bücher.com"
    else:
        assert refusal("jo@bücher.com", check_deliverability=True) == ("EMAIL_DOMAIN_UNDELIVERABLE", "bücher.com")
    assert ask_dns("jo@bücher.com", "bücher.com") is said
    assert resolver.asked[0] == ("xn--bcher-kva.com", "MX")
    assert resolver.lifetime == DNS_SECONDS


def test_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a resolver refuses no email."""

    def missing() -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver, "get_default_resolver", missing)
    assert parse_email("jo@example.com", check_deliverability=True).text == "jo@example.com"


@pytest.mark.parametrize("text", ["jo@printer.local", "jo@example", "x" * 300])
def test_dns_is_asked_last(text: str) -> None:
    """DNS is not asked about an email that is refused anyway."""
    assert refusal(text, check_deliverability=True)[0] != "EMAIL_DOMAIN_UNDELIVERABLE"
