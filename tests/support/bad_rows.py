"""The rows that an import refuses, and what every door says of each: one table.

The doors are a CSV file and a file of JSON lines (of the command line or of a job), the batch and, where a create has
the fields, the create. All bad rows of a door can stand in one file or batch: each has an email of its own.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from users import ids
from users.bulk.rows import COLUMNS

CSV, LINES, BATCH, CREATE = "csv", "lines", "batch", "create"
FILES = (CSV, LINES)
JSON = (LINES, BATCH)
ANY = (CSV, LINES, BATCH)
ALSO_CREATE = (CSV, LINES, BATCH, CREATE)
GOOD_PASSWORD = "correct horse battery"
BCRYPT = "$2b$12$abcdefghijklmnopqrstuu5r4Nfr9nYqW8EbhQ5mGzDh4c5uCdzXK"
TAKEN = "taken@example.com"  # of a user who is there, made without TAKEN_ID
TAKEN_ID = "usr_01900000000070008000000000000002"  # of a user who is there, with another email
FIRST, FIRST_ID = "first@example.com", "usr_01900000000070008000000000000001"  # of the first row, which is good

Error = tuple[str, str, str]


@dataclass(frozen=True)
class BadRow:
    """A bad row: `cells` over those of a good one, None for a cell that is absent."""

    name: str
    cells: Mapping[str, Any]
    errors: Sequence[Error]  # field, code, message; {first} is the number of the first row
    doors: Sequence[str] = ANY
    more_cells: tuple[str, ...] = ()  # of CSV, past the header
    line: str = ""  # of JSON lines, in place of an object
    needs_limits: bool = False  # only refused to an actor who does not hold everything


def _email(name: str, email: object, code: str, words: str, doors: Sequence[str] = ALSO_CREATE) -> BadRow:
    return BadRow(name, {"email": email}, [("email", code, words)], doors)


def _hash(name: str, text: object, code: str, words: str, doors: Sequence[str] = ANY) -> BadRow:
    return BadRow(name, {"password_hash": text}, [("password_hash", f"PASSWORD_HASH_{code}", words)], doors)


def _password(name: str, text: object, code: str, words: str, doors: Sequence[str] = ALSO_CREATE) -> BadRow:
    return BadRow(name, {"password": text, "password_hash": None}, [("password", code, words)], doors)


def _one(column: str, name: str, value: object, code: str, words: str, doors: Sequence[str] = ANY) -> BadRow:
    return BadRow(name, {column: value}, [(column, code, words)], doors)


_FORMAT = "Enter an email address in the correct format, like name@example.com"
_ALONE = "Enter one email address alone, like name@example.com"
_HASHES = (
    "This is no hash that Enrol knows. It knows: argon2, bcrypt, PBKDF2 and scrypt, as Django, Werkzeug, passlib, "
    "ASP.NET Core Identity, Spring and WordPress write them"
)
_BCRYPT_SHORT = "This bcrypt hash is damaged: 59 characters instead of 60"
_ARGON2_FORM = (
    "This argon2 hash is damaged: it is not $argon2id$v=19$m=…,t=…,p=…$salt$digest, or with argon2i or argon2d"
)
_ARGON2_MOST = "The most is m=131072, m times t=700000, p=16, t times p=512"
_PBKDF2 = "This PBKDF2 hash is damaged: a part of it is missing, or has a character that does not belong there"
_SCRYPT = "This scrypt hash is damaged: a part of it is missing, or has a character that does not belong there"
_SALT_DIGEST = "c2FsdHNhbHRzYWx0c2FsdA$MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE"
_DIGEST = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
_WHEN = "Write the time like 2026-11-29T10:30:00Z"
_ID = "Write an id as Enrol makes them: usr_ and a UUIDv7 of 32 hexadecimal digits in lower case"
_ROLES = "Choose one of the roles: role_admin, role_operator, role_auditor, role_member"
_TOMORROW = datetime.now(UTC) + timedelta(days=1)


def _weak(kind: str) -> str:
    return f"{kind} is too weak to keep. Import these rows without a password and hand out password links"


def _not_text(label: str) -> str:
    return f"{label} must be text (a JSON string)"


ROWS: Sequence[BadRow] = (
    # Of the row as a whole.
    BadRow(
        "too many cells",
        {},
        [("row", "TOO_MANY_CELLS", "Row has 12 cells, the header 10")],
        (CSV,),
        more_cells=("", "x"),
    ),
    BadRow("too large", {"first_name": "x" * 65_536}, [("row", "ROW_TOO_LARGE", "Row is larger than 64 KiB")], FILES),
    BadRow(
        "not JSON",
        {},
        [("row", "INVALID_JSON", "The line is not JSON: look at column 11")],
        (LINES,),
        line='{"email": }',
    ),
    BadRow(
        "no object",
        {},
        [("row", "INVALID_JSON", 'The line must be one JSON object, like {"email": "name@example.com"}')],
        (LINES,),
        line='["jo@example.com"]',
    ),
    BadRow(
        "unknown field",
        {"phone": "1"},
        [("phone", "UNKNOWN_FIELD", f'Unknown field "phone". The fields are: {", ".join(COLUMNS)}')],
        JSON,
    ),
    BadRow(
        "misspelt field",
        {"lastname_": "x", "pasword_hash": "x"},
        [
            ("lastname_", "UNKNOWN_FIELD", 'Unknown field "lastname_". Did you mean "last_name"?'),
            ("pasword_hash", "UNKNOWN_FIELD", 'Unknown field "pasword_hash". Did you mean "password_hash"?'),
        ],
        (BATCH,),
    ),
    # Email.
    _email("no email", None, "REQUIRED_FIELD", "Enter an email address"),
    _email("empty email", " \u200b", "REQUIRED_FIELD", "Enter an email address"),
    _email("number as email", 7, "INVALID_TYPE", _not_text("Email address"), (LINES, BATCH, CREATE)),
    _email("no at", "jo.example.com", "INVALID_EMAIL_FORMAT", _FORMAT),
    _email("two emails", "jo@example.com, ada@example.com", "INVALID_EMAIL_FORMAT", _ALONE),
    _email("name and email", "Jo <jo@example.com>", "INVALID_EMAIL_FORMAT", _ALONE),
    _email(
        "two ats",
        "jo@@example.com",
        "INVALID_EMAIL_FORMAT",
        "Email address must have only one @, like name@example.com",
    ),
    _email("space", "jo x@example.com", "INVALID_EMAIL_FORMAT", "Email address must not contain spaces or line breaks"),
    _email(
        "line break",
        "jo\nx@example.com",
        "INVALID_EMAIL_FORMAT",
        "Email address must not contain spaces or line breaks",
    ),
    _email(
        "invisible",
        "jo\u200bx@example.com",
        "INVALID_EMAIL_FORMAT",
        "Email address must not contain an invisible character: U+200B (zero width space)",
    ),
    _email(
        "long local part",
        "l" * 65 + "@example.com",
        "INVALID_EMAIL_FORMAT",
        "The part before the @ must be 64 characters or fewer",
    ),
    _email(
        "stray dot",
        "jo.@example.com",
        "INVALID_EMAIL_FORMAT",
        "Email address must not have a dot at its beginning or end, beside the @, or beside another dot",
    ),
    _email("long", "jo@" + "d" * 250 + ".com", "EMAIL_TOO_LONG", "Email address must be 254 bytes or fewer"),
    _email(
        "reserved",
        "jo@corp.test",
        "EMAIL_DOMAIN_RESERVED",
        '"corp.test" is reserved and cannot receive email. Use a real domain',
    ),
    _email("taken", "Taken@Example.com", "USER_ALREADY_EXISTS", "A user with this email address already exists"),
    BadRow(
        "twice",
        {"email": "FIRST@example.com"},
        [("email", "DUPLICATE_IN_FILE", "The same email address stands in row {first}")],
    ),
    # Names.
    BadRow(
        "long names",
        {"first_name": "x" * 256, "last_name": "y" * 256},
        [
            ("first_name", "NAME_TOO_LONG", "First name must be 255 characters or fewer"),
            ("last_name", "NAME_TOO_LONG", "Last name must be 255 characters or fewer"),
        ],
        ALSO_CREATE,
    ),
    BadRow(
        "line break in a name",
        {"first_name": "Jo\nX", "last_name": "O\u202eX"},
        [
            ("first_name", "INVALID_CHARACTERS", "First name must not contain line breaks or control characters"),
            ("last_name", "INVALID_CHARACTERS", "Last name must not contain line breaks or control characters"),
        ],
        ALSO_CREATE,
    ),
    BadRow(
        "list as a name",
        {"first_name": ["Jo"]},
        [("first_name", "INVALID_TYPE", _not_text("First name"))],
        (LINES, BATCH, CREATE),
    ),
    # Passwords.
    _password("no password", None, "REQUIRED_FIELD", "Enter a password"),
    _password("short", "short", "PASSWORD_TOO_SHORT", "Password must be at least 8 characters"),
    _password("long password", "x" * 1_025, "PASSWORD_TOO_LONG", "Password must be 1,024 bytes or fewer"),
    _password(
        "tab in a password",
        "correct\thorse",
        "INVALID_CHARACTERS",
        "Password must not contain line breaks or control characters",
    ),
    _password("number as password", 12345678, "INVALID_TYPE", _not_text("Password"), (LINES, BATCH, CREATE)),
    # Hashes.
    BadRow(
        "both",
        {"password": GOOD_PASSWORD},
        [("password_hash", "CONFLICTING_FIELDS", "Give a password or a password hash, not both")],
    ),
    _one("password_hash", "number as hash", 7, "INVALID_TYPE", _not_text("Password hash"), JSON),
    _hash("plain text", "hunter2hunter2", "UNSUPPORTED", _HASHES),
    _hash("sha512-crypt", "$6$salt$digest", "UNSUPPORTED", _HASHES),
    _hash("cut bcrypt", BCRYPT[:-1], "INVALID", _BCRYPT_SHORT),
    _hash("cut {bcrypt}", "{bcrypt}" + BCRYPT[:-1], "INVALID", _BCRYPT_SHORT),
    _hash(
        "bcrypt with a star",
        BCRYPT[:-1] + "*",
        "INVALID",
        "This bcrypt hash is damaged: it has a character that no bcrypt hash has there",
    ),
    _hash("space after bcrypt", BCRYPT + " ", "INVALID", "This bcrypt hash is damaged: 61 characters instead of 60"),
    _hash("weak bcrypt", BCRYPT.replace("$12$", "$07$"), "WEAK", _weak("bcrypt of cost 7")),
    _hash(
        "costly bcrypt",
        BCRYPT.replace("$12$", "$16$"),
        "TOO_COSTLY",
        "bcrypt of cost 16 would take too long to check. The most is 14",
    ),
    _hash(
        "costly WordPress",
        "$wp" + BCRYPT.replace("$2b$12$", "$2y$15$"),
        "TOO_COSTLY",
        "bcrypt of cost 15 would take too long to check. The most is 14",
    ),
    _hash("cut argon2", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ", "INVALID", _ARGON2_FORM),
    _hash("argon2 of another version", f"$argon2id$v=16$m=65536,t=3,p=4${_SALT_DIGEST}", "INVALID", _ARGON2_FORM),
    _hash(
        "argon2 of too much memory",
        f"$argon2id$v=19$m=262144,t=3,p=4${_SALT_DIGEST}",
        "TOO_COSTLY",
        f"argon2 of m=262144,t=3,p=4 would take too long to check. {_ARGON2_MOST}",
    ),
    _hash("weak argon2", f"$argon2i$v=19$m=1024,t=2,p=1${_SALT_DIGEST}", "WEAK", _weak("argon2 of m=1024,t=2,p=1")),
    _hash("cut PBKDF2", "pbkdf2_sha256$600000$salt", "INVALID", _PBKDF2),
    _hash("PBKDF2 of few", f"pbkdf2_sha256$9999$salt${_DIGEST}", "WEAK", _weak("PBKDF2 of 9,999 iterations")),
    _hash(
        "PBKDF2 of many",
        f"pbkdf2_sha256$3000001$salt${_DIGEST}",
        "TOO_COSTLY",
        "PBKDF2 of 3,000,001 iterations of sha256 would take too long to check. The most is 3,000,000",
    ),
    _hash("cut scrypt", "scrypt:32768:8:1$salt$00", "INVALID", _SCRYPT),
    _hash(
        "impossible scrypt",
        f"$scrypt$ln=16,r=1,p=1${_SALT_DIGEST}",
        "INVALID",
        "This scrypt hash is damaged: its N is too large for its r",
    ),
    _hash("weak scrypt", f"$scrypt$ln=11,r=8,p=1${_SALT_DIGEST}", "WEAK", _weak("scrypt of N=2048,r=8,p=1")),
    _hash(
        "costly scrypt",
        f"$scrypt$ln=20,r=8,p=1${_SALT_DIGEST}",
        "TOO_COSTLY",
        "scrypt of N=1048576,r=8,p=1 would take too long to check. "
        "The most is 128 MiB, and N times r times p=1,835,008",
    ),
    _hash("phpass", "$P$B12345678abcdefghijklmnopqrstuv", "WEAK", _weak("phpass")),
    _hash("Drupal", "$S$D12345678abcdefghijklmnop", "WEAK", _weak("Drupal's SHA-512")),
    _hash("SSHA", "{SSHA}c2FsdHNhbHQ=", "WEAK", _weak("SSHA")),
    _hash("SHA", "{SHA}c2FsdHNhbHQ=", "WEAK", _weak("SHA-1")),
    _hash("Django MD5", "md5$salt$5f4dcc3b5aa765d61d8327deb882cf99", "WEAK", _weak("MD5")),
    _hash("Django SHA-1", "sha1$salt$5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8", "WEAK", _weak("SHA-1")),
    _hash("MD5", "5f4dcc3b5aa765d61d8327deb882cf99", "WEAK", _weak("MD5")),
    _hash("SHA-1", "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8", "WEAK", _weak("SHA-1")),
    # Roles.
    _one("global_role_id", "unknown role", "admin", "INVALID_ROLE", _ROLES),
    _one("global_role_id", "number as role", 1, "INVALID_TYPE", _not_text("Role"), JSON),
    BadRow(
        "role that has more",
        {"global_role_id": "role_admin"},
        [("global_role_id", "ROLE_NOT_GRANTABLE", "You cannot give role_admin: that needs {missing}")],
        needs_limits=True,
    ),
    # Booleans and times.
    _one("is_active", "yes", "yes", "INVALID_BOOLEAN", "Write true or false"),
    _one("is_active", "number as boolean", 1, "INVALID_TYPE", "Active must be true or false (a JSON boolean)", JSON),
    BadRow(
        "German times",
        {"last_verified": "29.11.2026", "created_at": "29.11.2026 10:30"},
        [("last_verified", "INVALID_TIME", _WHEN), ("created_at", "INVALID_TIME", _WHEN)],
    ),
    _one("created_at", "no such day", "2026-02-30", "INVALID_TIME", _WHEN),
    _one("created_at", "Unix time", "1764412200", "INVALID_TIME", _WHEN),
    _one("created_at", "before 1970", "1969-12-31T23:59:59Z", "INVALID_TIME", "Created at must not be before 1970"),
    _one("created_at", "number as time", 1764412200, "INVALID_TYPE", _not_text("Created at"), JSON),
    BadRow(
        "tomorrow",
        {"last_verified": _TOMORROW.isoformat(), "created_at": f"{_TOMORROW:%Y-%m-%d %H:%M}"},
        [
            ("last_verified", "TIME_IN_FUTURE", "Last verified lies in the future"),
            ("created_at", "TIME_IN_FUTURE", "Created at lies in the future"),
        ],
    ),
    # Ids, which are kept.
    _one("id", "id of a number", "42", "INVALID_ID", _ID),
    _one("id", "UUIDv4", "usr_f47ac10b58cc4372a5670e02b2c3d479", "INVALID_ID", _ID),
    _one("id", "upper case", "usr_01900000000070008000000000ABCDEF", "INVALID_ID", _ID),
    _one("id", "id of tomorrow", ids.new_id("usr", _TOMORROW), "INVALID_ID", "The time in this id lies in the future"),
    _one("id", "taken id", TAKEN_ID, "ID_ALREADY_EXISTS", "A user with this id already exists"),
    _one("id", "same id", FIRST_ID, "ID_ALREADY_EXISTS", "The same id stands in row {first}"),
    # Several at once, in the order of the columns.
    BadRow(
        "many",
        {
            "email": "jo",
            "first_name": "x" * 256,
            "password": "short",
            "global_role_id": "boss",
            "is_active": "maybe",
            "created_at": "then",
            "id": "x",
        },
        [
            ("email", "INVALID_EMAIL_FORMAT", _FORMAT),
            ("first_name", "NAME_TOO_LONG", "First name must be 255 characters or fewer"),
            ("password", "PASSWORD_TOO_SHORT", "Password must be at least 8 characters"),
            ("password_hash", "CONFLICTING_FIELDS", "Give a password or a password hash, not both"),
            ("global_role_id", "INVALID_ROLE", _ROLES),
            ("is_active", "INVALID_BOOLEAN", "Write true or false"),
            ("created_at", "INVALID_TIME", _WHEN),
            ("id", "INVALID_ID", _ID),
        ],
    ),
)


def rows_of(door: str, *, limited: bool = False) -> list[BadRow]:
    """Return the rows for this door, and for an actor who holds everything or who is `limited`."""
    return [one for one in ROWS if door in one.doors and (limited or not one.needs_limits)]


def first_row() -> dict[str, Any]:
    """Return the cells of the good row that stands before the bad ones."""
    return {"email": FIRST, "password_hash": BCRYPT, "id": FIRST_ID}


def cells_of(bad: BadRow) -> dict[str, Any]:
    """Return the cells of a bad row, with an email of its own."""
    email = "".join(c if c.isascii() and c.isalnum() else "-" for c in bad.name) + "@example.com"
    cells = {"email": email, "password_hash": BCRYPT, **bad.cells}
    return {name: value for name, value in cells.items() if value is not None}


def as_csv(bad_rows: Sequence[BadRow]) -> str:
    """Return a file with all columns: the good row is row 2, the bad ones follow."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    for cells, more in [(first_row(), ()), *((cells_of(one), one.more_cells) for one in bad_rows)]:
        writer.writerow([cells.get(name, "") for name in COLUMNS] + list(more))
    return file.getvalue()


def csv_numbers(bad_rows: Sequence[BadRow]) -> Iterator[int]:
    """Yield the number of each bad row in `as_csv`."""
    yield from range(3, 3 + len(bad_rows))


def as_lines(bad_rows: Sequence[BadRow]) -> str:
    """Return JSON lines: the good row is line 1, the bad ones follow."""
    lines = [json.dumps(first_row()), *(one.line or json.dumps(cells_of(one)) for one in bad_rows)]
    return "".join(f"{line}\n" for line in lines)


def as_batch(bad_rows: Sequence[BadRow]) -> list[dict[str, Any]]:
    """Return the users of a batch: the good row has the index 0, the bad ones follow."""
    return [first_row(), *map(cells_of, bad_rows)]


def expected(bad: BadRow, *, first: int, missing: str = "") -> list[dict[str, str]]:
    """Return the errors of the row as the API shows them. `first` is the number of the good row."""
    return [
        {"field": name, "code": code, "message": words.replace("{first}", str(first)).replace("{missing}", missing)}
        for name, code, words in bad.errors
    ]
