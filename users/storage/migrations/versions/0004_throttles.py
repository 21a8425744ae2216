"""The counts of wrong passwords for each account and each IP address."""

import sqlalchemy as sa
from alembic import op

from users.storage.columns import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "throttles",
        sa.Column("key", sa.LargeBinary, primary_key=True),
        sa.Column("tokens", sa.Integer, nullable=False),
        sa.Column("refilled_at", UtcDateTime, nullable=False),
    )
    op.create_index("ix_throttles_refilled_at", "throttles", ["refilled_at"])


def downgrade() -> None:
    op.drop_table("throttles")
