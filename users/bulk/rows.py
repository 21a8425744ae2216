"""A row of an import: as it was given, and as it was judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from users.field_errors import FieldError
from users.roles import Role
from users.rules.emails import Email

# Our columns in the order of the template, of exports and of errors.
COLUMNS = (
    "email",
    "first_name",
    "last_name",
    "password",
    "password_hash",
    "global_role_id",
    "is_active",
    "last_verified",
    "created_at",
    "id",
)
ROW = "row"  # the field of an error that is the whole row's


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it was given: of a file, or of a batch. A CSV cell is a text, and absent where it is empty."""

    number: int  # as a spreadsheet counts: the header is 1; of JSON lines the line; of a batch the index
    cells: Mapping[str, object] = field(repr=False)  # by the names of our columns
    errors: tuple[FieldError, ...] = ()  # of the row as a whole, such as TOO_MANY_CELLS


@dataclass(frozen=True, slots=True)
class GoodRow:
    """A row that every rule of the file accepts. The database may still know its email or its id."""

    number: int
    email: Email
    first_name: str | None
    last_name: str | None
    role: Role | None
    is_active: bool
    last_verified: datetime | None
    created_at: datetime | None
    id: str | None  # only with Options.keep_ids
    password: str | None = field(repr=False)
    password_hash: str | None = field(repr=False)
    password_make: str | None  # of a hash that is not ours

    @property
    def keys(self) -> tuple[str, ...]:
        """Return what no two users have alike: the key of the email, and the id if it is kept."""
        return (self.email.key,) if self.id is None else (self.email.key, self.id)


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is refused, with all its errors at once."""

    number: int
    errors: tuple[FieldError, ...]
    email: str = ""  # as it was given, to find the row by
