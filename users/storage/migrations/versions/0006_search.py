"""The search keys and the status of users, each with an index."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError

from users.rules import search_keys
from users.storage.columns import Bytewise
from users.storage.models import STATUS_SQL

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
BATCH_SIZE = 5_000
users = sa.table("users", *map(sa.column, ("id", "email", "first_name", "last_name", *search_keys.keys("", "", ""))))


def upgrade() -> None:
    if context.is_offline_mode():
        raise CommandError("The keys of the users are computed, and not by SQL: upgrade without --sql.")
    for name in search_keys.keys("", "", ""):
        op.add_column("users", sa.Column(name, Bytewise))
    for batch in batches(op.get_bind()):
        keys = [{"of": row.id, **search_keys.keys(row.email, row.first_name, row.last_name)} for row in batch]
        op.get_bind().execute(sa.update(users).where(users.c.id == sa.bindparam("of")), keys)
    # SQLite cannot add a stored column to an existing table; a column computed at each read works in an index too.
    stored = op.get_bind().dialect.name == "postgresql"
    op.add_column("users", sa.Column("status", sa.Integer, sa.Computed(STATUS_SQL, persisted=stored)))
    for name, column in INDEXES.items():
        op.create_index(name, "users", ["status", column])


def batches(connection: sa.Connection) -> Iterator[Sequence[Any]]:
    """Yield all users in batches, so that a million users need not fit into memory."""
    wanted = [users.c[name] for name in ("id", "email", "first_name", "last_name")]
    found = sa.select(*wanted).order_by(users.c.id).limit(BATCH_SIZE)
    batch = connection.execute(found).all()
    while batch:
        yield batch
        batch = connection.execute(found.where(users.c.id > batch[-1].id)).all()


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, "users")
    for name in ("status", *search_keys.keys("", "", "")):
        op.drop_column("users", name)
