"""Sessions of administrators, the set-up link, and indexes for the events of a user and for roles."""

import sqlalchemy as sa
from alembic import op

from users.storage.columns import Id, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "admin_sessions",
        sa.Column("id_hash", sa.LargeBinary, primary_key=True),
        sa.Column("user_id", Id, sa.ForeignKey("users.id"), nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("last_seen_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_admin_sessions_user_id", "admin_sessions", ["user_id"])
    op.create_table(
        "setup_links",
        sa.Column("token_hash", sa.LargeBinary, primary_key=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_audit_events_target_id", "audit_events", ["target_id", "id"])
    has_role = sa.text("global_role_id IS NOT NULL")
    op.create_index(
        "ix_users_global_role_id", "users", ["global_role_id"], sqlite_where=has_role, postgresql_where=has_role
    )


def downgrade() -> None:
    op.drop_index("ix_users_global_role_id", "users")
    op.drop_index("ix_audit_events_target_id", "audit_events")
    op.drop_table("setup_links")
    op.drop_table("admin_sessions")
