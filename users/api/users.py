"""The URLs under /v1 that create and read users: parse, validate, act, respond. The others are in `user_changes`."""

from collections.abc import Sequence
from urllib.parse import urlencode

from flask import Flask, Response, g, jsonify, request
from werkzeug.routing import BaseConverter

from users import settings
from users.api import parsing
from users.api.authentication import requires
from users.auth import authorization, hasher
from users.blueprint import bp
from users.errors import UserNotFound
from users.http import urls
from users.passwords.hash_queue import Share
from users.roles import Permission
from users.rules import emails, validation
from users.services import idempotency, user_creation
from users.storage.models import User

Answer = tuple[Response, int, dict[str, str]]


class _Id(BaseConverter):
    """What stands in a path where an id does: any text but the words that have an address of their own there."""

    regex = r"(?!(?:batch|current|deleted|email|me|profile|verify-password)\Z)[^/]+"
    part_isolating = True  # Werkzeug takes the slash in the pattern for one that is matched


def init_app(app: Flask) -> None:
    """Let `app` tell the id in a path from the words that can stand there."""
    app.url_map.converters["id"] = _Id


@bp.post("/v1/user/")
@requires(Permission.USERS_CREATE)
def create_user() -> Answer:
    """Answer 201 with the new user's nine members and the path of its profile in Location.

    The same request under the same Idempotency-Key gets the same answer. With `?validate_only=true` nothing is
    written, and 200 says that the real call would pass.
    """
    validate_only = parsing.boolean(request, "validate_only")
    key = parsing.idempotency_key(request)
    if not (validate_only or key):  # neither needs a hash for sure
        # The limit of the service as a whole, judged where the caller's own is, before the work on a body: in a burst
        # of creates that is a sixth of a refusal.
        hasher.current().require_place(Share.CREATE)
    given = parsing.json_object(request)
    attempt = idempotency.attempt(g.actor.key_id, key, given) if key else None
    # Before the rules, which may have changed since, and before the hash, which is slow.
    kept = idempotency.find_answer(attempt, actor=g.actor) if attempt else None
    if kept:
        return _valid() if validate_only else _created(kept)
    new = validation.new_user(given, settings.current().rules)
    if validate_only:
        authorization.require_authorized(g.actor, Permission.USERS_CREATE)
        user_creation.check_new_user(new, actor=g.actor)
        return _valid()
    if attempt:
        return _created(idempotency.create_user(new, attempt, actor=g.actor))
    return _created(idempotency.answer(user_creation.create_user(new, actor=g.actor)))


def _valid() -> Answer:
    return jsonify(valid=True), 200, {}


def _created(answer: idempotency.Answer) -> Answer:
    headers = {"Location": f"/v1/user/{answer.user['id']}", "ETag": answer.etag}
    return jsonify(answer.user), 201, {**headers, "Idempotent-Replayed": "true"} if answer.replayed else headers


@bp.get("/v1/user/")
@requires(Permission.USERS_READ)
def list_users() -> tuple[Response, dict[str, str]]:
    """Answer 200 with users who are not deleted, oldest first, and in Link where the next ones are, if there are."""
    after, skip, limit = _place()
    active_only = parsing.boolean(request, "active_only")
    users = user_creation.list_users(after=after, skip=skip, limit=limit + 1, active_only=active_only)
    return _page("/v1/user/", users, limit)


@bp.get("/v1/user/deleted")
@requires(Permission.USERS_READ)
def list_deleted_users() -> tuple[Response, dict[str, str]]:
    """Answer 200 with users who are deleted, oldest first, and in Link where the next ones are, if there are."""
    after, skip, limit = _place()
    return _page("/v1/user/deleted", user_creation.list_deleted_users(after=after, skip=skip, limit=limit + 1), limit)


def _place() -> tuple[str, int, int]:
    return parsing.user_id(request, "after"), parsing.skip(request), parsing.limit(request)


def _page(path: str, users: Sequence[User], limit: int) -> tuple[Response, dict[str, str]]:
    """Return at most `limit` of the users of a list, which is at `path`; one more says that there are more."""
    headers = {"Link": _next_link(path, users[limit - 1].id)} if len(users) > limit else {}
    return jsonify([user.as_user() for user in users[:limit]]), headers


def _next_link(path: str, last_id: str) -> str:
    """Return the address of what comes after this id (RFC 8288), whole where the service's own is known.

    It goes on by id, also for a caller who began with `skip`: the database then need not count its way there.
    """
    kept = [(name, value) for name, value in request.args.items(multi=True) if name not in ("after", "skip")]
    return f'<{urls.base_url() or ""}{path}?{urlencode([*kept, ("after", last_id)])}>; rel="next"'


@bp.post("/v1/user/batch")
@requires(Permission.USERS_READ)
def get_batch() -> Response:
    """Answer 200 with those of the users asked for who are there, each once, in the order of asking."""
    wanted = validation.user_ids(parsing.json_object(request))
    authorization.require_authorized(g.actor, Permission.USERS_READ)
    users = [user.as_user() for user in user_creation.get_users(wanted)]
    return jsonify(users=users, total=len(users), requested_ids=wanted)


@bp.get("/v1/user/<id:user_id>")
@requires(Permission.USERS_READ)
def get_user(user_id: str) -> tuple[Response, dict[str, str]]:
    """Answer 200 with the profile of the user, or 404."""
    user = user_creation.get_user(user_id)
    return jsonify(user.as_profile()), {"ETag": user.etag}


@bp.get("/v1/user/email/<path:email>")
@requires(Permission.USERS_READ)
def get_user_by_email(email: str) -> Response:
    """Answer 200 with the user who has this email in any spelling, or 404."""
    try:
        key = emails.lookup_key(email.removesuffix("/"))
    except emails.BadEmail:
        raise UserNotFound from None
    return jsonify(user_creation.get_user_by_email(key).as_user())


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
    return user_creation.get_user(g.actor.user_id)
