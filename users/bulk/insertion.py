"""The insert of good rows: many users and the audit event of each, in the caller's transaction.

A user is written as `user_creation.create_user` writes one; a test compares the two, column by column.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from users import ids
from users.actors import Actor
from users.audit.trail import Action, Outcome
from users.bulk.options import Options
from users.bulk.rows import GoodRow
from users.errors import Conflict
from users.field_errors import FieldCode, FieldError, FieldRefused, RowCode
from users.roles import Permission
from users.rules import field_checks, search_keys
from users.storage import bulk_inserts, database, driver_errors
from users.storage.models import Status, User, members
from users.storage.models.segments import segment_of

MOST_RACES = 10  # against other importers, in one batch
_KEPT_IDS = 4_017  # the number of the lock
_LOOKED_UP = 500  # in one statement
_BY_EMAIL = select(User.email_key, User.id).where(
    User.email_key.in_(bindparam("wanted", expanding=True)), User.deleted_at.is_(None)
)
_BY_ID = select(User.id).where(User.id.in_(bindparam("wanted", expanding=True)))

_EVENT_COLUMNS = (
    "id",
    "at",
    "action",
    "outcome",
    "actor_kind",
    "actor_user_id",
    "actor_key_id",
    "target_id",
    "fields",
    "address",
    "request_id",
    "client_request_id",
)


class UserRow(NamedTuple):
    """The columns of an insert."""

    id: str
    email: str
    email_key: str
    first_name: str | None
    last_name: str | None
    password_hash: str
    password_make: str | None
    is_active: bool
    last_verified: datetime | None
    global_role_id: str | None
    created_at: datetime
    updated_at: datetime
    password_change_required: bool
    segment: int
    search_email: str | None
    search_domain: str | None
    search_parents: str | None
    search_name: str | None
    search_last_name: str | None

    def __repr__(self) -> str:
        """Return no column but the id: one is the hash of a password."""
        return f"<UserRow {self.id}>"


class Fate(StrEnum):
    """What becomes of a row."""

    CREATED = "created"
    EXISTING = "existing"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Result:
    """The fate of a row. `user_id` is the user made, or the one who is there already if that may be shown."""

    fate: Fate
    user_id: str | None = None
    errors: tuple[FieldError, ...] = ()
    _row: Any = field(default=None, repr=False)

    def as_user(self) -> dict[str, Any]:
        """Return the nine members of a user that was created."""
        return members(self._row)


def look_up(
    transaction: Connection | Session, rows: Sequence[GoodRow], options: Options, *, show_user_id: bool
) -> list[Result | None]:
    """Return the fate of each row that the database says now, None for a row that it would create. Writes nothing."""
    by_email = _found(transaction, _BY_EMAIL, [row.email.key for row in rows])
    known_ids = _found(transaction, _BY_ID, [row.id for row in rows if row.id])
    return [_fate(row, by_email, known_ids, options, show_user_id=show_user_id) for row in rows]


def _found(transaction: Connection | Session, statement: Any, wanted: Sequence[str]) -> dict[str, str]:
    """Return the first column of what the statement finds to its last."""
    found = {}
    for start in range(0, len(wanted), _LOOKED_UP):
        for row in transaction.execute(statement, {"wanted": wanted[start : start + _LOOKED_UP]}):
            found[row[0]] = row[-1]
    return found


def _fate(
    row: GoodRow,
    by_email: Mapping[str, str],
    known_ids: Mapping[str, str],
    options: Options,
    *,
    show_user_id: bool,
) -> Result | None:
    user_id = by_email.get(row.email.key)
    shown = user_id if show_user_id else None
    if user_id and options.skip_existing:
        return Result(Fate.EXISTING, shown)
    errors = []
    if user_id:
        errors.append(FieldError("email", FieldCode.USER_ALREADY_EXISTS, Conflict.message))
    if row.id in known_ids:
        errors.append(FieldError("id", RowCode.ID_ALREADY_EXISTS, "A user with this id already exists"))
    return Result(Fate.REJECTED, shown, tuple(errors)) if errors else None


def insert(
    connection: Connection,
    rows: Sequence[GoodRow],
    users: Sequence[UserRow],
    *,
    options: Options,
    actor: Actor,
    request_id: str,
    now: datetime,
    show_user_id: bool,
) -> list[Result]:
    """Insert those of the rows that the database does not know, and return the fate of each.

    No two of the rows have the same email or id: see `duplicates`. `users` are what `users_of` makes of the rows.
    `actor` was reauthorized in this transaction: a row whose role it may not give is rejected.
    """
    if options.keep_ids and connection.dialect.name == "postgresql":
        # Importers take emails in one order, so they never wait in a circle. Ids of files have no such order.
        with database.session_on(connection) as session:
            database.advisory_lock(session, _KEPT_IDS)
    fates = _look_up_or_refuse(connection, rows, options, actor, show_user_id=show_user_id)
    for races in range(MOST_RACES + 1):
        new = [user for user, fate in zip(users, fates, strict=True) if fate is None]
        try:
            _insert_users(connection, new)
            break
        except IntegrityError as error:
            # Another transaction was faster. It has committed, or this insert would still wait for it.
            if races == MOST_RACES or not _is_known(error) or connection.dialect.name == "sqlite":
                raise
        fates = _look_up_or_refuse(connection, rows, options, actor, show_user_id=show_user_id)
    _insert_events(connection, new, actor, request_id, now)
    return [fate or Result(Fate.CREATED, user.id, _row=user) for user, fate in zip(users, fates, strict=True)]


def _look_up_or_refuse(
    connection: Connection, rows: Sequence[GoodRow], options: Options, actor: Actor, *, show_user_id: bool
) -> list[Result | None]:
    known = look_up(connection, rows, options, show_user_id=show_user_id)
    return [_refusal(row, actor.permissions) or fate for row, fate in zip(rows, known, strict=True)]


def _refusal(row: GoodRow, permissions: frozenset[Permission]) -> Result | None:
    """Return the fate of a row whose role the actor may not give any more."""
    if row.role is None:
        return None
    try:
        field_checks.require_grantable(row.role, permissions)
    except FieldRefused as refused:
        return Result(Fate.REJECTED, None, (FieldError("global_role_id", refused.code, refused.message),))
    return None


def users_of(rows: Sequence[GoodRow], hashes: Mapping[int, str], now: datetime) -> list[UserRow]:
    """Return the user that each row makes. `hashes` are those of the plain passwords, by the numbers of the rows.

    It needs no transaction: make them before it, so that other writers wait less.
    """
    return [_user_row(row, hashes.get(row.number), now) for row in rows]


def _user_row(row: GoodRow, made_hash: str | None, now: datetime) -> UserRow:
    """Return the columns of the user, as `User.as_row` does for one."""
    user_id = row.id or ids.new_id("usr", row.created_at)
    password_hash = made_hash or row.password_hash or ""
    status = Status.ACTIVE if row.is_active else Status.DEACTIVATED
    segment = segment_of(status, verified=row.last_verified is not None, has_password=bool(password_hash))
    keys = search_keys.keys(user_id, row.email.text, row.first_name, row.last_name)
    return UserRow(  # by place: with names it takes twice as long
        user_id,
        row.email.text,
        row.email.key,
        row.first_name,
        row.last_name,
        password_hash,
        None if made_hash else row.password_make,
        row.is_active,
        row.last_verified,
        row.role and str(row.role),
        row.created_at or now,
        now,
        False,
        segment,
        keys["search_email"],
        keys["search_domain"],
        keys["search_parents"],
        keys["search_name"],
        keys["search_last_name"],
    )


def _insert_users(connection: Connection, rows: list[UserRow]) -> None:
    if connection.dialect.name == "sqlite":
        bulk_inserts.insert(connection, "users", UserRow._fields, rows)
        return
    rows.sort(key=lambda row: row.email_key)  # see MOST_RACES: two importers then never wait in a circle
    with connection.begin_nested():
        bulk_inserts.insert(connection, "users", UserRow._fields, rows)


def _is_known(error: IntegrityError) -> bool:
    """Tell whether the error says that another user has the email or the id."""
    return driver_errors.is_violation(error, "uq_users_email_key") or driver_errors.is_violation(error, "users_pkey")


def _insert_events(
    connection: Connection, users: Sequence[UserRow], actor: Actor, request_id: str, now: datetime
) -> None:
    """Insert the audit events of the creations, as `trail.record` does for one."""
    kind, action, outcome = str(actor.kind), str(Action.USER_CREATE), str(Outcome.OK)
    events = [
        (
            ids.new_id("evt"),
            now,
            action,
            outcome,
            kind,
            actor.user_id,
            actor.key_id,
            user.id,
            _fields(bool(user.first_name), bool(user.last_name), bool(user.global_role_id), bool(user.password_hash)),
            actor.ip_address,
            request_id,
            actor.client_request_id,
        )
        for user in users
    ]
    bulk_inserts.insert(connection, "audit_events", _EVENT_COLUMNS, events)


@lru_cache(maxsize=16)
def _fields(*given: bool) -> str:
    """Return the names of the fields that were set, as JSON."""
    names = ("first_name", "last_name", "global_role_id", "password")
    return json.dumps(["email", *(name for name, is_given in zip(names, given, strict=True) if is_given)])
