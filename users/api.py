"""Every URL under /v1: parse, validate, act, respond."""

from typing import Any

from flask import Response, g, jsonify, request

from users import bp, idempotency, ids, parsing, service, settings, validation
from users.access import requires
from users.errors import UserNotFound
from users.models import User
from users.roles import Permission

Answer = tuple[Response, int, dict[str, str]]


@bp.post("/v1/user/")
@requires(Permission.USERS_CREATE)
def create_user() -> Answer:
    """Answer 201 with the new user's nine members and the path of its profile in Location.

    The same request under the same Idempotency-Key gets the same answer. With `?validate_only=true` nothing is
    written, and 200 says that the real call would pass.
    """
    validate_only = parsing.boolean(request, "validate_only")
    key = parsing.idempotency_key(request)
    given = parsing.json_object(request)
    attempt = idempotency.attempt(g.actor.key_id, key, given) if key else None
    # Before the rules, which may have changed since, and before the hash, which is slow.
    kept = idempotency.find_answer(attempt) if attempt else None
    if kept:
        return _valid() if validate_only else _created(kept.user, replayed=True)
    new = validation.new_user(given, settings.current().rules)
    if validate_only:
        service.check_new_user(new, actor=g.actor)
        return _valid()
    if attempt:
        answer = idempotency.create_user(new, attempt, actor=g.actor)
        return _created(answer.user, replayed=answer.replayed)
    return _created(service.create_user(new, actor=g.actor).as_user())


def _valid() -> Answer:
    return jsonify(valid=True), 200, {}


def _created(user: dict[str, Any], *, replayed: bool = False) -> Answer:
    headers = {"Location": f"/v1/user/{user['id']}"}
    return jsonify(user), 201, {**headers, "Idempotent-Replayed": "true"} if replayed else headers


@bp.get("/v1/user/<user_id>")
@requires(Permission.USERS_READ)
def get_user(user_id: str) -> Response:
    """Answer 200 with the profile of the user, or 404."""
    # By form first: Postgres takes no NUL, which a path can hold, in a text.
    if not ids.is_user_id(user_id):
        raise UserNotFound
    return jsonify(service.get_user(user_id).as_profile())


@bp.get("/v1/user/me", endpoint="me")
@bp.get("/v1/user/profile", endpoint="profile")
@requires()
def get_own_profile() -> Response:
    """Answer 200 with the profile of the key's owner, or 404 for a key without one (the page's Get Profile)."""
    return jsonify(_owner().as_profile())


@bp.get("/v1/user/current")
@requires()
def get_current_user() -> Response:
    """Answer 200 with the key's owner as a user, or 404 for a key without one."""
    return jsonify(_owner().as_user())


def _owner() -> User:
    if g.actor.user_id is None:
        raise UserNotFound
    return service.get_user(g.actor.user_id)
