"""What is wrong with a text that is no email address, in words that say what to do."""

import re
import unicodedata
from collections.abc import Callable

from users.rules import invisible
from users.rules.emails import tidied

GENERAL = "Enter an email address in the correct format, like name@example.com"
ALONE = "Enter one email address alone, like name@example.com"
LOCAL_PART_MAX_LENGTH = 64  # RFC 5321, 4.5.3.1.1, in octets; email-validator counts characters

_QUOTED = re.compile(r'"[^"]*"@[^@]*')
_STRAY_DOT = re.compile(r"\A\.|\.(\.|@|\Z)|@\.")
_LITERAL = re.compile(r"[^@]*@\[[^@]*\]")
# An address that was copied with a name, a label, a second address or signs around it. A comma for a dot
# (jo@example,com) is none of these.
_MORE_THAN_AN_ADDRESS = re.compile(
    r"""
    \A[<(\[,;:] | [>)\],;:]\Z | [<>()] | [,;]\s        # <jo@example.com>, jo@example.com;
    | \A[\w\s-]+:                                     # mailto:jo@example.com
    | \A["'‘’“”„«»].*["'‘’“”„«»]\Z                     # “jo@example.com”
    | [^\s@]@[^\s@].*[^\s@]@[^\s@]                    # jo@example.com ada@example.com
    """,
    re.DOTALL | re.VERBOSE,
)


def describe(text: str) -> str:
    """Return what is wrong with `text`, which `emails.parse_email` refused for its format. Does not quote it."""
    text = tidied(text)
    found = invisible.name_of_first(text)
    if found:
        return f"Email address must not contain an invisible character: {found}"
    return next((words for is_at_fault, words in _FAULTS if is_at_fault(text)), GENERAL)


def _is_long_before_the_at(text: str) -> bool:
    local_part = text.rpartition("@")[0]
    return max(len(local_part), len(unicodedata.normalize("NFC", local_part))) > LOCAL_PART_MAX_LENGTH


# The first that applies is told.
_FAULTS: tuple[tuple[Callable[[str], object], str], ...] = (
    (lambda text: "@" not in text, GENERAL),
    (_QUOTED.fullmatch, "Email address must not contain quotation marks"),
    (_LITERAL.fullmatch, "Enter an email address with a domain name after the @, like name@example.com"),
    (_MORE_THAN_AN_ADDRESS.search, ALONE),
    (lambda text: text.count("@") > 1, "Email address must have only one @, like name@example.com"),
    (lambda text: any(map(str.isspace, text)), "Email address must not contain spaces or line breaks"),
    (_is_long_before_the_at, f"The part before the @ must be {LOCAL_PART_MAX_LENGTH} characters or fewer"),
    (
        _STRAY_DOT.search,
        "Email address must not have a dot at its beginning or end, beside the @, or beside another dot",
    ),
)
