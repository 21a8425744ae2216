"""The URLs under /v1 that create and read users.

`user_changes` has those that change them, `password_links` the invitation.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from flask import Flask, Response, g, jsonify, request
from werkzeug.routing import BaseConverter

from users import settings
from users.api import parameters
from users.api.authentication import requires
from users.api.request_body import json_object
from users.auth import authorization, hasher
from users.blueprint import bp
from users.errors import UserNotFound
from users.http import urls
from users.passwords.hash_queue import Share
from users.roles import Permission, Role
from users.rules import validation
from users.services import idempotency, user_creation, user_queries
from users.services.lists import user_search
from users.services.lists.asked import Asked, Sort
from users.storage.models import User

CreateResponse = tuple[Response, int, dict[str, str]]


class _IdConverter(BaseConverter):
    """The id in a path: any text but the words that other paths have in its place, like `me`."""

    regex = r"(?!(?:batch|current|deleted|email|export|import|invite|me|profile|verify-password)\Z)[^/]+"
    part_isolating = True  # Werkzeug sees the slash in `regex` and assumes that a value can contain one


class _EmailConverter(BaseConverter):
    """An email in a path: any text, since the part before its @ may begin with a slash and hold several."""

    regex = "(?s:.+?)"
    part_isolating = False


def init_app(app: Flask) -> None:
    """Let the routes of `app` use `<id:…>` and `<email:…>`."""
    app.url_map.converters["id"] = _IdConverter
    app.url_map.converters["email"] = _EmailConverter


@bp.post("/v1/user/")
@requires(Permission.USERS_CREATE)
def create_user() -> CreateResponse:
    """Answer 201 with the new user's nine members, and the path of the profile in Location.

    The same request with the same Idempotency-Key gets the same answer. `?validate_only=true` writes nothing and
    answers 200 if the real call would pass.
    """
    validate_only = parameters.boolean(request, "validate_only")
    key = parameters.idempotency_key(request)
    if not (validate_only or key):  # those two may need no hash
        # The limit of the whole service is checked here like the caller's own, before the body is parsed: parsing is a
        # sixth of what a refusal costs in a burst of creates.
        hasher.current().require_place(Share.CREATE)
    given = json_object(request)
    repeatable = idempotency.request_of(g.actor.key_id, key, given) if key else None
    # Before the rules, which may have changed since the first request, and before the hash, which is slow.
    kept = idempotency.find_answer(repeatable, actor=g.actor) if repeatable else None
    if kept:
        return valid_response() if validate_only else _created_user(kept)
    new = validation.new_user(given, settings.current().rules)
    if validate_only:
        authorization.require_authorized(g.actor, Permission.USERS_CREATE)
        user_creation.check_new_user(new, actor=g.actor)
        return valid_response()
    if repeatable:
        return _created_user(idempotency.create_user(new, repeatable, actor=g.actor))
    return _created_user(idempotency.answer(user_creation.create_user(new, actor=g.actor)))


def valid_response() -> CreateResponse:
    """Answer that the real call would pass."""
    return jsonify(valid=True), 200, {}


def _created_user(answer: idempotency.CreatedUser) -> CreateResponse:
    return created_response(answer, answer.user)


def created_response(answer: idempotency.CreatedUser, body: Mapping[str, object]) -> CreateResponse:
    """Answer 201 with `body`, the path of the profile in Location, and whether the request was sent before."""
    headers = {"Location": f"/v1/user/{answer.user['id']}", "ETag": answer.etag}
    return jsonify(body), 201, {**headers, "Idempotent-Replayed": "true"} if answer.replayed else headers


@bp.get("/v1/user/")
@requires(Permission.USERS_READ)
def list_users() -> tuple[Response, dict[str, str]]:
    """Answer 200 with the users who are not deleted, oldest first, and the URL of the next page, if any, in Link.

    `?q=` answers with those whom a search finds, without Link.
    """
    text = parameters.search(request)
    after, skip = parameters.after(request), parameters.skip(request)
    most = parameters.MAX_FOUND
    limit = parameters.limit(request) if text is None else min(parameters.limit(request, most), most)
    active_only = parameters.boolean(request, "active_only")
    status = parameters.one_of(request, "status", ["active", "deactivated"])
    asked = Asked(
        text=text or "",
        shown=status or ("active" if active_only else "all"),
        verified=parameters.optional_boolean(request, "verified"),
        role=parameters.one_of(request, "role", list(Role)),
        sort=Sort.OLDEST,
    )
    if active_only and status == "deactivated":  # nobody is both
        return jsonify([]), {}
    if text is not None:
        found = user_search.find_oldest(asked, after=after, skip=skip, limit=limit)
        return jsonify([user.as_user() for user in found]), {}
    users = user_queries.list_users(asked, after=after, skip=skip, limit=limit + 1)
    return _page_response("/v1/user/", users, limit)


@bp.get("/v1/user/deleted")
@requires(Permission.USERS_READ)
def list_deleted_users() -> tuple[Response, dict[str, str]]:
    """Answer 200 with the deleted users, oldest first, and the URL of the next page, if any, in Link."""
    after, skip, limit = parameters.after(request), parameters.skip(request), parameters.limit(request)
    users = user_queries.list_deleted_users(after=after, skip=skip, limit=limit + 1)
    return _page_response("/v1/user/deleted", users, limit)


def _page_response(path: str, users: Sequence[User], limit: int) -> tuple[Response, dict[str, str]]:
    """Return the first `limit` of `users` and, if there is one more, a Link to the next page of the list at `path`."""
    headers = {"Link": _next_link(path, users[limit - 1].id)} if len(users) > limit else {}
    return jsonify([user.as_user() for user in users[:limit]]), headers


def _next_link(path: str, last_id: str) -> str:
    """Return the Link header of the page after this id (RFC 8288), absolute if the base URL is known.

    The next page starts after an id even for a caller who began with `skip`: the database then counts no rows.
    """
    kept = [(name, value) for name, value in request.args.items(multi=True) if name not in ("after", "skip")]
    return f'<{urls.base_url() or ""}{path}?{urlencode([*kept, ("after", last_id)])}>; rel="next"'


@bp.post("/v1/user/batch")
@requires(Permission.USERS_READ)
def get_batch() -> Response:
    """Answer 200 with the requested users who exist, each once, in the order of the request."""
    wanted = validation.user_ids(json_object(request))
    authorization.require_authorized(g.actor, Permission.USERS_READ)
    users = [user.as_user() for user in user_queries.get_users(wanted)]
    return jsonify(users=users, total=len(users), requested_ids=wanted)


@bp.get("/v1/user/<id:user_id>")
@requires(Permission.USERS_READ)
def get_user(user_id: str) -> tuple[Response, dict[str, str]]:
    """Answer 200 with the profile of the user, or 404."""
    user = user_queries.get_user(user_id)
    return jsonify(user.as_profile()), {"ETag": user.etag}


@bp.get("/v1/user/email/<email:email>")
@requires(Permission.USERS_READ)
def get_user_by_email(email: str) -> Response:
    """Answer 200 with the user who has this email, or another spelling of it, or 404."""
    return jsonify(user_queries.get_user_by_email(email.removesuffix("/")).as_user())


@bp.get("/v1/user/me", endpoint="me")
@bp.get("/v1/user/profile", endpoint="profile")
@requires()
def get_own_profile() -> Response:
    """Answer 200 with the profile of the key's owner, or 404 for a key without an owner."""
    return jsonify(_owner().as_profile())


@bp.get("/v1/user/current")
@requires()
def get_current_user() -> Response:
    """Answer 200 with the key's owner as a user, or 404 for a key without an owner."""
    return jsonify(_owner().as_user())


def _owner() -> User:
    if g.actor.user_id is None:
        raise UserNotFound
    return user_queries.get_user(g.actor.user_id)
