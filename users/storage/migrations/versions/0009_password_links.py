"""Users without a password, whose hash is "", the end of a user's password link, and who must choose a new password."""

import sqlalchemy as sa
from alembic import op

from users.storage.columns import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Neither writes a row: code of the version before leaves both out of its inserts.
    op.add_column("users", sa.Column("password_link_ends_at", UtcDateTime, nullable=True))
    op.add_column("users", sa.Column("password_change_required", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    op.drop_column("users", "password_change_required")
    op.drop_column("users", "password_link_ends_at")
