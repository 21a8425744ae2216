"""The tables of work that outlives a request: imports, and acts on many users. Each job has one lease.

A process works on a job while it holds the lease, and renews it in the transaction of each step: see `bulk/leases`.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from users.storage.columns import Id, UtcDateTime
from users.storage.models.tables import Model, partial_index


class Job:
    """What all jobs have: who asked for it, who works on it, how often that ended without a word, and when."""

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # code, message, details
    # The actor who asked for it, as audit events record it, and what that actor held then.
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_user_id: Mapped[str | None] = mapped_column(Id)
    actor_key_id: Mapped[str | None] = mapped_column(Id)
    permissions: Mapped[list[str]] = mapped_column(JSON)
    address: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    # The lease.
    holder: Mapped[str | None] = mapped_column(Text)  # a process, None while no process works on it
    machine: Mapped[str | None] = mapped_column(Text)  # where the files are
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    crashes: Mapped[int] = mapped_column(server_default=text("0"))  # since the last step that ended
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # of a job that waits for a user

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"


class Import(Job, Model):
    """A file of users on its way in. Its place in the file is committed with the users that were made up to there.

    An import of kind `terminal` is done by its command alone, which reads the file where it is: never by the runner.
    """

    __tablename__ = "imports"
    __table_args__ = (
        Index("ix_imports_sha256", "sha256"),
        partial_index("ix_imports_open", "id", where="ended_at IS NULL"),
        partial_index(
            "uq_imports_idempotency_key",
            "actor_key_id",
            "idempotency_key",
            where="idempotency_key IS NOT NULL",
            unique=True,
        ),
    )

    name: Mapped[str | None] = mapped_column(Text)  # of the file, for people
    sha256: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int] = mapped_column(BigInteger)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    columns: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    rows_total: Mapped[int | None]  # without blank rows; None until the file was read
    rows_blank: Mapped[int] = mapped_column(server_default=text("0"))
    rows_done: Mapped[int] = mapped_column(server_default=text("0"))
    created: Mapped[int] = mapped_column(server_default=text("0"))
    existing: Mapped[int] = mapped_column(server_default=text("0"))
    rejected: Mapped[int] = mapped_column(server_default=text("0"))
    byte_offset: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # where the next row begins
    row_number: Mapped[int] = mapped_column(server_default=text("0"))  # of the next row
    rejects_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))  # of the file of rejects
    rejects_path: Mapped[str | None] = mapped_column(Text)  # where the command line writes it; None: in the spool
    makes: Mapped[dict[str, int]] = mapped_column(JSON)  # how many rows have a hash of each make
    passwords: Mapped[int] = mapped_column(server_default=text("0"))  # how many rows have a plain one
    starts: Mapped[str] = mapped_column(Text, server_default=text("'never'"))  # by itself: never, clean, always
    # Who started it, where that is not who asked for it: kind, user_id, key_id, permissions.
    started_by: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    idempotency_key: Mapped[str | None] = mapped_column(Id)
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class BulkAct(Job, Model):
    """An act on many users that an administrator chose."""

    __tablename__ = "bulk_acts"
    __table_args__ = (partial_index("ix_bulk_acts_open", "id", where="ended_at IS NULL"),)

    act: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    users_total: Mapped[int]
    users_done: Mapped[int] = mapped_column(server_default=text("0"))
    refused: Mapped[int] = mapped_column(server_default=text("0"))


class BulkActUser(Model):
    """One user of an act on many, and what became of them. The row is gone a week after the act."""

    __tablename__ = "bulk_act_users"

    act_id: Mapped[str] = mapped_column(Id, ForeignKey("bulk_acts.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    fate: Mapped[str | None] = mapped_column(Text)  # None: not yet; "done", "unchanged", or the code of a refusal

    def __repr__(self) -> str:
        return f"<BulkActUser {self.act_id} {self.position}>"
