"""Enrol creates users. Each module is a station on the walk of one request, listed in walking order:

    settings     the environment, checked                     envelope     request ids, headers, errors rendered
    api          every URL under /v1                          access       an API key becomes an Actor; guards
    cli          flask users, flask keys, flask doctor        parsing      a body becomes one strict JSON object
    validation   a mapping becomes a NewUser, or Invalid      emails       an address and its uniqueness key
    passwords    bounds, hash, generator, common ones         service      the acts, each with its audit row
    database     SQLite and Postgres made to behave alike     models       the tables

Before the walk: upgrading (from one schema to the next, by migrations/).
Beside it: roles (who may do what), keys (an API key as text), errors (what can go wrong), logs, clock, ids.
"""

from flask import Blueprint, Flask

bp = Blueprint("users", __name__)


def init_app(app: Flask) -> None:
    """Put Enrol's routes, error answers and commands on `app`, whose settings and database are set up."""
    from users import api, cli, envelope  # noqa: F401  (api hangs its routes on bp)

    envelope.init_app(app)
    cli.init_app(app)
    app.register_blueprint(bp)
