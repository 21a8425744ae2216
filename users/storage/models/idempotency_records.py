"""The table of answers that are kept under an Idempotency-Key."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from users.storage.columns import Id, UtcDateTime
from users.storage.models.tables import Model


class IdempotencyRecord(Model):
    """The answer to a create under an Idempotency-Key, written in the user's own transaction and kept for a day.

    The body of the request holds a password, so only `fingerprint`, a keyed hash of it, is stored. No foreign key:
    every insert would lock the row of its API key.
    """

    __tablename__ = "idempotency_records"
    __table_args__ = (Index("ix_idempotency_records_created_at", "created_at"),)

    # `services/idempotency` reads the names of this primary key: it makes a second attempt wait for the first.
    api_key_id: Mapped[str] = mapped_column(Id, primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(Id, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return f"<IdempotencyRecord of {self.api_key_id}>"
