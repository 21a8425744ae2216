"""The URLs under /v1 that invite a user and make, show or end the link with which a user chooses a password."""

from typing import Any

from flask import Response, g, jsonify, request

from users import clock, settings
from users.api import parameters
from users.api.authentication import requires
from users.api.request_body import json_object
from users.api.users import CreateResponse, created_response, valid_response
from users.auth import authorization
from users.blueprint import bp
from users.http import success_bodies, urls
from users.roles import Permission
from users.rules import validation
from users.services import idempotency, user_creation, user_queries
from users.services.links import password_links


@bp.post("/v1/user/invite")
@requires(Permission.USERS_CREATE)
def invite_user() -> CreateResponse:
    """Answer 201 with a new user, who has no password, and the link with which they choose one.

    `validate_only` and Idempotency-Key work as in `create_user`. The queue of hashes has no say: there is no password.
    """
    base_url = urls.absolute_url("")  # raises before anything is written
    validate_only = parameters.boolean(request, "validate_only")
    key = parameters.idempotency_key(request)
    given = json_object(request)
    repeatable = idempotency.request_of(g.actor.key_id, key, given, act="invite") if key else None
    kept = idempotency.find_answer(repeatable, actor=g.actor) if repeatable else None
    if kept:
        return valid_response() if validate_only else _invited(kept, base_url)
    new, lifetime = validation.invitation(given, settings.current().rules)
    if validate_only:
        authorization.require_authorized(g.actor, Permission.USERS_CREATE)
        user_creation.check_new_user(new, actor=g.actor)
        return valid_response()
    if repeatable:
        return _invited(idempotency.invite(new, repeatable, lifetime=lifetime, actor=g.actor), base_url)
    link = password_links.invite(new, lifetime=lifetime, actor=g.actor)
    return _invited(idempotency.answer(link.user, link), base_url)


def _invited(answer: idempotency.CreatedUser, base_url: str) -> CreateResponse:
    ended = {"password_url": None, "expires_at": None}
    link = urls.password_link(base_url, answer.link) if answer.link else ended
    return created_response(answer, {"user": answer.user, **link})


@bp.post("/v1/user/<id:user_id>/password-link")
@requires(Permission.USERS_UPDATE)
def create_password_link(user_id: str) -> tuple[Response, int]:
    """Answer 201 with a new link with which the user chooses a password, for the caller to deliver, and its end."""
    base_url = urls.absolute_url("")  # raises before anything is written
    lifetime = validation.link_lifetime(json_object(request))
    link = password_links.make(user_id, lifetime=lifetime, actor=g.actor)
    return jsonify(urls.password_link(base_url, link)), 201


@bp.get("/v1/user/<id:user_id>/password-link")
@requires(Permission.USERS_READ)
def get_password_link(user_id: str) -> dict[str, Any]:
    """Answer 200: whether the user has a password and must choose a new one, and when the open link ends."""
    user = user_queries.get_user(user_id)
    ends_at = password_links.open_until(user)
    return {
        "has_password": user.has_password,
        "password_change_required": user.password_change_required,
        "expires_at": clock.rfc3339(ends_at) if ends_at else None,
    }


@bp.delete("/v1/user/<id:user_id>/password-link")
@requires(Permission.USERS_UPDATE)
def delete_password_link(user_id: str) -> dict[str, Any]:
    """Answer 200 once the user has no open link, also if there was none."""
    user = password_links.revoke(user_id, actor=g.actor)
    return success_bodies.password_link_ended(user.id)
