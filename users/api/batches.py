"""The URL under /v1 that creates many users in one request."""

import math

from flask import Response, g, jsonify, request

from users.api import authentication, parameters
from users.api.authentication import requires
from users.api.request_body import json_object
from users.blueprint import bp
from users.bulk import batches
from users.roles import Permission
from users.services import idempotency

MEBIBYTES = 2
ROWS_OF_A_REQUEST = 10  # as which they count for the rate limit


@bp.post("/v1/user/import")
@requires(Permission.USERS_IMPORT)
def create_many() -> tuple[Response, dict[str, str]]:
    """Answer 200 with the fate of each user in the body, also if all are rejected.

    `?validate_only=true` writes nothing. The same request with the same Idempotency-Key gets the same answer.
    """
    validate_only = parameters.boolean(request, "validate_only")
    key = parameters.idempotency_key(request)
    given = json_object(request, mebibytes=MEBIBYTES)
    batch = batches.read(given)
    authentication.count_as(math.ceil(len(batch.rows) / ROWS_OF_A_REQUEST))
    repeatable = idempotency.request_of(g.actor.key_id, key, given, act="import") if key else None
    kept = idempotency.find_kept(repeatable, Permission.USERS_IMPORT, actor=g.actor) if repeatable else None
    if validate_only:
        return jsonify(batches.as_valid(kept.answer) if kept else batches.check(batch, actor=g.actor)), {}
    answer, is_replayed = (kept.answer, True) if kept else batches.create(batch, request=repeatable, actor=g.actor)
    return jsonify(answer), {"Idempotent-Replayed": "true"} if is_replayed else {}
