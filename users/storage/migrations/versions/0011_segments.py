"""The segments of users, with the indexes of the list and its search, and the counts of days that have ended.

Servers of the version before go on meanwhile: each step is a transaction of its own and holds no lock for long. A step
that was made before an interruption is left out the next time.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError

from users.storage.columns import Bytewise
from users.storage.deadlines import at_most
from users.storage.lists import search_fill

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SEGMENT = (
    "4 * CASE WHEN NEW.deleted_at IS NOT NULL THEN 0 WHEN NEW.is_active THEN 2 ELSE 1 END"
    " + CASE WHEN NEW.last_verified IS NULL THEN 2 ELSE 0 END"
    " + CASE WHEN NEW.password_hash = '' THEN 0 ELSE 1 END"
)
INDEXES = {
    "ix_users_segment_id": "(segment, id) WHERE segment IS NOT NULL",
    "ix_users_segment_email": "(segment, search_email) WHERE segment IS NOT NULL",
    "ix_users_segment_domain": "(segment, search_domain) WHERE segment IS NOT NULL",
    "ix_users_segment_parents": "(segment, search_parents) WHERE segment IS NOT NULL",
    "ix_users_segment_name": "(segment, search_name) WHERE segment IS NOT NULL",
    "ix_users_segment_last_name": "(segment, search_last_name) WHERE segment IS NOT NULL",
    "ix_users_role_segment_id": "(global_role_id, segment, id) WHERE global_role_id IS NOT NULL",
}
UNFILLED = ("ix_users_unfilled", "(id) WHERE search_parents IS NULL")
REPLACED = {
    "ix_users_status_id": "(status, id)",
    "ix_users_status_email": "(status, search_email)",
    "ix_users_status_domain": "(status, search_domain)",
    "ix_users_status_name": "(status, search_name)",
    "ix_users_status_last_name": "(status, search_last_name)",
    "ix_users_global_role_id": "(global_role_id) WHERE global_role_id IS NOT NULL",
}
FILLED_AT_ONCE = {"sqlite": 150, "postgresql": 500}
LONGEST_WAIT_SECONDS = 60  # for SQLite's write lock
# A long transaction may hold the table. While this waits for it, all other statements wait behind: so not for long.
LOCK = """
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


def upgrade() -> None:
    if context.is_offline_mode():
        raise CommandError("The keys of the users are computed, and not by SQL: upgrade without --sql.")
    connection = op.get_bind()
    is_begun = "segment" in {column["name"] for column in sa.inspect(connection).get_columns("users")}
    if not is_begun and connection.scalar(sa.text("SELECT 1 FROM users LIMIT 1")) is None:
        _make_whole()
        return
    _commit()
    if not is_begun:
        with _step():
            _add()
    # While they are empty: of SQLite's million users, an index takes seconds to make, and locks the file. Postgres
    # makes them beside writers, and faster when the rows are there.
    first, second = (_create_indexes, _fill) if connection.dialect.name == "sqlite" else (_fill, _create_indexes)
    first()
    second()
    _create_index(*UNFILLED)
    _fill()  # those whom older servers made meanwhile
    for name in REPLACED:
        _drop_index(name)
    if connection.dialect.name == "postgresql":  # its planner knows nothing of the new columns yet
        connection.execute(sa.text("ANALYZE users"))
        _commit()
    _begin()  # in which Alembic notes the version


def _make_whole() -> None:
    """Make everything in the transaction of Alembic, where there are no users: beside another first command."""
    _add()
    for name, index in (*INDEXES.items(), UNFILLED):
        op.execute(f"CREATE INDEX {name} ON users {index}")
    for name in REPLACED:
        op.execute(f"DROP INDEX {name}")


@contextlib.contextmanager
def _step(lock: str = "IMMEDIATE") -> Iterator[sa.Connection]:
    """Yield the connection in a transaction of its own, and then leave SQLite's write lock to others for a while."""
    _begin(lock)
    start = time.monotonic()
    yield op.get_bind()
    _commit()
    if lock == "IMMEDIATE":
        time.sleep((time.monotonic() - start) / 2)


def _begin(lock: str = "IMMEDIATE") -> None:
    connection = op.get_bind().execution_options(sqlite_begin=lock, sqlite_wait=True)
    with at_most(LONGEST_WAIT_SECONDS):
        connection.begin()


def _commit() -> None:
    op.get_bind().commit()


def _add() -> None:
    on_postgres = op.get_context().dialect.name == "postgresql"
    if on_postgres:
        op.execute(LOCK)
    # Not computed by the database: to add a stored column would write all rows under a lock.
    op.add_column("users", sa.Column("segment", sa.SmallInteger, nullable=True))
    op.add_column("users", sa.Column("search_parents", Bytewise, nullable=True))
    for statement in _POSTGRES_TRIGGER if on_postgres else _SQLITE_TRIGGERS:
        op.execute(statement)
    op.create_table(
        "daily_counts",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("users_created", sa.Integer, nullable=False),
        sa.Column("sign_ins", sa.Integer, nullable=True),
        sa.Column("refusals", sa.Integer, nullable=True),
    )


_POSTGRES_TRIGGER = (
    f"""
CREATE FUNCTION enrol_set_segment() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    NEW.segment := {SEGMENT};
    RETURN NEW;
END $$
""",
    f"""
CREATE TRIGGER users_set_segment BEFORE INSERT OR UPDATE ON users
FOR EACH ROW WHEN (NEW.segment IS DISTINCT FROM {SEGMENT}) EXECUTE FUNCTION enrol_set_segment()
""",
)
_SQLITE_TRIGGERS = tuple(
    f"""
CREATE TRIGGER users_set_segment_{when.lower()} AFTER {when} ON users WHEN NEW.segment IS NOT {SEGMENT} BEGIN
    UPDATE users SET segment = {SEGMENT} WHERE id = NEW.id;
END
"""  # noqa: S608  (no value from outside)
    for when in ("INSERT", "UPDATE")
)


def _create_indexes() -> None:
    for name, index in INDEXES.items():
        _create_index(name, index)


def _create_index(name: str, index: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        with _step() as connection:
            connection.execute(sa.text(f"CREATE INDEX IF NOT EXISTS {name} ON users {index}"))
        return
    with _step() as connection:
        broken = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"
        is_broken = connection.scalar(sa.text(broken), {"name": name})
    if is_broken:  # by an interruption
        _drop_index(name)
    _outside_transactions(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON users {index}")


def _drop_index(name: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        with _step() as connection:
            connection.execute(sa.text(f"DROP INDEX IF EXISTS {name}"))
        return
    _outside_transactions(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def _outside_transactions(statement: str) -> None:
    """Run a statement that Postgres refuses inside a transaction, on the same connection."""
    connection = op.get_bind()
    driver: Any = connection.connection.driver_connection
    driver.autocommit = True
    connection.execute(sa.text(statement))
    connection.commit()
    driver.autocommit = False


def _fill() -> None:
    while first := _first_unfilled():  # again, for rows that others had locked
        after: str | None = first[:-1]
        while after is not None:
            with _step() as connection:
                some = FILLED_AT_ONCE[connection.dialect.name]
                after = search_fill.fill_some(connection, after=after, some=some)
            _checkpoint()


def _checkpoint() -> None:
    """Let SQLite's write-ahead log begin anew: while others write, it would grow by 14 kB a user."""
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        with _step("") as connection:
            for _ in range(3):  # what others write meanwhile is left by the first, and little
                connection.exec_driver_sql("PRAGMA wal_checkpoint")


def _first_unfilled() -> str | None:
    """Return the first id; to find it may need a look at all rows, so without SQLite's write lock."""
    with _step("DEFERRED") as connection:
        found: str | None = connection.scalar(
            sa.text("SELECT id FROM users WHERE search_parents IS NULL ORDER BY id LIMIT 1")
        )
    return found


def downgrade() -> None:
    _commit()
    for name, index in REPLACED.items():
        _create_index(name, index)
    for name in (*INDEXES, UNFILLED[0]):
        _drop_index(name)
    _begin()
    op.drop_table("daily_counts")
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER users_set_segment ON users")
        op.execute("DROP FUNCTION enrol_set_segment()")
    else:
        for when in ("insert", "update"):
            op.execute(f"DROP TRIGGER users_set_segment_{when}")
    op.drop_column("users", "search_parents")
    op.drop_column("users", "segment")
