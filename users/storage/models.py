"""The tables, in SQLAlchemy's terms. `users/migrations` makes them; a test holds the two together."""

from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import JSON, Computed, ForeignKey, Index, Integer, LargeBinary, Text, event, inspect, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from users.clock import rfc3339
from users.rules import search_keys
from users.storage.columns import Bytewise, Id, UtcDateTime


class Base(DeclarativeBase):
    """What all models share."""


# What an act returns is complete and needs no second query: nothing expires at commit.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})

if TYPE_CHECKING:
    Model = Base
else:
    Model = db.Model


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Return an index of those rows alone for which `where` is true."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Status(IntEnum):
    """What a user is. The many are last, so that a new one comes at the end of an index."""

    DELETED = 0
    DEACTIVATED = 1
    ACTIVE = 2


_UNREAD: dict[str, Any] = {"deferred": True, "deferred_raiseload": True}
STATUS_SQL = "CASE WHEN deleted_at IS NOT NULL THEN 0 WHEN is_active THEN 2 ELSE 1 END"


def entity_tag(updated_at: datetime, last_login: datetime | None = None) -> str:
    """Return the entity tag of a profile, made of the two times of which one moves whenever the profile changes."""
    moments = (moment.astimezone(UTC).isoformat() for moment in (updated_at, last_login) if moment)
    return f'"{"/".join(moments)}"'


class User(Model):
    """A user. Constructed in one place only: `user_creation.create_user`."""

    __tablename__ = "users"
    __table_args__ = (
        # The one rule that makes emails unique, among users who are not deleted; `user_creation` reads its name.
        _partial("uq_users_email_key", "email_key", where="deleted_at IS NULL", unique=True),
        # The few who hold a role, so that an administrator is found without a walk through all users.
        _partial("ix_users_global_role_id", "global_role_id", where="global_role_id IS NOT NULL"),
        # For the list and its search: the users of one status, by age or by the beginning of a key.
        Index("ix_users_status_id", "status", "id"),
        Index("ix_users_status_email", "status", "search_email"),
        Index("ix_users_status_domain", "status", "search_domain"),
        Index("ix_users_status_name", "status", "search_name"),
        Index("ix_users_status_last_name", "status", "search_last_name"),
    )
    __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012  (SQLAlchemy's)  an insert need not ask for the status

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    email: Mapped[str] = mapped_column(Text)
    email_key: Mapped[str] = mapped_column(Text)
    first_name: Mapped[str | None] = mapped_column(Text)
    last_name: Mapped[str | None] = mapped_column(Text)
    password_hash: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool]
    last_verified: Mapped[datetime | None] = mapped_column(UtcDateTime)
    global_role_id: Mapped[str | None] = mapped_column(Text)
    last_login: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # When it was last changed after the creation, None if never.
    password_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    email_changed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # For indexes alone, never read: the database keeps the first, `as_row` and `_set_search_keys` the others.
    status: Mapped[int] = mapped_column(Integer, Computed(STATUS_SQL, persisted=True), nullable=True, **_UNREAD)
    search_email: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)
    search_domain: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)
    search_name: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)
    search_last_name: Mapped[str | None] = mapped_column(Bytewise, **_UNREAD)

    def __repr__(self) -> str:
        return f"<User {self.id}>"

    def as_row(self) -> dict[str, Any]:
        """Return what an insert writes."""
        plain = {name: getattr(self, name) for name in _WRITTEN}
        return plain | search_keys.keys(self.email, self.first_name, self.last_name)

    def touch(self, now: datetime) -> None:
        """Note a change made `now`: later than the one before it, also where the clock was set back."""
        self.updated_at = max(now, self.updated_at + timedelta(microseconds=1))

    @property
    def etag(self) -> str:
        """Return the entity tag of the profile as it is (RFC 9110, section 8.8.3)."""
        return entity_tag(self.updated_at, self.last_login)

    def as_user(self) -> dict[str, Any]:
        """Return the nine members of a user, in the contract's order (SPEC, section 1)."""
        return {
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "id": self.id,
            "is_active": self.is_active,
            "last_verified": self.last_verified and rfc3339(self.last_verified),
            "global_role_id": self.global_role_id,
            "created_at": rfc3339(self.created_at),
            "updated_at": rfc3339(self.updated_at),
        }

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
    """Keep what the user is found by in step with what it is made of, whoever changes that."""
    of: Any = inspect(user)
    if any(of.attrs[name].history.has_changes() for name in ("email", "first_name", "last_name")):
        for name, key in search_keys.keys(user.email, user.first_name, user.last_name).items():
            setattr(user, name, key)


class ApiKey(Model):
    """An API key. The key itself is shown once and not stored: `key_hash` is its SHA-256."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("uq_api_keys_key_hash", "key_hash", unique=True),
        Index("ix_api_keys_owner_id", "owner_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    prefix: Mapped[str] = mapped_column(Text)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary)
    name: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    owner_id: Mapped[str | None] = mapped_column(Id, ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deactivated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return f"<ApiKey {self.id}>"

    def has_ended(self, now: datetime) -> bool:
        """Tell whether the key itself has stopped for good: revoked, or past its time."""
        return self.deactivated_at is not None or (self.expires_at is not None and self.expires_at <= now)

    def as_key(self) -> dict[str, Any]:
        """Return the members of a key that can be shown again, in the contract's order (SPEC, section 4)."""
        return {
            "id": self.id,
            "name": self.name,
            "prefix": self.prefix,
            "scopes": self.scopes,
            "owner_id": self.owner_id,
            "created_at": rfc3339(self.created_at),
            "expires_at": self.expires_at and rfc3339(self.expires_at),
        }


class AuditEvent(Model):
    """Who did what to whom: one row for each act, written in the act's own transaction.

    It holds ids and the names of changed fields, never values, so that erasing a user erases no more here than the
    address. No foreign keys: a row outlives what it speaks of. Triggers of migration 0005 refuse every other change.
    """

    __tablename__ = "audit_events"
    # Ids sort by time: what each of these finds, it finds newest first.
    __table_args__ = (
        Index("ix_audit_events_target_id", "target_id", "id"),
        _partial("ix_audit_events_actor_user_id", "actor_user_id", "id", where="actor_user_id IS NOT NULL"),
        _partial("ix_audit_events_actor_key_id", "actor_key_id", "id", where="actor_key_id IS NOT NULL"),
        Index("ix_audit_events_action", "action", "id"),
        Index("ix_audit_events_request_id", "request_id"),
        _partial("ix_audit_events_client_request_id", "client_request_id", "id", where="client_request_id IS NOT NULL"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    action: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(Text)
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_user_id: Mapped[str | None] = mapped_column(Id)
    actor_key_id: Mapped[str | None] = mapped_column(Id)
    target_id: Mapped[str | None] = mapped_column(Id)
    fields: Mapped[list[str]] = mapped_column(JSON)
    address: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    client_request_id: Mapped[str | None] = mapped_column(Text)

    def __repr__(self) -> str:
        return f"<AuditEvent {self.id}>"

    def as_event(self) -> dict[str, Any]:
        """Return the members of an exported event: ids and names, never an email or another value."""
        return {
            "id": self.id,
            "at": rfc3339(self.at),
            "action": self.action,
            "outcome": self.outcome,
            "actor_kind": self.actor_kind,
            "actor_user_id": self.actor_user_id,
            "actor_key_id": self.actor_key_id,
            "target_id": self.target_id,
            "fields": self.fields,
            "address": self.address,
            "request_id": self.request_id,
            "client_request_id": self.client_request_id,
        }


class AdminSession(Model):
    """Somebody signed in to the pages. The cookie holds the random id, `id_hash` is its SHA-256."""

    __tablename__ = "admin_sessions"
    __table_args__ = (Index("ix_admin_sessions_user_id", "user_id"),)

    id_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return f"<AdminSession of {self.user_id}>"


class IdempotencyRecord(Model):
    """The answer to a create under an Idempotency-Key, written in the user's own transaction and kept for a day.

    The body that was sent holds a password: `fingerprint`, a keyed hash, is all that is remembered of it. No foreign
    key: every insert would lock the row of its API key.
    """

    __tablename__ = "idempotency_records"
    __table_args__ = (Index("ix_idempotency_records_created_at", "created_at"),)

    # `idempotency` reads the names of this primary key: it is what makes an attempt wait for another.
    api_key_id: Mapped[str] = mapped_column(Id, primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(Id, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return f"<IdempotencyRecord of {self.api_key_id}>"


class SetupLink(Model):
    """The one link that can create the first administrator. It holds the token, `token_hash` is its SHA-256."""

    __tablename__ = "setup_links"

    token_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return "<SetupLink>"


class KnownNetwork(Model):
    """A network from which a user has signed in at another application. `network` is a keyed hash."""

    __tablename__ = "known_networks"

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"), primary_key=True)
    network: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return f"<KnownNetwork of {self.user_id}>"


class Throttle(Model):
    """How many tries are left of what is counted under `key` (`throttles`), all of them again at `refilled_at`.

    `account` is the same in all rows that are about one account.
    """

    __tablename__ = "throttles"
    __table_args__ = (
        Index("ix_throttles_refilled_at", "refilled_at"),
        _partial("ix_throttles_account", "account", where="account IS NOT NULL"),
    )

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account: Mapped[bytes | None] = mapped_column(LargeBinary)
    tokens: Mapped[int]
    refilled_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return "<Throttle>"
