"""Search keys of users whom a server of the version before made: it does not know all of them."""

from sqlalchemy import Connection, bindparam, select, update

from users.rules import search_keys
from users.storage.models import User

_USERS = User.metadata.tables["users"]
_READ = (
    select(_USERS.c.id, _USERS.c.email, _USERS.c.first_name, _USERS.c.last_name)
    .where(_USERS.c.search_parents.is_(None), _USERS.c.id > bindparam("after"))
    .order_by(_USERS.c.id)
    .limit(bindparam("some"))
    .with_for_update(skip_locked=True)
)
_WRITE = update(_USERS).where(_USERS.c.id == bindparam("of"))


def fill_some(connection: Connection, *, after: str = "", some: int) -> str | None:
    """Give up to `some` users after the id `after` their search keys, and return the last one's id, None if none lacks.

    Those whom another transaction has locked are left out.
    """
    found = connection.execute(_READ, {"after": after, "some": some}).all()
    if not found:
        return None
    connection.execute(
        _WRITE,
        [{"of": user.id, **search_keys.keys(user.id, user.email, user.first_name, user.last_name)} for user in found],
    )
    last: str = found[-1].id
    return last
