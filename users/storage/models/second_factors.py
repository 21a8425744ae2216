"""The tables of second factors and recovery codes."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from users.storage.columns import Id, UtcDateTime
from users.storage.models.tables import Model


class SecondFactor(Model):
    """An authenticator app or a passkey of a user. It counts from `active_since` on.

    `secret` is the sealed secret of an app, or what is known of a passkey, which is public. `counter` is the last time
    step whose code was taken, or the passkey's last signature counter.
    """

    __tablename__ = "second_factors"
    __table_args__ = (Index("ix_second_factors_user_id", "user_id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    counter: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    proved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # the first right code, or the new passkey
    active_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return f"<SecondFactor {self.id}>"


class RecoveryCode(Model):
    """A code that stands for a lost factor, once. `code_hash` is its SHA-256."""

    __tablename__ = "recovery_codes"

    user_id: Mapped[str] = mapped_column(Id, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return f"<RecoveryCode of {self.user_id}>"
