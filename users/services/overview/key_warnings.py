"""The API keys that need attention: those that expire soon, and those that no program has used."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import and_, case, func, or_, select

from users import clock
from users.auth import key_states
from users.services import key_queries
from users.storage import database
from users.storage.models import ApiKey, User

SOON = timedelta(days=14)
NAMED = 5  # keys of each kind


@dataclass(frozen=True)
class Keys:
    """How many keys there are of a kind, and the first of them."""

    number: int
    first: Sequence[ApiKey]

    @property
    def more(self) -> int:
        """How many there are beside the first."""
        return self.number - len(self.first)


@dataclass(frozen=True)
class KeyWarnings:
    """The keys that expire soon, the next first, and those never used, the oldest first.

    Only keys that work are among them. `is_partial` tells that there are more than the newest `key_queries.READ` keys,
    which alone were read.
    """

    expiring: Keys
    unused: Keys
    is_partial: bool


def find() -> KeyWarnings:
    """Return the keys that need attention. Raises Unavailable."""
    now = clock.now()
    newest = select(ApiKey.id).order_by(ApiKey.id.desc())
    read = newest.limit(key_queries.READ).subquery()
    is_active = and_(User.is_active, User.deleted_at.is_(None))
    keys = select(ApiKey).join(read, read.c.id == ApiKey.id).outerjoin(User, User.id == ApiKey.owner_id)
    working = keys.where(~key_states.has_ended(now), or_(ApiKey.owner_id.is_(None), is_active))
    expires, is_unused = (
        and_(ApiKey.expires_at.is_not(None), ApiKey.expires_at <= now + SOON),
        ApiKey.last_used_at.is_(None),
    )
    numbers = working.with_only_columns(
        func.count(case((expires, 1))),
        func.count(case((is_unused, 1))),
        newest.offset(key_queries.READ).limit(1).exists(),
    )
    with database.reading() as session:
        expiring = session.scalars(working.where(expires).order_by(ApiKey.expires_at, ApiKey.id).limit(NAMED)).all()
        unused = session.scalars(working.where(is_unused).order_by(ApiKey.id).limit(NAMED)).all()
        number_expiring, number_unused, is_partial = session.execute(numbers).one()
    return KeyWarnings(Keys(number_expiring, expiring), Keys(number_unused, unused), is_partial)
