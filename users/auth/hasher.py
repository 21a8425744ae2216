"""The application's one hasher, and the share of the hash queue that each actor waits in."""

from flask import current_app

from users.actors import Actor, ActorKind
from users.errors import Invalid
from users.field_errors import FieldCode, FieldError
from users.passwords.hash_queue import Share
from users.passwords.hashing import Hasher, PasswordPlace, WrongPassword

_SHARES = {ActorKind.KEY: Share.CREATE, ActorKind.PASSWORD_LINK: Share.KNOWN, ActorKind.SESSION: Share.KNOWN}


def current() -> Hasher:
    """Return the application's one hasher."""
    found: Hasher = current_app.extensions["enrol.hasher"]
    return found


def require_other(place: PasswordPlace, password_hash: str, password: str, make: str | None = None) -> None:
    """Raise Invalid if `password`, which is to replace the one with `password_hash`, is the same.

    `make` is that of a hash which another system made.
    """
    try:
        place.verify(password_hash, password, make)
    except WrongPassword:
        return
    message = "Choose a password that you do not have now"
    raise Invalid([FieldError("password", FieldCode.PASSWORD_UNCHANGED, message)])


def hash_password(password: str, actor: Actor) -> str:
    """Return the hash of a new password, made in the actor's share of the hash queue. Raises Overloaded."""
    with current().place(_SHARES.get(actor.kind, Share.TYPED)) as place:
        return place.hash(password)
