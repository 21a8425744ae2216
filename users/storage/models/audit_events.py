"""The table of audit events."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from users.clock import rfc3339
from users.storage.columns import Id, UtcDateTime
from users.storage.models.tables import Model, partial_index


class AuditEvent(Model):
    """Who did what to whom: one row for each act, written in the act's own transaction.

    It holds ids and the names of changed fields, never values, so erasing a user removes only the IP address here.
    No foreign keys: a row outlives its user and key. The triggers of migrations 0005 and 0007 refuse all other changes,
    and they refuse to delete rows before a prune is recorded.
    """

    __tablename__ = "audit_events"
    # Ids sort by time, so each of these finds the newest events first.
    __table_args__ = (
        Index("ix_audit_events_target_id", "target_id", "id"),
        partial_index("ix_audit_events_actor_user_id", "actor_user_id", "id", where="actor_user_id IS NOT NULL"),
        partial_index("ix_audit_events_actor_key_id", "actor_key_id", "id", where="actor_key_id IS NOT NULL"),
        Index("ix_audit_events_action", "action", "id"),
        Index("ix_audit_events_request_id", "request_id"),
        partial_index(
            "ix_audit_events_client_request_id", "client_request_id", "id", where="client_request_id IS NOT NULL"
        ),
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
