"""Verification links: issued, opened and clicked."""

import re
from datetime import datetime
from typing import Any

from flask import Flask

from support.api import Answer
from support.databases import rows
from support.visitors import Visitor, token_in
from users.actors import terminal
from users.services import user_queries
from users.services.links import email_verification
from users.storage.models import User

TERMINAL = terminal("req_test00000000")
ENDED = "This link has ended"


def issue(app: Flask, user: User) -> str:
    """Return the token of a new link."""
    with app.app_context():
        return email_verification.issue(user.id, actor=TERMINAL).token


def opened(visitor: Visitor, token: str) -> Answer:
    """Open the link as a browser does."""
    answer = visitor.get(f"/verify?token={token}")
    assert (answer.status_code, answer.location) == (303, "/verify")
    return visitor.get("/verify")


def click(visitor: Visitor, page: Answer) -> Answer:
    """Send the form of the page."""
    found = re.search(r'name="link" value="([^"]+)"', page.text)
    assert found, page.text
    return visitor.post("/verify", token=token_in(page), link=found[1])


def verified_at(app: Flask, user: User) -> datetime | None:
    """Return when the email was last verified."""
    with app.app_context():
        return user_queries.get_user(user.id).last_verified


def trail(app: Flask) -> list[tuple[Any, ...]]:
    """Return the audit rows about links."""
    acts = "SELECT action, actor_kind, actor_user_id, target_id FROM audit_events"
    found = rows(app, f"{acts} WHERE action IN ('verification.create', 'user.verify') ORDER BY id")
    return [tuple(row) for row in found]
