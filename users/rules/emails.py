"""Email addresses: the syntax, the stored form, and the key that makes them unique."""

import contextlib
import difflib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import email_validator
import idna
from dns.exception import DNSException
from email_validator import EmailNotValidError, EmailUndeliverableError, ValidatedEmail, validate_email

from users.field_errors import FieldCode
from users.rules import invisible
from users.rules.search_keys import folded

AskDns = Callable[[str, str], bool | None]  # takes an email and its domain, answers as `ask_dns`

MAX_BYTES = 254  # of UTF-8 and of the IDNA form; RFC 5321, 4.5.3.1.3: a path of 256 with its two angle brackets
DNS_SECONDS = 3

# email-validator refuses reserved domains with a text and no code. Its list is made to be changed, so this module takes
# it over: the error can then name the domain, and ENROL_ALLOW_DOMAINS can allow it.
RESERVED_DOMAINS = frozenset(email_validator.SPECIAL_USE_DOMAIN_NAMES)
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_PUBLIC_DOMAIN = re.compile(r".+\.[^.]*[a-z]", re.ASCII)  # a dot, and a top-level domain that ends with a letter

# fmt: off
_COMMON_DOMAINS = [
    "aol.com", "email.com", "gmail.com", "gmx.at", "gmx.ch", "gmx.com", "gmx.de", "gmx.net", "googlemail.com",
    "hotmail.com", "icloud.com", "live.com", "mail.com", "me.com", "msn.com", "outlook.com", "proton.me",
    "protonmail.com", "web.de", "yahoo.com", "ymail.com",
]
# fmt: on
_SIMILARITY = 0.87  # gmial.com has 0.89 with gmail.com
# Quotation marks, primes and accents that word processors and hands put in the place of the apostrophe.
_APOSTROPHES = str.maketrans(dict.fromkeys("\u2018\u2019\u201b\u02bb\u02bc\u2032\u00b4`\uff07", "'"))


@dataclass(frozen=True)
class Email:
    """A valid email address: `text` is stored and shown, `key` is compared."""

    text: str
    key: str = field(repr=False)  # internal, never shown


class BadEmail(Exception):
    """The email address is refused: `code` gives the reason, `domain` the domain if the reason is the domain."""

    def __init__(self, code: FieldCode, domain: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.domain = domain


def tidied(text: str) -> str:
    """Return `text` without white space and invisible characters around it, and with a plain @ for ＠ and ﹫."""
    return invisible.trimmed(text).replace("\uff20", "@").replace("\ufe6b", "@")


def parse_email(
    text: str,
    *,
    allow_domains: Collection[str] = (),
    check_deliverability: bool = False,
    ask: AskDns | None = None,
) -> Email:
    """Return the email address in `text`, which is `tidied` first.

    `allow_domains` are reserved domains that this installation uses, each with its subdomains. Raises BadEmail with
    EMAIL_TOO_LONG, INVALID_EMAIL_FORMAT, EMAIL_DOMAIN_RESERVED or, with `check_deliverability`,
    EMAIL_DOMAIN_UNDELIVERABLE. `ask` asks DNS; None is `ask_dns`.
    """
    text = tidied(text)
    found, domain = _read(text)
    if invisible.name_of_first(text):
        raise BadEmail(FieldCode.INVALID_EMAIL_FORMAT)
    if not _in_or_under(domain, allow_domains):
        if _in_or_under(domain, RESERVED_DOMAINS):
            raise BadEmail(FieldCode.EMAIL_DOMAIN_RESERVED, found.domain)
        if not _PUBLIC_DOMAIN.fullmatch(domain):
            raise BadEmail(FieldCode.INVALID_EMAIL_FORMAT)
    if check_deliverability and (ask or ask_dns)(found.normalized, found.domain) is False:
        raise BadEmail(FieldCode.EMAIL_DOMAIN_UNDELIVERABLE, found.domain)
    return _email(found, domain)


def possible_emails(text: str) -> list[Email]:
    """Return the email addresses of present users that `text` may mean, whatever their domains; [] if it is none.

    They are one as a rule. Older versions kept some characters that `tidied` removes, so the text as it was sent
    comes first, then the tidied one.
    """
    found = []
    for spelling in dict.fromkeys((text.strip(), tidied(text))):
        with contextlib.suppress(BadEmail):
            found.append(_email(*_read(spelling)))
    return found


def likely_meant(email: str) -> str | None:
    """Return the email address that was probably meant: a domain like gmial.com, or a curly apostrophe (o’brien@)."""
    local, _, domain = email.rpartition("@")
    near = difflib.get_close_matches(domain.lower(), _COMMON_DOMAINS, n=1, cutoff=_SIMILARITY)
    meant = f"{local.translate(_APOSTROPHES)}@{near[0] if near and domain.lower() not in _COMMON_DOMAINS else domain}"
    return meant if meant != email else None


def _read(text: str) -> tuple[ValidatedEmail, str]:
    """Return the email address in `text` and its domain in lower-case ASCII, or raise BadEmail."""
    # By length first: the library takes 1 s for 2 MB. "replace" because a lone surrogate has no UTF-8 form.
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
    """Tell whether `text` with its domain in IDNA is too long: the library refuses it, but has no code for it."""
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


def ask_dns(email: str, _domain: str) -> bool | None:
    """Tell whether the domain of an email receives mail. None if DNS does not answer: then the domain passes."""
    try:
        found = validate_email(email, strict=True, globally_deliverable=False, timeout=DNS_SECONDS)
    except EmailUndeliverableError:
        return False
    except DNSException:  # for example, the machine has no resolver
        return None
    return hasattr(found, "mx") or None  # the library leaves it out after a timeout
