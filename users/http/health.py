"""The health probes of a supervisor or a load balancer: /healthz (the process lives) and /readyz (it can serve)."""

from collections.abc import Callable
from functools import wraps

from flask import Response, g, jsonify, request

from users import __version__
from users.blueprint import bp, same_for_all
from users.errors import Unavailable
from users.services import secret_key_checks
from users.storage import database

ProbeResponse = tuple[Response, int]


def probe(view: Callable[[], ProbeResponse]) -> Callable[[], ProbeResponse]:
    """Make a view public and log only its failures: a line for a probe every few seconds would bury the others."""

    @wraps(view)
    def guarded() -> ProbeResponse:
        g.is_probe = True
        return view()

    return same_for_all(guarded)


@bp.get("/healthz")
@probe
def show_health() -> ProbeResponse:
    """Answer 200 while the process lives. The database is not checked: a restart would not repair it."""
    return jsonify(status="ok"), 200


@bp.get("/readyz")
@probe
def show_readiness() -> ProbeResponse:
    """Answer 200 if this process can serve, else 503 with the reason, within a request's time budget.

    `?for=reads` asks for reads alone, which a read-only database can answer. Any other value is as none.
    """
    reason = _reason_not_ready(for_reads=request.args.get("for") == "reads")
    if reason:
        g.error_code = Unavailable.code
        return jsonify(status="unavailable", reason=reason), Unavailable.status
    return jsonify(status="ok", version=__version__), 200


def _reason_not_ready(*, for_reads: bool) -> str | None:
    try:
        database.check(for_reads=for_reads)
        return None if secret_key_checks.introduce(wait=False) else "secret_key"
    except Unavailable as error:
        return error.reason
