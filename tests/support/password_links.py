"""Password links: made and used by the service, in the context of an application."""

from typing import Any

import pytest
from flask import Flask

from support.changes import TERMINAL
from support.databases import rows
from users.form_errors import PasswordLinkEnded
from users.passwords import argon2id
from users.rules import validation
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
