"""The audit trail: append-only, with indexes for the actor, the action and the request.

A dropped table loses its triggers: a later migration that makes `audit_events` anew must make these anew too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The only change allowed removes the IP address (`user_purge`). The last trigger is for REPLACE, which deletes a
# conflicting row without firing the other triggers (https://sqlite.org/lang_conflict.html).
_SQLITE = """
CREATE TRIGGER audit_events_keep_update BEFORE UPDATE ON audit_events
WHEN NEW.address IS NOT NULL
  OR (NEW.rowid, NEW.id, NEW.at, NEW.action, NEW.outcome, NEW.actor_kind, NEW.actor_user_id, NEW.actor_key_id,
      NEW.target_id, NEW.fields, NEW.request_id)
  IS NOT
     (OLD.rowid, OLD.id, OLD.at, OLD.action, OLD.outcome, OLD.actor_kind, OLD.actor_user_id, OLD.actor_key_id,
      OLD.target_id, OLD.fields, OLD.request_id)
BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END
---
CREATE TRIGGER audit_events_keep_delete BEFORE DELETE ON audit_events
BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END
---
CREATE TRIGGER audit_events_keep_replace BEFORE INSERT ON audit_events
WHEN EXISTS (SELECT 1 FROM audit_events WHERE id = NEW.id OR rowid = NEW.rowid)
BEGIN SELECT RAISE(ABORT, 'audit_events is append-only'); END
"""
_POSTGRES = """
CREATE FUNCTION audit_events_keep() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_events is append-only' USING ERRCODE = 'integrity_constraint_violation';
END
$$
---
CREATE TRIGGER audit_events_keep_update BEFORE UPDATE ON audit_events FOR EACH ROW
WHEN (NEW.address IS NOT NULL OR to_jsonb(NEW) - 'address' IS DISTINCT FROM to_jsonb(OLD) - 'address')
EXECUTE FUNCTION audit_events_keep()
---
CREATE TRIGGER audit_events_keep_delete BEFORE DELETE ON audit_events FOR EACH ROW
EXECUTE FUNCTION audit_events_keep()
---
CREATE TRIGGER audit_events_keep_truncate BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT
EXECUTE FUNCTION audit_events_keep()
"""


def upgrade() -> None:
    # Each act writes into each of these indexes, so there are only those that the filters of the page need. None is by
    # time, since ids sort by time. The first two leave out events without an actor.
    for column in ("actor_user_id", "actor_key_id"):
        known = sa.text(f"{column} IS NOT NULL")
        op.create_index(
            f"ix_audit_events_{column}",
            "audit_events",
            [column, "id"],
            sqlite_where=known,
            postgresql_where=known,
        )
    op.create_index("ix_audit_events_action", "audit_events", ["action", "id"])
    op.create_index("ix_audit_events_request_id", "audit_events", ["request_id"])
    for statement in _triggers().split("---"):
        op.execute(statement)


def downgrade() -> None:
    for name in ("request_id", "action", "actor_key_id", "actor_user_id"):
        op.drop_index(f"ix_audit_events_{name}", "audit_events")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_events_keep CASCADE")
        return
    for act in ("update", "delete", "replace"):
        op.execute(f"DROP TRIGGER audit_events_keep_{act}")


def _triggers() -> str:
    return _POSTGRES if op.get_context().dialect.name == "postgresql" else _SQLITE
