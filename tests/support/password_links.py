"""Password links: made and used by the service, in the context of an application, and opened in a browser."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from support.api import Answer
from support.changes import TERMINAL, update
from support.databases import rows
from support.page_forms import fields_of
from support.people import PASSWORD, as_actor, make_user
from support.visitors import Visitor, token_in
from users.auth import signin
from users.auth.known_devices import Device
from users.form_errors import PasswordLinkEnded
from users.passwords import argon2id
from users.rules import validation
from users.services import user_changes
from users.services.links import password_links
from users.services.links.password_links import PasswordLink
from users.storage.models import User

NEW, OTHER = "a new password", "another password"


def make(user: User, **more: Any) -> PasswordLink:
    """Make a link, as the operator at the terminal."""
    return password_links.make(user.id, actor=TERMINAL, **more)


def invite(email: str = "jo@example.com", **more: Any) -> PasswordLink:
    """Invite a user, as the operator at the terminal."""
    new, lifetime = validation.invitation({"email": email, **more}, validation.Rules())
    return password_links.invite(new, lifetime=lifetime, actor=TERMINAL)


def use(link: PasswordLink, password: str = NEW) -> User:
    """Set a password by the link."""
    return password_links.use(link.token, password, actor=TERMINAL)


def opened(visitor: Visitor, link: PasswordLink) -> Answer:
    """Open the link as a browser does."""
    answer = visitor.get(f"/password?token={link.token}")
    assert (answer.status_code, answer.location) == (303, "/password")
    return visitor.get("/password")


def send(visitor: Visitor, page: Answer, password: str = NEW, **more: Any) -> Answer:
    """Send the form of the page."""
    return visitor.post("/password", **{**fields_of(page), "token": token_in(page), "password": password, **more})


def hash_of(app: Flask, user: User) -> str:
    """Return the stored hash of the user's password."""
    ((found,),) = rows(app, "SELECT password_hash FROM users WHERE id = :id", id=user.id)
    return str(found)


def matches(stored: str, password: str) -> bool:
    """Tell whether the stored hash is that of the password."""
    return argon2id.is_hash_of(stored, password.encode())


def has_ended(link: PasswordLink) -> bool:
    """Tell whether the link has ended for a visit and for a use."""
    for act in (password_links.find_user, lambda token: password_links.use(token, NEW, actor=TERMINAL)):
        with pytest.raises(PasswordLinkEnded):
            act(link.token)
    return True


def delete_and_give_email_away(app: Flask, user: User) -> None:
    """Delete the user and create another one with their email."""
    user_changes.delete_user(user.id, actor=TERMINAL)
    make_user(app, user.email)


def change_own(app: Flask, user: User) -> None:
    """Change the password as the user does on the account page."""
    signin.change_password(user, PASSWORD, OTHER, device=Device(""), actor=as_actor(app, user))


ENDINGS: dict[str, Callable[[Flask, User, PasswordLink], object]] = {
    "used": lambda _app, _user, link: use(link, OTHER),
    "replaced": lambda _app, user, _link: make(user),
    "revoked": lambda _app, user, _link: password_links.revoke(user.id, actor=TERMINAL),
    "password set": lambda _app, user, _link: user_changes.set_password(user.id, OTHER, actor=TERMINAL),
    "same password set": lambda _app, user, _link: user_changes.set_password(user.id, PASSWORD, actor=TERMINAL),
    "password changed": lambda app, user, _link: change_own(app, user),
    "password chosen": lambda app, user, _link: signin.choose_password(user, OTHER, actor=as_actor(app, user)),
    "another email": lambda _app, user, _link: update(user, email=f"other-{user.email}"),
    "email and back": lambda _app, user, _link: (
        update(user, email=f"other-{user.email}"),
        update(user, email=user.email),
    ),
    "role": lambda _app, user, _link: update(user, global_role_id="role_admin"),
    "role and back": lambda _app, user, _link: (
        update(user, global_role_id="role_member"),
        update(user, global_role_id=None),
    ),
    "deactivated": lambda _app, user, _link: user_changes.deactivate_user(user.id, actor=TERMINAL),
    "reactivated": lambda _app, user, _link: (
        user_changes.deactivate_user(user.id, actor=TERMINAL),
        user_changes.reactivate_user(user.id, actor=TERMINAL),
    ),
    "deleted": lambda _app, user, _link: user_changes.delete_user(user.id, actor=TERMINAL),
    "email given away": lambda app, user, _link: delete_and_give_email_away(app, user),
}
# What code before links does: it does not know the column, so it leaves it.
OLD_CODE = {
    "password": "password_hash = 'hash of another', password_changed_at = updated_at",
    "email": "email = 'new@example.com', email_key = 'new@example.com', email_changed_at = updated_at",
    "role": "global_role_id = 'role_admin'",
    "deactivated": "is_active = false",
    "deleted": "is_active = false, deleted_at = updated_at",
}


def opens(app: Flask, url: str) -> str | None:
    """Return the id of the user for whom the link works, None if it has ended."""
    with app.app_context():
        try:
            return password_links.find_user(url.partition("?token=")[2]).id
        except PasswordLinkEnded:
            return None


def acts(app: Flask, user_id: str) -> list[tuple[str, str]]:
    """Return the action and the kind of actor of each event about the user."""
    statement = "SELECT action, actor_kind FROM audit_events WHERE target_id = :id ORDER BY id"
    return [(row.action, row.actor_kind) for row in rows(app, statement, id=user_id)]
