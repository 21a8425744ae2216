"""Email addresses: the syntax, the form that is stored and the key that makes them unique."""

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field

import email_validator
import idna
from dns.exception import DNSException
from email_validator import EmailNotValidError, EmailUndeliverableError, ValidatedEmail, validate_email

from users.field_errors import FieldCode
from users.rules.search_keys import folded

MAX_BYTES = 254  # RFC 5321, 4.5.3.1.3: a path of 256 with its two angle brackets; of UTF-8, and of the IDNA form
DNS_SECONDS = 3

# email-validator refuses reserved domains with a text of its own and no code. Its list is made to be changed: we
# take it over whole and decide ourselves, so that the answer can name the domain and ENROL_ALLOW_DOMAINS can allow it.
RESERVED_DOMAINS = frozenset(email_validator.SPECIAL_USE_DOMAIN_NAMES)
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_PUBLIC_DOMAIN = re.compile(r".+\.[^.]*[a-z]", re.ASCII)  # a dot, and a top level that ends with a letter

# fmt: off
_COMMON_DOMAINS = [
    "aol.com", "email.com", "gmail.com", "gmx.at", "gmx.ch", "gmx.com", "gmx.de", "gmx.net", "googlemail.com",
    "hotmail.com", "icloud.com", "live.com", "mail.com", "me.com", "msn.com", "outlook.com", "proton.me",
    "protonmail.com", "web.de", "yahoo.com", "ymail.com",
]
# fmt: on
_LIKENESS = 0.87  # gmial.com is 0.89 like gmail.com


@dataclass(frozen=True)
class Email:
    """An address that passed: `text` as stored and shown, `key` as compared."""

    text: str
    key: str = field(repr=False)  # internal: it is shown nowhere


class BadEmail(Exception):
    """The address did not pass: `code` says why; `domain` is the domain where the code is about it."""

    def __init__(self, code: FieldCode, domain: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.domain = domain


def parse_email(text: str, *, allow_domains: Collection[str] = (), check_deliverability: bool = False) -> Email:
    """Return the address in `text`, stray white space around it removed.

    `allow_domains` are domains (each with all below it) that this installation uses although they are reserved.
    Raises BadEmail with EMAIL_TOO_LONG, INVALID_EMAIL_FORMAT, EMAIL_DOMAIN_RESERVED or, if DNS is to be asked,
    EMAIL_DOMAIN_UNDELIVERABLE.
    """
    found, domain = _read(text)
    if not _in_or_under(domain, allow_domains):
        if _in_or_under(domain, RESERVED_DOMAINS):
            raise BadEmail(FieldCode.EMAIL_DOMAIN_RESERVED, found.domain)
        if not _PUBLIC_DOMAIN.fullmatch(domain):
            raise BadEmail(FieldCode.INVALID_EMAIL_FORMAT)
    if check_deliverability:
        _ask_dns(found.normalized, found.domain)
    return _email(found, domain)


def read_email(text: str) -> Email:
    """Return the address in `text`, whose domain need not be one that is allowed now.

    Raises BadEmail if it is no address.
    """
    return _email(*_read(text))


def lookup_key(text: str) -> str:
    """Return the uniqueness key of the address in `text`, as `read_email` does."""
    return read_email(text).key


def likely_meant(address: str) -> str | None:
    """Return the address that was likely meant where the domain is one slip away from a common one: gmial.com."""
    local, _, domain = address.rpartition("@")
    near = difflib.get_close_matches(domain.lower(), _COMMON_DOMAINS, n=1, cutoff=_LIKENESS)
    return f"{local}@{near[0]}" if near and domain.lower() not in _COMMON_DOMAINS else None


def _read(text: str) -> tuple[ValidatedEmail, str]:
    """Return the address in `text` and its domain in lower-case ASCII, or raise BadEmail."""
    text = text.strip()
    # By length first: the library takes a second for 2 MB. "replace" because a lone surrogate has no UTF-8.
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise BadEmail(FieldCode.EMAIL_TOO_LONG)
    try:
        text.encode("utf-8")
        found = validate_email(text, strict=True, globally_deliverable=False, check_deliverability=False)
    except (EmailNotValidError, UnicodeEncodeError):
        too_long = _is_too_long_when_encoded(text)
        raise BadEmail(FieldCode.EMAIL_TOO_LONG if too_long else FieldCode.INVALID_EMAIL_FORMAT) from None
    return found, found.ascii_domain.lower()


def _is_too_long_when_encoded(text: str) -> bool:
    """Tell whether `text`, its domain in IDNA, is too long: the library refuses that, but has no code for it."""
    local_part, _, domain = text.rpartition("@")
    try:
        labels = idna.uts46_remap(domain, std3_rules=False, transitional=False).split(".")
        encoded = b".".join(idna.alabel(label) for label in labels)
    except UnicodeError:  # idna.IDNAError is one
        return False
    return len(local_part.encode("utf-8", "replace")) + 1 + len(encoded) > MAX_BYTES


def _email(found: ValidatedEmail, ascii_domain: str) -> Email:
    return Email(text=found.normalized, key=f"{folded(found.local_part)}@{ascii_domain}")


def _in_or_under(domain: str, domains: Collection[str]) -> bool:
    labels = domain.split(".")
    return any(".".join(labels[i:]) in domains for i in range(len(labels)))


def _ask_dns(address: str, domain: str) -> None:
    """Refuse a domain that DNS says takes no mail. A DNS that does not answer refuses nobody."""
    try:
        validate_email(address, strict=True, globally_deliverable=False, timeout=DNS_SECONDS)
    except EmailUndeliverableError:
        raise BadEmail(FieldCode.EMAIL_DOMAIN_UNDELIVERABLE, domain) from None
    except DNSException:  # the library lets through that the machine has no resolver set up
        return
