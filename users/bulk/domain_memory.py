"""Memories of the domains of emails, for files in which a few domains come again and again.

To read an email takes 36 µs, nearly all of it for the domain. A plain ASCII email whose domain has passed before takes
2, and gets the same answer: a test compares both.
"""

import math
import re

from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES

from users import clock
from users.rules import emails
from users.rules.emails import Email

MOST_DOMAINS = 10_000  # 1 MB
SILENT_SECONDS = 8.0  # of waiting for DNS without any answer: of one domain, up to four questions wait 3 each
# What RFC 5321 allows without quotation marks, up to 64 characters; and any text as the domain, to be looked up.
_PLAIN = re.compile(
    r"(?=[^@]{1,64}@)([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*)@([A-Za-z0-9.-]+)", re.ASCII
)
_MAX_LENGTH = 254
_SPECIAL = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)  # RFC 2142: the library writes these in lower case


class DomainMemory:
    """The domains of emails that passed all rules of one installation."""

    def __init__(self) -> None:
        self._passed: dict[str, str] = {}  # as it was written, and in lower case

    def find(self, value: object) -> Email | None:
        """Return the email in `value` if its domain has passed before, None if the rules must look at it."""
        found = _PLAIN.fullmatch(value) if isinstance(value, str) and len(value) <= _MAX_LENGTH else None
        domain = self._passed.get(found[2]) if found else None
        if found is None or domain is None:
            return None
        local_part = found[1]
        folded = local_part.lower()
        return None if folded in _SPECIAL else Email(f"{local_part}@{domain}", f"{folded}@{domain}")

    def note(self, value: object, email: Email) -> None:
        """Remember the domain of `value`, which all rules have taken as `email`."""
        found = _PLAIN.fullmatch(value) if isinstance(value, str) else None
        # A domain in its IDNA form is written in Unicode, and may then be too long for one email and not for another.
        if found and email.text.endswith(f"@{found[2].lower()}"):
            if len(self._passed) >= MOST_DOMAINS:
                self._passed.clear()
            self._passed[found[2]] = found[2].lower()


class DnsMemory:
    """What DNS has said of domains. It is asked about each once.

    It is asked no more, so that all other domains pass, after SILENT_SECONDS of waiting without any answer in between,
    and after `most_seconds` of waiting in all.
    """

    def __init__(self, *, most_seconds: float = math.inf) -> None:
        self._said: dict[str, bool | None] = {}
        self._left = most_seconds
        self._silent = 0.0  # seconds since the last answer

    def ask(self, email: str, domain: str) -> bool | None:
        """Answer as `emails.ask_dns` does."""
        if domain in self._said:
            return self._said[domain]
        if self._left <= 0 or self._silent >= SILENT_SECONDS:
            return None
        began = clock.monotonic()
        said = emails.ask_dns(email, domain)
        waited = clock.monotonic() - began
        self._left -= waited
        self._silent = self._silent + waited if said is None else 0.0
        if len(self._said) >= MOST_DOMAINS:
            self._said.clear()
        self._said[domain] = said
        return said
