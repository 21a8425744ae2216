"""The table of users, with the columns for the list and the search."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Computed, Integer, SmallInteger, Text, event, false, inspect
from sqlalchemy.orm import Mapped, mapped_column

from users.clock import rfc3339
from users.rules import search_keys
from users.storage.columns import Bytewise, Id, UtcDateTime
from users.storage.models.segments import Status, segment_of
from users.storage.models.tables import Model, partial_index

_UNREAD: dict[str, Any] = {"deferred": True, "deferred_raiseload": True}
_IN_SEGMENT = ("deleted_at", "is_active", "last_verified", "password_hash")
_STATUS_SQL = "CASE WHEN deleted_at IS NOT NULL THEN 0 WHEN is_active THEN 2 ELSE 1 END"


_BY_SEGMENT = {
    "ix_users_segment_id": "id",
    "ix_users_segment_email": "search_email",
    "ix_users_segment_domain": "search_domain",
    "ix_users_segment_parents": "search_parents",
    "ix_users_segment_name": "search_name",
    "ix_users_segment_last_name": "search_last_name",
}


def entity_tag(updated_at: datetime, last_login: datetime | None = None) -> str:
    """Return the entity tag of a profile, made of two times: every change of the profile moves one of them."""
    moments = (moment.astimezone(UTC).isoformat() for moment in (updated_at, last_login) if moment)
    return f'"{"/".join(moments)}"'


def members(user: Any) -> dict[str, Any]:
    """Return the nine members of `user`, a User or a row with its columns, in the contract's order."""
    return {
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "id": user.id,
        "is_active": user.is_active,
        "last_verified": user.last_verified and rfc3339(user.last_verified),
        "global_role_id": user.global_role_id,
        "created_at": rfc3339(user.created_at),
        "updated_at": rfc3339(user.updated_at),
    }


class User(Model):
    """A user. Constructed in one place only: `user_creation.create_user`."""

    __tablename__ = "users"
    __table_args__ = (
        # This alone makes emails unique, among users who are not deleted; `user_creation` reads its name.
        partial_index("uq_users_email_key", "email_key", where="deleted_at IS NULL", unique=True),
        # The few users who hold a role: administrators are found without reading all users.
        partial_index(
            "ix_users_role_segment_id", "global_role_id", "segment", "id", where="global_role_id IS NOT NULL"
        ),
        # For the list and its search: the users of one segment, by age or by a search key.
        *[partial_index(name, "segment", column, where="segment IS NOT NULL") for name, column in _BY_SEGMENT.items()],
        # Those whom a server of an older version made: `search_fill` gives them their search keys.
        partial_index("ix_users_unfilled", "id", where="search_parents IS NULL"),
        partial_index("ix_users_password_make", "password_make", "segment", where="password_make IS NOT NULL"),
    )
    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012  (SQLAlchemy's)  an insert does not read the status back

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text)
    first_name: Mapped[str | None] = mapped_column(Text)
    last_name: Mapped[str | None] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)  # "" for a user without a password
    # Of a hash that another system made: see `passwords/foreign`. None for one of our own: `_forget_make` sees to it.
    password_make: Mapped[str | None] = mapped_column(Text, **_UNREAD)
    is_active: Mapped[bool]
    last_verified: Mapped[datetime | None] = mapped_column(UtcDateTime)
    global_role_id: Mapped[str | None] = mapped_column(Text)
    last_login: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The last change after the creation, None if there was none.
    password_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    email_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # The end of the only link that may set the password, None if there is none: see `password_links`.
    password_link_ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    password_change_required: Mapped[bool] = mapped_column(server_default=false())
    # Only for indexes and orders. A trigger sets the first: see `segments`. `as_row` and `_set_search_keys` set the
    # others: see `search_keys`.
    segment: Mapped[int] = mapped_column(SmallInteger, nullable=True, **_UNREAD)
    search_email: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)
    search_domain: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)
    search_parents: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)
    search_name: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)
    search_last_name: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)
    # Servers of the version before read it; a later version can drop it.
    status: Mapped[int] = mapped_column(Integer, Computed(_STATUS_SQL, persisted=True), nullable=True, **_UNREAD)

    def __repr__(self) -> str:
        return f"<User {self.id}>"

    def as_row(self) -> dict[str, Any]:
        """Return the columns of an insert."""
        plain = {name: getattr(self, name) for name in _WRITTEN}
        # The trigger would give the same, and on SQLite double the time of the insert: it writes the row again.
        return {
            **plain,
            "segment": self.segment_now,
            **search_keys.keys(self.id, self.email, self.first_name, self.last_name),
        }

    def touch(self, now: datetime) -> None:
        """Set `updated_at` to `now`, but always later than before, also if the clock was set back."""
        self.updated_at = max(now, self.updated_at + timedelta(microseconds=1))

    @property
    def has_password(self) -> bool:
        """Tell whether the user has a password: one who was sent a link has none until they choose it."""
        return bool(self.password_hash)

    @property
    def segment_now(self) -> int:
        """Return the segment of the user as they are now, which may not be stored yet."""
        status = Status.DELETED if self.deleted_at else Status.ACTIVE if self.is_active else Status.DEACTIVATED
        return segment_of(status, verified=self.last_verified is not None, has_password=self.has_password)

    @property
    def etag(self) -> str:
        """Return the entity tag of the profile (RFC 9110, section 8.8.3)."""
        return entity_tag(self.updated_at, self.last_login)

    def as_user(self) -> dict[str, Any]:
        """Return the nine members of a user, in the contract's order."""
        return members(self)

    def as_profile(self) -> dict[str, Any]:
        """Return the user's nine members, `full_name` and `last_login`."""
        full_name = " ".join(name for name in (self.first_name, self.last_name) if name) or None
        return {
            **self.as_user(),
            "full_name": full_name,
            "last_login": self.last_login and rfc3339(self.last_login),
        }


_WRITTEN = [name for (name, one) in User.__mapper__.column_attrs.items() if not one.deferred]


@event.listens_for(User, "before_update")
def _set_search_keys(_mapper: object, _connection: object, user: User) -> None:
    """Update the search keys when a field that they are made of changes."""
    of: Any = inspect(user)
    if any(of.attrs[name].history.has_changes() for name in ("email", "first_name", "last_name")):
        for name, key in search_keys.keys(user.id, user.email, user.first_name, user.last_name).items():
            setattr(user, name, key)


@event.listens_for(User, "before_update")
def _set_segment(_mapper: object, _connection: object, user: User) -> None:
    """Update the segment with what it is made of. The trigger would, and on SQLite write the row a second time."""
    of: Any = inspect(user)
    if any(of.attrs[name].history.has_changes() for name in _IN_SEGMENT):
        user.segment = user.segment_now


@event.listens_for(User, "before_update")
def _forget_make(_mapper: object, _connection: object, user: User) -> None:
    """Every new hash is one of our own: a hash that another system made comes with a new row only."""
    of: Any = inspect(user)
    if of.attrs.password_hash.history.has_changes():
        user.password_make = None
