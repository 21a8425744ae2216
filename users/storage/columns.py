"""Column types that behave alike on both databases."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Text, TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime with microseconds on both databases; SQLite stores it without the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what the database stores."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` as an aware UTC datetime."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Rfc3339(TypeDecorator[str]):
    """What UtcDateTime stores, read as RFC 3339 in UTC and whole seconds: for `type_coerce`, where there are many rows.

    It costs half of a datetime that is then written as text.
    """

    impl = Text
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return `value`, which is a text on SQLite and a datetime on Postgres, as `clock.rfc3339` would."""
        if value is None:
            return None
        text = value if isinstance(value, str) else value.astimezone(UTC).isoformat()
        return f"{text[:10]}T{text[11:19]}Z"


# Ids are compared byte by byte on both databases, whatever the locale of Postgres: paging relies on it. So are the
# search keys, because a search for a prefix is a range of keys.
Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
Id = Bytewise
