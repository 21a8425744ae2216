"""What several hosts need to know of each other: check values of their secret keys, and what requests revealed."""

import sqlalchemy as sa
from alembic import op

from users.storage.columns import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "secret_key_checks",
        sa.Column("value", sa.LargeBinary, primary_key=True),
        sa.Column("added_at", UtcDateTime, nullable=False),
    )
    op.create_table(
        "observations",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("seen_at", UtcDateTime, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("observations")
    op.drop_table("secret_key_checks")
