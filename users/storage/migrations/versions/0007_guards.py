"""Protection of passwords, the caller's request id of an event, and the pruning of old events."""

import sqlalchemy as sa
from alembic import op

from users.storage.columns import Id, UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_KEPT = [
    *("rowid", "id", "at", "action", "outcome", "actor_kind"),
    *("actor_user_id", "actor_key_id", "target_id", "fields", "request_id"),
]
_APPEND_ONLY = "BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END"
# The target of a prune event is the first id to stay. Older events may be deleted once that event exists, so each
# deletion leaves a trace.
_PRUNED = "EXISTS (SELECT 1 FROM audit_events WHERE action = 'audit.prune' AND target_id > OLD.id)"


def upgrade() -> None:
    op.add_column("users", sa.Column("password_changed_at", UtcDateTime))
    op.add_column("users", sa.Column("email_changed_at", UtcDateTime))
    op.add_column("throttles", sa.Column("account", sa.LargeBinary))
    _create_partial_index("ix_throttles_account", "throttles", "account")
    op.create_table(
        "known_networks",
        sa.Column("user_id", Id, sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("network", sa.LargeBinary, primary_key=True),
        sa.Column("last_used_at", UtcDateTime, nullable=False),
    )
    op.add_column("audit_events", sa.Column("client_request_id", sa.Text))
    _create_partial_index("ix_audit_events_client_request_id", "audit_events", "client_request_id", "id")
    _drop_triggers()
    if _on_postgres():  # its trigger on updates compares all columns, later ones too
        op.execute(
            "CREATE FUNCTION audit_events_keep_unpruned() RETURNS trigger LANGUAGE plpgsql AS $$ "
            f"BEGIN IF {_PRUNED} THEN RETURN OLD; END IF; RAISE EXCEPTION 'audit_events is append-only' "
            "USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        _keep_from_delete_on_postgres("audit_events_keep_unpruned")
    else:
        _keep_from_update_on_sqlite([*_KEPT, "client_request_id"])
        _keep_from_delete_on_sqlite(f"WHEN NOT {_PRUNED}")


def downgrade() -> None:
    _drop_triggers()
    if _on_postgres():
        op.execute("DROP FUNCTION audit_events_keep_unpruned")
        _keep_from_delete_on_postgres("audit_events_keep")
    op.drop_index("ix_audit_events_client_request_id", "audit_events")
    op.drop_column("audit_events", "client_request_id")
    if not _on_postgres():
        _keep_from_update_on_sqlite(_KEPT)
        _keep_from_delete_on_sqlite("")
    op.drop_table("known_networks")
    op.drop_index("ix_throttles_account", "throttles")
    op.drop_column("throttles", "account")
    op.drop_column("users", "email_changed_at")
    op.drop_column("users", "password_changed_at")


def _on_postgres() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _create_partial_index(name: str, table: str, *columns: str) -> None:
    there = sa.text(f"{columns[0]} IS NOT NULL")
    op.create_index(name, table, columns, sqlite_where=there, postgresql_where=there)


def _drop_triggers() -> None:
    if _on_postgres():
        op.execute("DROP TRIGGER audit_events_keep_delete ON audit_events")
        return
    for act in ("update", "delete"):
        op.execute(f"DROP TRIGGER audit_events_keep_{act}")


def _keep_from_delete_on_postgres(function: str) -> None:
    op.execute(
        "CREATE TRIGGER audit_events_keep_delete BEFORE DELETE ON audit_events FOR EACH ROW "
        f"EXECUTE FUNCTION {function}()"
    )


def _keep_from_update_on_sqlite(columns: list[str]) -> None:
    new, old = (", ".join(f"{row}.{column}" for column in columns) for row in ("NEW", "OLD"))
    op.execute(
        "CREATE TRIGGER audit_events_keep_update BEFORE UPDATE ON audit_events "
        f"WHEN NEW.address IS NOT NULL OR ({new}) IS NOT ({old}) {_APPEND_ONLY}"
    )


def _keep_from_delete_on_sqlite(condition: str) -> None:
    op.execute(f"CREATE TRIGGER audit_events_keep_delete BEFORE DELETE ON audit_events {condition} {_APPEND_ONLY}")
