"""Enrol creates users. A folder for each door or layer; a folder imports only what stands below it.

    api/        the door for programs: JSON under /v1
    pages/      the door for administrators: HTML forms
    cli/        the door for the operator: flask users, keys, audit, doctor
    http/       what both web doors share: error answers, headers, the session cookie, CSRF, URLs
    services/   the acts on users and API keys, each one function and one transaction
    auth/       sign-in, sessions, throttles, and whether an actor may still act
    audit/      the audit trail, written and read
    storage/    tables, migrations, and the database read and written in bounded time
    rules/      what may become a user: validation without Flask
    passwords/  the password policy, argon2id and the hash queue, without Flask
    openapi/    the contract of the API as a document

The single files beside the folders are what every layer may use. No door imports another.
"""

from flask import Flask


def init_app(app: Flask) -> None:
    """Put Enrol's routes, error answers and commands on `app`, whose settings and database are set up."""
    from users import api, blueprint, cli, http, pages
    from users.pages import guards
    from users.services import cleanup

    cleanup.init_app(app)  # the first: a request that is refused starts it too
    api.init_app(app)
    pages.init_app(app)
    http.init_app(app)
    cli.init_app(app)
    app.register_blueprint(blueprint.bp)
    guards.check_views(app)
