"""The inputs of a create, and what every door says of each: one table."""

import unicodedata
from dataclasses import dataclass, field
from typing import Any

import pytest
from flask import Flask

from support.databases import DATABASES
from support.people import PASSWORD, make_user

API, FORM, CLI = "api", "form", "cli"
ALL = (API, FORM, CLI)
NOT_CLI = (API, FORM)  # a command line reads a password of one line
ONLY_API = (API,)  # a command line carries text only, no NUL and no broken Unicode, and always an email argument
NO_EMAIL = ("email", "REQUIRED_FIELD", "Enter an email address")
NO_PASSWORD = ("password", "REQUIRED_FIELD", "Enter a password")
BAD_EMAIL = (
    "email",
    "INVALID_EMAIL_FORMAT",
    "Enter an email address in the correct format, like name@example.com",
)
ALONE = ("email", "INVALID_EMAIL_FORMAT", "Enter one email address alone, like name@example.com")
LONG_LOCAL_PART = ("email", "INVALID_EMAIL_FORMAT", "The part before the @ must be 64 characters or fewer")
TWO_ATS = ("email", "INVALID_EMAIL_FORMAT", "Email address must have only one @, like name@example.com")
SPACE = ("email", "INVALID_EMAIL_FORMAT", "Email address must not contain spaces or line breaks")
QUOTES = ("email", "INVALID_EMAIL_FORMAT", "Email address must not contain quotation marks")
NO_DOMAIN_NAME = (
    "email",
    "INVALID_EMAIL_FORMAT",
    "Enter an email address with a domain name after the @, like name@example.com",
)
STRAY_DOT = (
    "email",
    "INVALID_EMAIL_FORMAT",
    "Email address must not have a dot at its beginning or end, beside the @, or beside another dot",
)
LONG_EMAIL = ("email", "EMAIL_TOO_LONG", "Email address must be 254 bytes or fewer")
SHORT = ("password", "PASSWORD_TOO_SHORT", "Password must be at least 8 characters")
CONTROL = (
    "password",
    "INVALID_CHARACTERS",
    "Password must not contain line breaks or control characters",
)
LONG = ("password", "PASSWORD_TOO_LONG", "Password must be 1,024 bytes or fewer")
TAKEN = ("email", "USER_ALREADY_EXISTS", "A user with this email address already exists")


def not_text(name: str, label: str) -> tuple[str, str, str]:
    """The error for a value of another type."""
    return (name, "INVALID_TYPE", f"{label} must be text (a JSON string)")


def reserved(domain: str) -> tuple[str, str, str]:
    """The error for a domain that receives no mail."""
    words = f'"{domain}" is reserved and cannot receive email. Use a real domain'
    return ("email", "EMAIL_DOMAIN_RESERVED", words)


def invisible(named: str) -> tuple[str, str, str]:
    """The error for an email with an invisible character inside."""
    return ("email", "INVALID_EMAIL_FORMAT", f"Email address must not contain an invisible character: {named}")


def long_name(name: str, label: str) -> tuple[str, str, str]:
    """The error for a name of more than 255 characters."""
    return (name, "NAME_TOO_LONG", f"{label} must be 255 characters or fewer")


def bad_name(name: str, label: str) -> tuple[str, str, str]:
    """The error for a name with control characters."""
    return (name, "INVALID_CHARACTERS", f"{label} must not contain line breaks or control characters")


def unknown(name: str, near: str | None = None) -> tuple[str, str, str]:
    """The error for a member that a create does not have."""
    advice = f'Did you mean "{near}"?' if near else "The fields are: email, first_name, last_name, password"
    return (name, "UNKNOWN_FIELD", f'Unknown field "{name}". {advice}')


LONGEST_DOMAIN = "a" * 63 + "." + "b" * 63 + "." + "c" * 57 + ".com"  # 189, which with a local part of 64 is 254
ABSENT = object()


@dataclass(frozen=True)
class Case:
    """One input and what every door that can carry it must say of it."""

    given: dict[str, Any]
    errors: tuple[tuple[str, str, str], ...] = ()
    stored: dict[str, Any] = field(default_factory=dict)
    doors: tuple[str, ...] = ALL

    @property
    def members(self) -> dict[str, Any]:
        """The input with what it does not speak of filled in."""
        whole = {"email": "jo@example.com", "password": PASSWORD, **self.given}
        return {name: value for name, value in whole.items() if value is not ABSENT}


def email(value: Any, *errors: tuple[str, str, str], stored: str | None = None, doors: tuple[str, ...] = ALL) -> Case:
    """A case about the email alone."""
    return Case({"email": value}, errors, {} if errors else {"email": stored or value}, doors)


def password(value: Any, *errors: tuple[str, str, str], doors: tuple[str, ...] = ALL) -> Case:
    """A case about the password alone."""
    return Case({"password": value}, errors, {}, doors)


def first_name(value: Any, *errors: tuple[str, str, str], doors: tuple[str, ...] = ALL, **stored: Any) -> Case:
    """A case about a name alone."""
    return Case({"first_name": value}, errors, {} if errors else {"first_name": value, **stored}, doors)


CASES = {
    "plain": email("jo@example.com"),
    "spaces around the email": email("  jo@example.com\t", stored="jo@example.com"),
    "line break after the email": email("jo@example.com\n", stored="jo@example.com"),
    "domain in capitals": email("Jo@EXAMPLE.Com", stored="Jo@example.com"),
    "tag": email("jo+news@example.com"),
    "apostrophe": email("o'neil@example.com"),
    "formula": email("=cmd|x@example.com"),
    "international domain": email("jo@exämple.com"),
    "punycode domain": email("jo@xn--exmple-cua.com", stored="jo@exämple.com"),
    "international local part": email("jürgen@example.com"),
    "decomposed local part": email(unicodedata.normalize("NFD", "jürgen@example.com"), stored="jürgen@example.com"),
    "chinese": email("用户@例子.公司"),
    "local part of 64": email("a" * 64 + "@example.com"),
    "email of 254": email("a" * 64 + "@" + LONGEST_DOMAIN),
    "email of 255": email("a" * 65 + "@" + LONGEST_DOMAIN, LONG_EMAIL),
    "email of 255 bytes in 200 characters": email("é" * 120 + "@example.com" + "a" * 3, LONG_EMAIL),
    "email of 268 in its idna form": email("a" * 64 + "@" + "ä." * 25 + "com", LONG_EMAIL),
    "local part of 65": email("a" * 65 + "@example.com", LONG_LOCAL_PART),
    "label of 64": email("jo@" + "a" * 64 + ".com", BAD_EMAIL),
    "no email": email("", NO_EMAIL),
    "email of spaces": email("   ", NO_EMAIL),
    "email absent": email(ABSENT, NO_EMAIL, doors=ONLY_API),
    "email null": email(None, NO_EMAIL, doors=ONLY_API),
    "email a number": email(5, not_text("email", "Email address"), doors=ONLY_API),
    "email a list": email(["jo@example.com"], not_text("email", "Email address"), doors=ONLY_API),
    "email an object": email({"a": "jo@example.com"}, not_text("email", "Email address"), doors=ONLY_API),
    "email true": email(True, not_text("email", "Email address"), doors=ONLY_API),
    "no at": email("jo", BAD_EMAIL),
    "no domain": email("jo@", BAD_EMAIL),
    "no local part": email("@example.com", BAD_EMAIL),
    "no top level": email("jo@example", BAD_EMAIL),
    "numbers for a domain": email("jo@127.0.0.1", BAD_EMAIL),
    "two ats": email("jo@@example.com", TWO_ATS),
    "space inside": email("jo smith@example.com", SPACE),
    "two dots": email("jo..smith@example.com", STRAY_DOT),
    "quoted local part": email('"jo"@example.com', QUOTES),
    "display name": email("Jo <jo@example.com>", ALONE),
    "domain literal": email("jo@[127.0.0.1]", NO_DOMAIN_NAME),
    "line break inside": email("jo@example.com\nbcc:eve@example.com", ALONE),
    "semicolon after the email": email("jo@example.com;", ALONE),
    "two emails": email("jo@example.com, ada@example.com", ALONE),
    "two emails and a space": email("jo@example.com ada@example.com", ALONE),
    "comma for a dot": email("jo@example,com", BAD_EMAIL),
    "semicolon in the local part": email("jo;smith@example.com", BAD_EMAIL),
    "label": email("E-mail: jo@example.com", ALONE),
    "name after": email("jo@example.com (Jo)", ALONE),
    "link": email("mailto:jo@example.com", ALONE),
    "angle brackets": email("<jo@example.com>", ALONE),
    "quotation marks around": email("“jo@example.com”", ALONE),
    "local part of 65 in NFC": email("\u0958" * 33 + "@example.com", LONG_LOCAL_PART),  # NFC makes two of each
    "no-break space inside": email("jo\u00a0smith@example.com", SPACE),
    "dot at the end": email("jo@example.com.", STRAY_DOT),
    "dot before the @": email("jo.@example.com", STRAY_DOT),
    "byte order mark before": email("\ufeffjo@example.com", stored="jo@example.com"),
    "zero width space after": email("jo@example.com\u200b", stored="jo@example.com"),
    "marks and isolates around": email("\u200e\u2068jo@example.com\u2069 \u200f", stored="jo@example.com"),
    "fillers around": email("\u3164\u115f jo@example.com\u2800\ufe0f", stored="jo@example.com"),
    "nothing but a zero width space": email("\u200b", NO_EMAIL),
    "zero width space inside": email("jo\u200b@example.com", invisible("U+200B (zero width space)")),
    "soft hyphen in the domain": email("jo@exam\u00adple.com", invisible("U+00AD (soft hyphen)")),
    "variation selector inside": email("j\ufe0fo@example.com", invisible("U+FE0F (variation selector-16)")),
    "selector in the domain": email("jo@ex\ufe0fample.com", invisible("U+FE0F (variation selector-16)")),
    "hangul filler inside": email("j\u115fo@example.com", invisible("U+115F (hangul choseong filler)")),
    "tag inside": email("jo\U000e0001@example.com", invisible("U+E0001 (language tag)")),
    "unassigned and ignorable": email("jo\u2065@example.com", invisible("U+2065")),
    "blank braille inside": email("j\u2800o@example.com", invisible("U+2800 (braille pattern blank)")),
    "local part of a filler": email("\u3164@example.com", BAD_EMAIL),
    "full-width at": email("jo＠example.com", stored="jo@example.com"),
    "small at": email("jo﹫example.com", stored="jo@example.com"),
    "two ats, one full-width": email("jo＠smith@example.com", ALONE),
    "full-width domain": email("jo＠ｅｘａｍｐｌｅ．ｃｏｍ", stored="jo@example.com"),
    "curly apostrophe": email("o’brien@example.com"),
    "slash before": email("/lead@example.com"),
    "localhost": email("jo@localhost", reserved("localhost")),
    "under test": email("jo@corp.test", reserved("corp.test")),
    "under local, in capitals": email("jo@Printer.LOCAL", reserved("printer.local")),
    "password of 8": password("12345678"),
    "password of 7": password("1234567", SHORT),
    "password of 8 that NFKC makes 4": password("e\u0301" * 4, SHORT),
    "password of 8 emoji": password("🐎" * 8),
    "password of 8 spaces": password("        "),
    "password with outer spaces": password("  7 signs "),
    "password with a line break": password("first line\nsecond", CONTROL, doors=NOT_CLI),
    "password with a carriage return": password("correct horse\r", CONTROL, doors=NOT_CLI),
    "password with a tab": password("correct\thorse", CONTROL),
    "password with a line separator": password("correct\u2028horse", CONTROL),
    "password with a next line": password("correct horse\x85", CONTROL),
    "short password with a bell": password("\x07", CONTROL),
    "password of joined emoji": password("👩\u200d👩\u200d👧" * 2),
    "password of 1,024 bytes": password("p" * 1024),
    "password of 1,025 bytes": password("p" * 1025, LONG),
    "password of 1,026 bytes in 342 characters": password("€" * 342, LONG),
    "password that NFKC grows elevenfold": password("\ufdfa" * 40, LONG),
    "no password": password("", NO_PASSWORD),
    "password absent": password(ABSENT, NO_PASSWORD, doors=ONLY_API),
    "password null": password(None, NO_PASSWORD, doors=ONLY_API),
    "password a number": password(12345678, not_text("password", "Password"), doors=ONLY_API),
    "password a list": password(["12345678"], not_text("password", "Password"), doors=ONLY_API),
    "first name": first_name("Jo"),
    "first name absent": first_name(ABSENT, doors=ALL, first_name=None),
    "first name null": first_name(None, doors=ONLY_API),
    "first name empty": first_name("", first_name=None),
    "first name of spaces": first_name("  \t ", first_name=None),
    "first name with outer spaces": first_name(" Jo Ann ", first_name="Jo Ann"),
    "first name of a filler": first_name("\u3164", first_name=None),
    "first name of blanks": first_name("\u2800 \u2800", first_name=None),
    "first name of a zero width space": first_name("\u200b", first_name=None),
    "first name of joiners": first_name("\u034f\u115f\u200d", first_name=None),
    "first name of a family": first_name("👩\u200d👩\u200d👧"),
    "first name with a mark": first_name("محمد\u200f"),
    "first name of 255": first_name("ü" * 255),
    "first name of 256": first_name("ü" * 256, long_name("first_name", "First name")),
    "first name of markup": first_name("<b>Jo</b> & 'co'"),
    "first name in arabic": first_name("محمد"),
    "first name with a joiner": first_name("می\u200cخواهم"),
    "first name of emoji": first_name("👩\u200d🚀"),
    "first name decomposed": first_name("Zoe\u0308"),
    "first name with a line break": first_name("Jo\nAnn", bad_name("first_name", "First name")),
    "first name with a bell": first_name("Jo\x07", bad_name("first_name", "First name")),
    "first name with a line separator": first_name("Jo\u2028Ann", bad_name("first_name", "First name")),
    "first name with an override": first_name("Jo\u202eAnn", bad_name("first_name", "First name")),
    "first name with an isolate": first_name("Jo\u2066Ann", bad_name("first_name", "First name")),
    "first name a number": first_name(5, not_text("first_name", "First name"), doors=ONLY_API),
    "last name of 256": Case({"last_name": "x" * 256}, (long_name("last_name", "Last name"),)),
    "last name with a tab": Case({"last_name": "O\tNeil"}, (bad_name("last_name", "Last name"),)),
    "last name a list": Case({"last_name": []}, (not_text("last_name", "Last name"),), doors=ONLY_API),
    "misspelt member": Case({"e-mail": "jo@example.com"}, (unknown("e-mail", "email"),), doors=ONLY_API),
    "member in capitals": Case({"FirstName": "Jo"}, (unknown("FirstName", "first_name"),), doors=ONLY_API),
    "smuggled is_active": Case({"is_active": False}, (unknown("is_active"),), doors=ONLY_API),
    "smuggled role": Case({"global_role_id": "role_admin"}, (unknown("global_role_id"),), doors=ONLY_API),
    "smuggled id": Case({"id": "usr_1"}, (unknown("id"),), doors=ONLY_API),
    "everything wrong at once": Case(
        {"email": "jo", "first_name": "a\nb", "last_name": "x" * 256, "password": "short"},
        (BAD_EMAIL, bad_name("first_name", "First name"), long_name("last_name", "Last name"), SHORT),
    ),
    "everything wrong and unknown": Case(
        {"email": 1, "password": None, "pasword": "x", "last_name": True},
        (
            not_text("email", "Email address"),
            not_text("last_name", "Last name"),
            NO_PASSWORD,
            unknown("pasword", "password"),
        ),
        doors=ONLY_API,
    ),
    "taken": email("taken@example.com", TAKEN),
    "taken, in capitals": email("TAKEN@Example.COM", TAKEN),
    "taken, in full-width letters": email("ｔaken@example.com", TAKEN),
    "taken in punycode": email("taken@xn--exmple-cua.com", TAKEN),
    "taken with sharp s": email("STRASSE@example.com", TAKEN),
    "taken, but the password is wrong first": Case({"email": "taken@example.com", "password": "x"}, (SHORT,)),
}


def through(door: str) -> list[tuple[str, str]]:
    """Return the names of the cases that `door` can carry, on both databases where they have a say."""
    return [
        (database, name)
        for name, case in CASES.items()
        if door in case.doors
        for database in (DATABASES if not case.errors or "taken" in name else DATABASES[:1])
    ]


@pytest.fixture
def taken(app: Flask, name: str) -> None:
    """The users whose emails are taken, where the case speaks of them."""
    if "taken" in name:
        for email in ("taken@example.com", "taken@exämple.com", "straße@example.com"):
            make_user(app, email)
