"""The URL under /v1 that exports users."""

from typing import Any

from flask import Response, g, request

from users.api import parameters
from users.api.authentication import requires
from users.blueprint import bp
from users.bulk.export import Wanted
from users.http import exports
from users.roles import Permission
from users.services.lists.asked import Asked


@bp.get("/v1/user/export")
@requires(Permission.USERS_READ)
def export_users() -> Response:
    """Answer 200 with all users who are not deleted, or those asked for, as a file: CSV or JSON lines, oldest first.

    `?hashes=true` adds the password hashes, for a key with `hashes:read`.
    """
    form: Any = parameters.one_of(request, "format", list(exports.MEDIA_TYPES)) or "csv"
    active, deactivated = (parameters.boolean(request, name) for name in ("active_only", "deactivated_only"))
    wanted = Wanted(
        asked=Asked(shown="active" if active else "deactivated" if deactivated else "all"),
        form=form,
        with_hashes=parameters.boolean(request, "hashes"),
        excel=parameters.boolean(request, "excel"),
        after=parameters.after(request),
        domain=parameters.domain(request),
        matches_none=active and deactivated,
    )
    return exports.response(wanted, actor=g.actor)
