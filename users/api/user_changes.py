"""The URLs under /v1 that change a user, issue a verification link or verify a password."""

from typing import Any

from flask import Response, g, jsonify, request

from users import clock, settings
from users.api import parameters
from users.api.authentication import requires
from users.api.request_body import json_object
from users.auth import signin
from users.blueprint import bp
from users.http import success_bodies, urls
from users.passwords.hashing import WrongPassword
from users.request_errors import PreconditionFailed, WeakEntityTag
from users.roles import Permission
from users.rules import validation
from users.services import user_changes
from users.services.changes.outcomes import Precondition
from users.services.links import email_verification
from users.storage.models import User


@bp.patch("/v1/user/<id:user_id>")
@requires(Permission.USERS_UPDATE)
def update_user(user_id: str) -> tuple[Response, dict[str, str]]:
    """Answer 200 with the user after the changes in the body. Members that the body does not name stay."""
    precondition = _precondition()
    changes = validation.user_changes(json_object(request), settings.current().rules)
    user = user_changes.update_user(user_id, changes, actor=g.actor, precondition=precondition)
    return jsonify(user.as_user()), {"ETag": user.etag}


@bp.delete("/v1/user/<id:user_id>")
@requires(Permission.USERS_DELETE)
def delete_user(user_id: str) -> dict[str, Any]:
    """Answer 200 once the user is deleted."""
    user = user_changes.delete_user(user_id, actor=g.actor, precondition=_precondition())
    return success_bodies.user_deleted(user.id)


@bp.post("/v1/user/<id:user_id>/restore")
@requires(Permission.USERS_DELETE)
def restore_user(user_id: str) -> tuple[Response, dict[str, str]]:
    """Answer 200 with the user, who is not deleted any more, and not active either."""
    user = user_changes.restore_user(user_id, actor=g.actor)
    return jsonify(user.as_user()), {"ETag": user.etag}


def _precondition() -> Precondition | None:
    """Return the check that If-Match asks for, run on the user inside the transaction (RFC 9110, section 13.1.1)."""
    tags = parameters.if_match(request)
    if tags is None:
        return None

    def check(user: User) -> None:
        if user.etag not in tags:
            raise WeakEntityTag if any(tag.startswith("W/") for tag in tags) else PreconditionFailed

    return check


@bp.post("/v1/user/<id:user_id>/verification")
@requires(Permission.USERS_UPDATE)
def create_verification(user_id: str) -> tuple[Response, int]:
    """Answer 201 with a link that verifies the user's email, for the caller to deliver, and its expiry."""
    base_url = urls.absolute_url("")  # raises before anything is written
    issued = email_verification.issue(user_id, actor=g.actor)
    url = urls.link(base_url, "users.show_verify", issued.token)
    return jsonify(verification_url=url, expires_at=clock.rfc3339(issued.expires_at)), 201


@bp.post("/v1/user/verify-password")
@requires(Permission.USERS_VERIFY)
def verify_password() -> Response:
    """Answer 200: whether email and password belong to an active user and, if so, the user.

    If the user must choose a new password, the answer says so before the user.
    """
    given = validation.credentials(json_object(request))
    try:
        user = signin.verify_password(given.email, given.password, ip_address=given.ip_address, actor=g.actor)
    except WrongPassword:
        return jsonify(valid=False)
    must_change = {"password_change_required": True} if user.password_change_required else {}
    return jsonify({"valid": True, **must_change, "user": user.as_user()})
