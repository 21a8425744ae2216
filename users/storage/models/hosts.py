"""The tables by which several hosts, and `flask doctor`, learn of each other's set-up."""

from datetime import datetime

from sqlalchemy import LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from users.storage.columns import UtcDateTime
from users.storage.models.tables import Model


class SecretKeyCheck(Model):
    """A secret key in use. `value` is a keyed hash, from which the key cannot be found."""

    __tablename__ = "secret_key_checks"

    value: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    added_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return "<SecretKeyCheck>"


class Observation(Model):
    """What a request revealed about the set-up, for `flask doctor`: the newest of each `name`."""

    __tablename__ = "observations"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    detail: Mapped[str] = mapped_column(Text)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)

    def __repr__(self) -> str:
        return f"<Observation {self.name}>"
