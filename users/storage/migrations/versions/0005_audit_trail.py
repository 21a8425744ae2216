"""The audit trail: append-only, and found by whoever acted, by what was done and by request.

A trigger goes with its table: a later migration that makes `audit_events` anew must make these anew too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The one change allowed takes the address away (`user_purge`). The last trigger is for REPLACE, which takes the
# row that is in its way without a word to the others (https://sqlite.org/lang_conflict.html).
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
    # Every act writes into each of these: no more than the filters of the page need. One by time is not among
    # them, since ids sort by it, and no act by nobody stands in the first two.
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
