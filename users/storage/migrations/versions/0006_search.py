"""The search keys and the status of users, each with an index. Migration 0011 gives older users their keys."""

import sqlalchemy as sa
from alembic import op

from users.storage.columns import Bytewise

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_users_status_id": "id",
    "ix_users_status_email": "search_email",
    "ix_users_status_domain": "search_domain",
    "ix_users_status_name": "search_name",
    "ix_users_status_last_name": "search_last_name",
}
KEYS = ("search_email", "search_domain", "search_name", "search_last_name")
STATUS = "CASE WHEN deleted_at IS NOT NULL THEN 0 WHEN is_active THEN 2 ELSE 1 END"


def upgrade() -> None:
    for name in KEYS:
        op.add_column("users", sa.Column(name, Bytewise))
    # SQLite cannot add a stored column to an existing table; a column computed at each read works in an index too.
    stored = op.get_bind().dialect.name == "postgresql"
    op.add_column("users", sa.Column("status", sa.Integer, sa.Computed(STATUS, persisted=stored)))
    for name, column in INDEXES.items():
        op.create_index(name, "users", ["status", column])


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "users")
    for name in ("status", *KEYS):
        op.drop_column("users", name)
