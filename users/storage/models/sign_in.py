"""The tables of sign-in: sessions, the set-up link, known networks and throttles."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from users.storage.columns import Id, UtcDateTime
from users.storage.models.tables import Model, partial_index


class AdminSession(Model):
    """A user who is signed in to the pages. The cookie holds the random id, `id_hash` is its SHA-256."""

    __tablename__ = "admin_sessions"
    __table_args__ = (Index("ix_admin_sessions_user_id", "user_id"),)

    id_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    awaits_factor: Mapped[bool] = mapped_column(server_default=false())  # the password was right, no more
    confirmed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the last proof that it is the user
    failures: Mapped[int] = mapped_column(server_default=text("0"))  # wrong answers since the last right one
    challenge: Mapped[bytes | None] = mapped_column(LargeBinary)  # that a passkey is to sign
    challenge_made_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ip_address: Mapped[str | None] = mapped_column(Text)  # where the user signed in
    browser: Mapped[str | None] = mapped_column(Text)  # in words
    known_browser: Mapped[bool] = mapped_column(server_default=false())  # the user had signed in there before

    def __repr__(self) -> str:
        return f"<AdminSession of {self.user_id}>"


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
    """How many attempts are left for `key` (see `auth/throttles`); all are available again at `refilled_at`.

    `account` is the same in all rows about one account.
    """

    __tablename__ = "throttles"
    __table_args__ = (
        Index("ix_throttles_refilled_at", "refilled_at"),
        partial_index("ix_throttles_account", "account", where="account IS NOT NULL"),
    )

    key: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account: Mapped[bytes | None] = mapped_column(LargeBinary)
    tokens: Mapped[int]
    refilled_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return "<Throttle>"
