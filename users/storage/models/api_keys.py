"""The table of API keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from users.clock import rfc3339
from users.storage.columns import Id, UtcDateTime
from users.storage.models.tables import Model


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

    def as_key(self) -> dict[str, Any]:
        """Return the members of a key that can be shown again, in the contract's order."""
        return {
            "id": self.id,
            "name": self.name,
            "prefix": self.prefix,
            "scopes": self.scopes,
            "owner_id": self.owner_id,
            "created_at": rfc3339(self.created_at),
            "expires_at": self.expires_at and rfc3339(self.expires_at),
        }
