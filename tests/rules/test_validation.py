"""Validation: all errors of all fields at once, with the contract's messages, never with a value."""

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dns.resolver
import pytest

from users.errors import Conflict, Invalid
from users.field_errors import FieldCode, FieldError
from users.passwords.password_lists import DigestList, sorted_digests
from users.passwords.policy import MIN_LENGTH
from users.roles import Permission, Role
from users.rules.validation import (
    ADMIN_FIELDS,
    CHANGE_FIELDS,
    CREATE_FIELDS,
    NewUser,
    Rules,
    UserChanges,
    invitation,
    link_lifetime,
    new_key,
    new_password,
    new_user,
    user_changes,
)

PASSWORD = "correct horse battery"
GROWS = "\ufdfa"  # 3 bytes, 18 characters and 33 bytes in NFKC
SHRINKS = "e\u0301"  # 2 characters, 1 in NFKC
BASE = {"email": "jo@example.com", "password": PASSWORD}


def valid(rules: Rules | None = None, fields: tuple[str, ...] = ADMIN_FIELDS, **members: Any) -> NewUser:
    """Return the user of a good email and password with `members` over them."""
    return new_user({**BASE, **members}, rules or Rules(), fields=fields)


def errors(given: dict[str, Any], rules: Rules | None = None, fields: tuple[str, ...] = ADMIN_FIELDS) -> list[Any]:
    """Return (field, code, message) of each error in `given`."""
    with pytest.raises(Invalid) as caught:
        new_user(given, rules or Rules(), fields=fields)
    return [(one.field, one.code.value, one.message) for one in caught.value.errors]


def only_error(rules: Rules | None = None, **members: Any) -> tuple[str, str, str]:
    """Return the single error of a good email and password with `members` over them."""
    found = errors({**BASE, **members}, rules)
    assert len(found) == 1, found
    error: tuple[str, str, str] = found[0]
    return error


def test_minimal_user() -> None:
    """An email and a password are enough."""
    new = new_user(BASE, Rules())
    assert (new.email.text, new.password) == ("jo@example.com", PASSWORD)
    assert (new.first_name, new.last_name, new.global_role_id) == (None, None, None)


WORDS = [
    ("email", "REQUIRED_FIELD", None, "Enter an email address"),
    ("password", "REQUIRED_FIELD", None, "Enter a password"),
    ("email", "INVALID_TYPE", 7, "Email address must be text (a JSON string)"),
    ("first_name", "INVALID_TYPE", 7, "First name must be text (a JSON string)"),
    ("last_name", "INVALID_TYPE", 7, "Last name must be text (a JSON string)"),
    ("password", "INVALID_TYPE", 7, "Password must be text (a JSON string)"),
    ("e-mail", "UNKNOWN_FIELD", "a", 'Unknown field "e-mail". Did you mean "email"?'),
    (
        "email",
        "INVALID_EMAIL_FORMAT",
        "jo",
        "Enter an email address in the correct format, like name@example.com",
    ),
    ("email", "INVALID_EMAIL_FORMAT", "jo@example.com;", "Enter one email address alone, like name@example.com"),
    ("email", "INVALID_EMAIL_FORMAT", "a" * 65 + "@x.com", "The part before the @ must be 64 characters or fewer"),
    (
        "email",
        "INVALID_EMAIL_FORMAT",
        "j\u200bo@example.com",
        "Email address must not contain an invisible character: U+200B (zero width space)",
    ),
    (
        "email",
        "EMAIL_DOMAIN_RESERVED",
        "jo@Mail.test",
        '"mail.test" is reserved and cannot receive email. Use a real domain',
    ),
    ("email", "EMAIL_TOO_LONG", "a" * 255, "Email address must be 254 bytes or fewer"),
    ("password", "PASSWORD_TOO_SHORT", "1234567", "Password must be at least 8 characters"),
    ("password", "PASSWORD_TOO_LONG", "x" * 1025, "Password must be 1,024 bytes or fewer"),
    (
        "password",
        "PASSWORD_TOO_COMMON",
        "password1",
        "This password is on a list of common passwords. Choose a different one",
    ),
    ("first_name", "NAME_TOO_LONG", "x" * 256, "First name must be 255 characters or fewer"),
    ("last_name", "NAME_TOO_LONG", "x" * 256, "Last name must be 255 characters or fewer"),
    ("password", "INVALID_CHARACTERS", "correct\thorse", "Password must not contain line breaks or control characters"),
    ("first_name", "INVALID_CHARACTERS", "a\nb", "First name must not contain line breaks or control characters"),
    ("last_name", "INVALID_CHARACTERS", "a\nb", "Last name must not contain line breaks or control characters"),
    (
        "global_role_id",
        "INVALID_ROLE",
        "admin",
        "Choose one of the roles: role_admin, role_operator, role_auditor, role_member",
    ),
]


BAD_LIFETIMES: dict[str, list[Any]] = {
    "OUT_OF_RANGE": [299, 299.0, 0, -300, 2_592_001, 1e300, 10**40],
    "INVALID_TYPE": [None, True, False, "300", "", 300.5, [300], {}],
}


@pytest.mark.parametrize(("name", "code", "value", "message"), WORDS)
def test_messages(name: str, code: str, value: Any, message: str) -> None:
    """The messages are the contract's."""
    assert only_error(Rules(password_blocklist=True), **{name: value}) == (name, code, message)


def test_conflict_has_a_field_error() -> None:
    words = "A user with this email address already exists"
    error = {"field": "email", "code": "USER_ALREADY_EXISTS", "message": words}
    assert Conflict(user_id=None, show_user_id=False).details == {"field": "email", "errors": [error]}


def test_tables_have_every_code() -> None:
    """Each code of a field error stands in a table of this module."""
    # From DNS, the database, verify-password, and the present password.
    elsewhere = {"EMAIL_DOMAIN_UNDELIVERABLE", "USER_ALREADY_EXISTS", "INVALID_IP_ADDRESS", "PASSWORD_UNCHANGED"}
    assert {code for _, code, _, _ in WORDS} | {*BAD_LIFETIMES} | elsewhere == set(FieldCode)


@pytest.mark.parametrize("value", [1, 1.5, True, False, [], ["jo@example.com"], {}, {"a": "b"}])
@pytest.mark.parametrize("name", CREATE_FIELDS)
def test_wrong_types(name: str, value: Any) -> None:
    assert only_error(**{name: value})[:2] == (name, "INVALID_TYPE")


@pytest.mark.parametrize("absent", [None, ""])
def test_required_fields(absent: object) -> None:
    """Email and password are required, names are not."""
    found = errors(dict.fromkeys(CREATE_FIELDS, absent))
    assert [error[:2] for error in found] == [("email", "REQUIRED_FIELD"), ("password", "REQUIRED_FIELD")]
    assert errors({}) == found


def test_white_space() -> None:
    """White space is no email but may be a password."""
    assert only_error(email=" \t\n ")[1] == "REQUIRED_FIELD"
    assert valid(password=" " * 8).password == " " * 8


def test_all_errors_at_once() -> None:
    """All errors of all fields come at once, in the form's order."""
    given = {"nick": 1, "password": "short", "last_name": 5, "first_name": "a\tb", "email": "jo", "global_role_id": "x"}
    with pytest.raises(Invalid) as caught:
        new_user(given, Rules(), fields=ADMIN_FIELDS)
    invalid = caught.value
    assert [(one.field, one.code.value) for one in invalid.errors] == [
        ("email", "INVALID_EMAIL_FORMAT"),
        ("first_name", "INVALID_CHARACTERS"),
        ("last_name", "INVALID_TYPE"),
        ("password", "PASSWORD_TOO_SHORT"),
        ("global_role_id", "INVALID_ROLE"),
        ("nick", "UNKNOWN_FIELD"),
    ]
    assert (invalid.code, invalid.status, invalid.details["field"]) == ("VALIDATION_ERROR", 422, "email")
    assert invalid.details["errors"] == [one.as_dict() for one in invalid.errors]
    assert invalid.message == " ".join(f"{one.message}." for one in invalid.errors)


def test_code_of_a_single_error() -> None:
    """A single error gives the response its own code."""
    with pytest.raises(Invalid) as caught:
        valid(password="short")
    words = "Password must be at least 8 characters"
    assert (caught.value.code, caught.value.message) == ("PASSWORD_TOO_SHORT", words)
    assert caught.value.details == {
        "field": "password",
        "errors": [FieldError("password", FieldCode.PASSWORD_TOO_SHORT, words).as_dict()],
    }


@pytest.mark.parametrize(
    ("member", "advice"),
    [
        ("e-mail", 'Did you mean "email"?'),
        ("Email", 'Did you mean "email"?'),
        ("firstName", 'Did you mean "first_name"?'),
        ("passwd", 'Did you mean "password"?'),
        ("id", "The fields are: email, first_name, last_name, password"),
        ("is_active", "The fields are: email, first_name, last_name, password"),
        ("global_role_id", "The fields are: email, first_name, last_name, password"),
        ("", "The fields are: email, first_name, last_name, password"),
    ],
)
def test_unknown_member(member: str, advice: str) -> None:
    """The error for an unknown member suggests the nearest known one."""
    expected = (member, "UNKNOWN_FIELD", f'Unknown field "{member}". {advice}')
    assert errors({**BASE, member: "secret"}, fields=CREATE_FIELDS) == [expected]


def test_many_unknown_members() -> None:
    """Many and long unknown members get a short answer quickly."""
    start = time.thread_time()
    found = errors({**BASE, "x" * 60_000: 1, **{f"member {number}": 1 for number in range(5000)}})
    assert time.thread_time() - start < 0.5
    assert len(found) == 20
    assert max(len(field) for field, _, _ in found) == 65
    assert found[0][0] == "x" * 64 + "…"


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("1234567", "PASSWORD_TOO_SHORT"),
        ("😀" * 7, "PASSWORD_TOO_SHORT"),
        (SHRINKS * 7, "PASSWORD_TOO_SHORT"),  # 14 characters as sent, 7 when hashed
        (GROWS, "PASSWORD_TOO_SHORT"),  # 1 character as sent, 18 when hashed
        (GROWS * 7, "PASSWORD_TOO_SHORT"),
        ("12345678", None),
        ("😀" * 8, None),
        (SHRINKS * 8, None),
        (GROWS * 8, None),
        ("x" * 1024, None),
        ("😀" * 256, None),
        (GROWS * 31, None),  # 93 bytes as sent, 1,023 when hashed
        ("x" * 1025, "PASSWORD_TOO_LONG"),
        ("é" * 513, "PASSWORD_TOO_LONG"),
        (GROWS * 32, "PASSWORD_TOO_LONG"),  # 96 bytes as sent, 1,056 when hashed
        ("e\u0301" * 400, "PASSWORD_TOO_LONG"),  # 1,200 bytes as sent, 800 when hashed
        ("x" * 60_000, "PASSWORD_TOO_LONG"),
        ("\ud800" * 400, "PASSWORD_TOO_LONG"),
        ("1234567\0", "INVALID_CHARACTERS"),
        ("1234567\ud800", "INVALID_CHARACTERS"),
        ("\udcff1234567", "INVALID_CHARACTERS"),  # Python reads a byte that is not UTF-8 from a terminal like this
        ("\0", "INVALID_CHARACTERS"),
        ("tab\tand line", "INVALID_CHARACTERS"),
        ("Jo@example.com", None),
        ("password1", None),
    ],
    ids=range(25),
)
def test_password_length(password: str, code: str | None) -> None:
    """The length of a password counts as sent and as hashed."""
    if code is None:
        assert valid(password=password).password == password
        assert new_password(password, Rules()) == password
    else:
        assert only_error(password=password)[:2] == ("password", code)
        with pytest.raises(Invalid) as caught:
            new_password(password, Rules())
        assert caught.value.code == code


@pytest.mark.parametrize("kept", [" outer ｗｈｉｔｅ ", "Zoe\u0308's password", "\ufeffbyte order"])
def test_password_is_unchanged(kept: str) -> None:
    assert valid(password=kept).password == kept


def test_password_min_length_setting() -> None:
    """A setting raises the minimum length, and the message names it."""
    rules = Rules(password_min_length=12)
    assert only_error(rules, password="12345678901")[2] == "Password must be at least 12 characters"
    assert valid(rules, password="123456789012")
    assert Rules().password_min_length == MIN_LENGTH == 8


@pytest.mark.parametrize("common", ["password1", "PASSWORD1", "ｐａｓｓｗｏｒｄ１"])
def test_password_blocklist_setting(common: str) -> None:
    """The blocklist refuses common passwords when it is on."""
    rules = Rules(password_blocklist=True)
    assert only_error(rules, password=common)[1] == "PASSWORD_TOO_COMMON"
    with pytest.raises(Invalid):
        new_password(common, rules)
    assert valid(password=common).password == common
    assert valid(rules, password=PASSWORD).password == PASSWORD


@pytest.mark.parametrize("blocklist", [False, True])
def test_list_of_the_operator(blocklist: bool) -> None:
    """What it lists is refused whether or not the list of common passwords is on, and with words of its own."""
    rules = Rules(password_blocklist=blocklist, password_blocklist_file=DigestList(sorted_digests(["Enrol 2026"])))
    expected = "This password is on a list of passwords that are refused here. Choose a different one"
    for listed in ("Enrol 2026", "ＥＮＲＯＬ 2026"):
        assert only_error(rules, password=listed) == ("password", "PASSWORD_TOO_COMMON", expected)
        with pytest.raises(Invalid):
            new_password(listed, rules)
    assert valid(rules, password="Enrol 2027")


@pytest.mark.parametrize(
    ("minimum", "second_factor_required", "least"),
    [(8, False, 15), (14, False, 15), (20, False, 20), (8, True, 8), (12, True, 12)],
)
def test_stricter_rules(minimum: int, second_factor_required: bool, least: int) -> None:
    """For the own password of a user with a permission. All other rules stay."""
    own = DigestList(sorted_digests(["Enrol 2026"]))
    rules = Rules(minimum, password_blocklist_file=own, allow_domains=frozenset({"local"}))
    strict = rules.stricter(second_factor_required=second_factor_required)
    assert strict == replace(rules, password_min_length=least, password_blocklist=True)
    assert only_error(strict, password="¿" * (least - 1))[2] == f"Password must be at least {least} characters"
    assert new_password("¿" * least, strict)


def test_new_password_is_required() -> None:
    for given in (None, "", 12345678):
        with pytest.raises(Invalid):
            new_password(given, Rules())


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (" Ada ", "Ada"),
        ("\u00a0\tAda\r\n\u3000", "Ada"),
        ("   ", None),
        ("", None),
        (None, None),
        ("Jean-Luc O’Brien, Jr.", "Jean-Luc O’Brien, Jr."),
        ("Zoe\u0308", "Zoe\u0308"),
        ("名前", "名前"),
        ("محمد\u200f", "محمد\u200f"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("Robert'); DROP TABLE users;--", "Robert'); DROP TABLE users;--"),
        ("=cmd|x", "=cmd|x"),
        ("null", "null"),
        ("x" * 255, "x" * 255),
        ("😀" * 255, "😀" * 255),
        (" " * 500 + "x" * 255 + " " * 500, "x" * 255),
    ],
)
@pytest.mark.parametrize("name", ["first_name", "last_name"])
def test_name_is_trimmed_only(name: str, sent: Any, kept: str | None) -> None:
    """A name stays as sent, without outer white space."""
    assert getattr(valid(**{name: sent}), name) == kept


BAD_IN_NAMES = [
    *(chr(code) for code in range(0x20)),
    *"\x7f\x80\x85\x9f\u2028\u2029",  # delete, C1 controls, line and paragraph separators
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",  # bidirectional overrides
    *"\ud800\udbff\udc00\udfff",  # lone surrogates
]


@pytest.mark.parametrize("character", BAD_IN_NAMES, ids=ascii)
def test_characters_refused_in_a_name(character: str) -> None:
    """A name holds no control characters, overrides or lone surrogates."""
    assert only_error(first_name=f"A{character}da")[:2] == ("first_name", "INVALID_CHARACTERS")


@pytest.mark.parametrize("name", ["x" * 256, "😀" * 256, "e\u0301" * 128, "x" * 60_000])
def test_name_length(name: str) -> None:
    """The length of a name counts code points."""
    assert only_error(last_name=name)[:2] == ("last_name", "NAME_TOO_LONG")


@pytest.mark.parametrize("role", [*Role, None, ""])
def test_roles(role: str | None) -> None:
    assert valid(global_role_id=role).global_role_id == (role or None)


@pytest.mark.parametrize("role", ["ROLE_ADMIN", " role_admin", "role_", "x", "\ud800"])
def test_unknown_roles(role: str) -> None:
    assert only_error(global_role_id=role)[:2] == ("global_role_id", "INVALID_ROLE")


@pytest.mark.parametrize("role", [1, 0, True, False, [], {"role_admin": 1}])
def test_role_of_a_wrong_type(role: object) -> None:
    words = "Role must be text (a JSON string)"
    assert only_error(global_role_id=role) == ("global_role_id", "INVALID_TYPE", words)


def test_create_takes_no_role() -> None:
    """A create by the API takes no role."""
    assert CREATE_FIELDS == ("email", "first_name", "last_name", "password")
    found = errors({**BASE, "global_role_id": "role_admin"}, fields=CREATE_FIELDS)
    assert [error[:2] for error in found] == [("global_role_id", "UNKNOWN_FIELD")]


def test_email_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def ask() -> None:
        asked.append(True)
        raise dns.resolver.NXDOMAIN

    assert only_error(email="jo@printer.local")[1] == "EMAIL_DOMAIN_RESERVED"
    assert valid(Rules(allow_domains=frozenset({"local"})), email="jo@printer.local").email.key == "jo@printer.local"
    monkeypatch.setattr(dns.resolver, "get_default_resolver", lambda: type("Fake", (), {"resolve": lambda *_: ask()})())
    assert valid(email="jo@example.com")
    assert asked == []
    expected = ("email", "EMAIL_DOMAIN_UNDELIVERABLE", '"example.com" does not receive email. Check the spelling')
    assert only_error(Rules(check_deliverability=True), email="jo@example.com") == expected
    assert asked == [True]


def test_no_error_shows_a_value() -> None:
    """No error and no repr holds a value."""
    given = {
        "email": "Secret-1 @example.com",
        "password": "secret2",
        "first_name": "secret3\n",
        "last_name": "secret4\nx",
        "global_role_id": "secret5",
        "nick": "secret6",
    }
    with pytest.raises(Invalid) as caught:
        new_user(given, Rules(), fields=ADMIN_FIELDS)
    shown = f"{caught.value!r} {caught.value} {caught.value.message} {caught.value.details} {caught.value.errors}"
    assert "secret" not in shown.lower()
    assert PASSWORD not in repr(valid())


def test_changes() -> None:
    """Only the fields in the input change."""
    assert user_changes({}, Rules()) == UserChanges(frozenset())
    given = {"last_name": " ", "is_active": False, "global_role_id": None}
    assert user_changes(given, Rules()) == UserChanges(frozenset(given), is_active=False)
    everything = {**BASE, "first_name": " Jo ", "last_name": None, "is_active": True, "global_role_id": "role_member"}
    everything["password_change_required"] = True
    changes = user_changes(everything, Rules())
    assert changes.given == set(everything) == set(CHANGE_FIELDS)
    new = new_user({**BASE, "first_name": "Jo"}, Rules())
    assert (changes.email, changes.password, changes.first_name) == (new.email, new.password, new.first_name)
    assert (changes.last_name, changes.is_active, changes.global_role_id) == (None, True, Role.MEMBER)
    assert changes.password_change_required is True


@pytest.mark.parametrize(("field", "code", "value", "message"), WORDS)
def test_messages_for_changes(field: str, code: str, value: Any, message: str) -> None:
    """The messages for changes are those for a new user."""
    expected = (FieldError(field, FieldCode(code), message),)
    rules = Rules(password_blocklist=True)
    if code == "EMAIL_DOMAIN_RESERVED":  # the user may have had it before it was reserved
        refused = user_changes({field: value}, rules).bad_email
        assert refused
        assert refused.errors == expected
        return
    with pytest.raises(Invalid) as caught:
        user_changes({field: value}, rules)
    assert caught.value.errors == expected


@pytest.mark.parametrize("email", ["sam@corp.local", "sam@intranet", " sam@CORP.local "])
def test_domain_of_a_changed_email(email: str) -> None:
    """The act decides on the domain of a changed email, and on nothing else."""
    changes = user_changes({"email": email, "first_name": "Sam"}, Rules())
    assert changes.email
    assert changes.email.key == email.strip().lower()
    assert changes.bad_email
    assert user_changes({"email": email}, Rules(allow_domains=frozenset({"local", "intranet"}))).bad_email is None
    with pytest.raises(Invalid) as caught:
        user_changes({"email": email, "first_name": 5}, Rules())
    assert [one.field for one in caught.value.errors] == ["email", "first_name"]


def test_invitation() -> None:
    """A user without a password, by the rules of a create."""
    assert invitation({"email": "jo@example.com"}, Rules()) == (NewUser(valid().email), None)
    new, lifetime = invitation({"email": "jo@example.com", "first_name": " Jo ", "expires_in": 300.0}, Rules())
    assert (new.password, new.first_name, lifetime) == (None, "Jo", timedelta(minutes=5))
    for given in (None, PASSWORD):
        with pytest.raises(Invalid) as caught:
            invitation({"email": "jo", "expires_in": 1, "password": given}, Rules())
        found = [(one.field, one.code) for one in caught.value.errors]
        assert found == [
            ("email", FieldCode.INVALID_EMAIL_FORMAT),
            ("expires_in", FieldCode.OUT_OF_RANGE),
            ("password", FieldCode.UNKNOWN_FIELD),
        ]


def test_link_lifetime() -> None:
    """Whole seconds from 5 minutes to 30 days, however JSON writes them; one sentence says so."""
    assert link_lifetime({}) is None
    for value in (300, 300.0, 3e2, 86_400, 2_592_000, 2_592_000.0):
        assert link_lifetime({"expires_in": value}) == timedelta(seconds=value)
    words = "expires_in must be a whole number of seconds from 300 to 2,592,000 (5 minutes to 30 days)"
    for code, bad in ((code, bad) for code, values in BAD_LIFETIMES.items() for bad in values):
        for check in (link_lifetime, lambda given: invitation({"email": "jo@example.com", **given}, Rules())):
            with pytest.raises(Invalid) as caught:
                check({"expires_in": bad})
            assert caught.value.errors == (FieldError("expires_in", FieldCode(code), words),), bad
    with pytest.raises(Invalid) as caught:
        link_lifetime({"expires-in": 300})
    assert caught.value.message == 'Unknown field "expires-in". Did you mean "expires_in"?'


@pytest.mark.parametrize("name", ["n", "x" * 255, " Nightly import ", "名前"])
def test_new_key(name: str) -> None:
    new = new_key(name, frozenset({Permission.USERS_READ}))
    assert (new.name, new.scopes) == (name.strip(), frozenset({Permission.USERS_READ}))


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("", "REQUIRED_FIELD", "Enter a name"),
        ("  ", "REQUIRED_FIELD", "Enter a name"),
        (None, "REQUIRED_FIELD", "Enter a name"),
        (7, "INVALID_TYPE", "Name must be text (a JSON string)"),
        ("x" * 256, "NAME_TOO_LONG", "Name must be 255 characters or fewer"),
        ("a\nb", "INVALID_CHARACTERS", "Name must not contain line breaks or control characters"),
    ],
)
def test_name_of_a_key(name: object, code: str, message: str) -> None:
    """A key's name has the rules of a person's and is required."""
    with pytest.raises(Invalid) as caught:
        new_key(name, frozenset())
    assert caught.value.errors == (FieldError("name", FieldCode(code), message),)
