"""How Alembic reaches the database: by the application's engine, one process at a time."""

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo

from users import logs
from users.storage import upgrade
from users.storage.models import db


def tell(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]) -> None:
    """Print on stderr which migration was made."""
    logs.say(f"Database brought to {', '.join(step.destination_revision_ids) or 'nothing'}.")


if context.is_offline_mode():  # flask db upgrade --sql
    context.configure(url=db.engine.url, target_metadata=db.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    with upgrade.exclusive_migration(db.engine) as connection:
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            render_as_batch=True,  # SQLite cannot alter most of a table in place
            on_version_apply=tell,
        )
        context.run_migrations()
