"""What all tables share: the registry `db`, the class Model and the index of some rows."""

from typing import TYPE_CHECKING

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Index, text
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """What all models share."""


# What an act returns is complete and needs no second query: nothing expires at commit.
db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})

if TYPE_CHECKING:
    Model = Base
else:
    Model = db.Model


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Return an index of those rows alone for which `where` is true."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))
