"""Enrol creates users. A folder imports only the folders below it in this list, and the single files beside them.

    api/        the door for programs: JSON under /v1
    pages/      the door for people in a browser: HTML pages and forms
    cli/        the door for the operator: flask users, keys, audit, doctor
    http/       what both web doors share: error responses, headers, session cookie, CSRF, URLs, health probes
    bulk/       many users at once: imports, exports, acts on many, and the jobs that do them beside requests
    services/   what is done to users, API keys and links: one function and one transaction each; cleanup, advice
    auth/       sign-in, second factors, sessions, limits on attempts, and whether an actor may still act
    audit/      the audit trail: events are written and found
    storage/    tables, migrations, schema version, and access to the database in bounded time
    rules/      what may become a user, an API key or a setting: validation without Flask
    passwords/  password policy, argon2id and the hash queue, without Flask
    openapi/    the API's contract, openapi.json, its changelog, code samples, and Markdown of a page
    logs/       the log: one line for each event, as text or JSON

A door reads input and writes output; no door imports another. Every folder may import the single files: settings,
errors, roles, ids, the clock.
"""

from flask import Flask

__version__ = "1.0.0"  # semantic, as CHANGELOG.md explains


def init_app(app: Flask) -> None:
    """Put Enrol's routes, error responses and commands on `app`, whose settings and database are set up."""
    # Not at the top of the file: the import of any module of `users` would then import all others first.
    from users import api, blueprint, cli, http, pages
    from users.audit import trail
    from users.bulk.acts import cleaning as acts_cleaning
    from users.bulk.acts import working  # noqa: F401  (the runner knows of it by the import)
    from users.bulk.imports import cleaning
    from users.bulk.imports import working as imports_working  # noqa: F401  (the same)
    from users.pages import guards
    from users.services import cleanup

    cleanup.init_app(app)  # first, so refused requests start it too
    cleanup.add(app, cleaning.clean)
    cleanup.add(app, acts_cleaning.clean)
    trail.init_app(app)
    api.init_app(app)
    pages.init_app(app)
    http.init_app(app)
    cli.init_app(app)
    app.register_blueprint(blueprint.bp)
    guards.check_views(app)
