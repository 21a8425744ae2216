"""What a supervisor or a load balancer asks: does this process live, and can it serve."""

from collections.abc import Callable
from functools import wraps

from flask import Response, g, jsonify

from users.blueprint import bp, same_for_all
from users.errors import Unavailable
from users.storage import database

Answer = tuple[Response, int]


def probe(view: Callable[[], Answer]) -> Callable[[], Answer]:
    """Open a view to everybody. Only its failures are logged: a probe every few seconds would bury all else."""

    @wraps(view)
    def guarded() -> Answer:
        g.is_probe = True
        return view()

    return same_for_all(guarded)


@bp.get("/healthz")
@probe
def show_health() -> Answer:
    """Answer 200 while the process lives; the database is not asked, since a restart would not mend it."""
    return jsonify(status="ok"), 200


@bp.get("/readyz")
@probe
def show_readiness() -> Answer:
    """Answer 200 if the database can be read and is at HEAD, else 503 with the reason, within a request's budget."""
    reason = _reason_not_to_serve()
    if reason:
        g.error_code = Unavailable.code
        return jsonify(status="unavailable", reason=reason), Unavailable.status
    return jsonify(status="ok"), 200


def _reason_not_to_serve() -> str | None:
    try:
        database.check()
    except Unavailable as error:
        return error.reason
    return None
