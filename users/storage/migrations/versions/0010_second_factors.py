"""Second factors and recovery codes, and what a session knows of them."""

import sqlalchemy as sa
from alembic import op

from users.storage.columns import Id, UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# Servers of the version before lock the two tables in either order and for longer than a moment. While this waits for a
# lock, they wait behind it: for less than a second, then it lets go and tries again.
_LOCK = """
DO $$ BEGIN
    FOR attempt IN 1..500 LOOP
        BEGIN
            SET LOCAL lock_timeout = '400ms';
            LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE;
            LOCK TABLE admin_sessions IN ACCESS EXCLUSIVE MODE;
            SET LOCAL lock_timeout = 0;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    RAISE lock_not_available;
END $$
"""


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute(_LOCK)
    op.create_table(
        "second_factors",
        sa.Column("id", Id, primary_key=True),
        # Code of the version before erases users and does not know this table.
        sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("proved_at", UtcDateTime),
        sa.Column("active_since", UtcDateTime),
        sa.Column("last_used_at", UtcDateTime),
    )
    op.create_index("ix_second_factors_user_id", "second_factors", ["user_id"])
    op.create_table(
        "recovery_codes",
        sa.Column("user_id", Id, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("code_hash", sa.LargeBinary, primary_key=True),
        sa.Column("used_at", UtcDateTime),
    )
    # Code of the version before leaves all of these out of its inserts.
    op.add_column("admin_sessions", sa.Column("awaits_factor", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("admin_sessions", sa.Column("confirmed_at", UtcDateTime, nullable=True))
    op.add_column("admin_sessions", sa.Column("failures", sa.Integer, nullable=False, server_default=sa.text("0")))
    op.add_column("admin_sessions", sa.Column("challenge", sa.LargeBinary, nullable=True))
    op.add_column("admin_sessions", sa.Column("challenge_made_at", UtcDateTime, nullable=True))
    op.add_column("admin_sessions", sa.Column("ip_address", sa.Text, nullable=True))
    op.add_column("admin_sessions", sa.Column("browser", sa.Text, nullable=True))
    op.add_column("admin_sessions", sa.Column("known_browser", sa.Boolean, nullable=False, server_default=sa.false()))


def downgrade() -> None:
    # Code of the version before takes every session for one that is signed in.
    op.execute(sa.text("DELETE FROM admin_sessions WHERE awaits_factor"))
    for name in (
        "known_browser",
        "browser",
        "ip_address",
        "challenge_made_at",
        "challenge",
        "failures",
        "confirmed_at",
        "awaits_factor",
    ):
        op.drop_column("admin_sessions", name)
    op.drop_table("recovery_codes")
    op.drop_table("second_factors")
