"""Imports, acts on many users, and the make of a password hash that another system made."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from users.storage.columns import Id, UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# A long transaction may hold the table. While this waits for it, all other statements wait behind: so not for long.
_LOCK = """
DO $$ BEGIN
    FOR attempt IN 1..500 LOOP
        BEGIN
            SET LOCAL lock_timeout = '400ms';
            LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
            SET LOCAL lock_timeout = 0;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.1);
        END;
    END LOOP;
    RAISE lock_not_available;
END $$
"""
_INDEX = "ix_users_password_make ON users (password_make, segment) WHERE password_make IS NOT NULL"


def upgrade() -> None:
    connection = op.get_bind()
    on_postgres = connection.dialect.name == "postgresql"
    if "imports" not in sa.inspect(connection).get_table_names():  # otherwise the index was interrupted
        if on_postgres:
            op.execute(_LOCK)
        op.add_column("users", sa.Column("password_make", sa.Text, nullable=True))
        _create_tables()
    if on_postgres and connection.scalar(sa.text("SELECT 1 FROM users LIMIT 1")) is not None:
        _create_beside_writers()
    else:
        op.execute(f"CREATE INDEX {_INDEX}")


def _create_beside_writers() -> None:
    """Create the index outside a transaction. The drop is for one that an interruption left broken."""
    connection = op.get_bind()
    connection.commit()
    driver: Any = connection.connection.driver_connection
    driver.autocommit = True
    drop = "DROP INDEX CONCURRENTLY IF EXISTS ix_users_password_make"
    for statement in (drop, f"CREATE INDEX CONCURRENTLY {_INDEX}"):
        connection.execute(sa.text(statement))
        connection.commit()
    driver.autocommit = False
    connection.begin()  # in which Alembic notes the version


def _job() -> list[sa.Column[Any]]:
    return [
        sa.Column("id", Id, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("actor_kind", sa.Text, nullable=False),
        sa.Column("actor_user_id", Id),
        sa.Column("actor_key_id", Id),
        sa.Column("permissions", sa.JSON, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("holder", sa.Text),
        sa.Column("machine", sa.Text),
        sa.Column("lease_until", UtcDateTime),
        _counter("crashes"),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("started_at", UtcDateTime),
        sa.Column("ended_at", UtcDateTime),
        sa.Column("expires_at", UtcDateTime),
    ]


def _counter(name: str, kind: Any = sa.Integer) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=sa.text("0"))


def _create_tables() -> None:
    op.create_table(
        "imports",
        *_job(),
        sa.Column("name", sa.Text),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("columns", sa.JSON),
        sa.Column("rows_total", sa.Integer),
        *map(_counter, ("rows_blank", "rows_done", "created", "existing", "rejected")),
        _counter("byte_offset", sa.BigInteger),
        _counter("row_number"),
        _counter("rejects_bytes", sa.BigInteger),
        sa.Column("rejects_path", sa.Text),
        sa.Column("makes", sa.JSON, nullable=False),
        _counter("passwords"),
        sa.Column("starts", sa.Text, nullable=False, server_default=sa.text("'never'")),
        sa.Column("started_by", sa.JSON),
        sa.Column("idempotency_key", Id),
        sa.Column("checked_at", UtcDateTime),
    )
    op.create_index("ix_imports_sha256", "imports", ["sha256"])
    op.execute("CREATE INDEX ix_imports_open ON imports (id) WHERE ended_at IS NULL")
    op.execute(
        "CREATE UNIQUE INDEX uq_imports_idempotency_key ON imports (actor_key_id, idempotency_key)"
        " WHERE idempotency_key IS NOT NULL"
    )
    op.create_table(
        "bulk_acts",
        *_job(),
        sa.Column("act", sa.Text, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("users_total", sa.Integer, nullable=False),
        _counter("users_done"),
        _counter("refused"),
    )
    op.execute("CREATE INDEX ix_bulk_acts_open ON bulk_acts (id) WHERE ended_at IS NULL")
    op.create_table(
        "bulk_act_users",
        sa.Column("act_id", Id, sa.ForeignKey("bulk_acts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("fate", sa.Text),
    )


def downgrade() -> None:
    for table in ("bulk_act_users", "bulk_acts", "imports"):
        op.drop_table(table)
    op.drop_index("ix_users_password_make", "users")
    op.drop_column("users", "password_make")
