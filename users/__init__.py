"""Enrol creates users. Each module is a station on the walk of one request, listed in walking order:

    settings     the environment, checked                     envelope     request ids, errors rendered
    headers      security, caching, https                     pages        guards and what all pages share
    csrf         which forms are believed                     urls         the address that people use
    visits       who is at this browser                       detour       by the sign-in page and back to the form
    api          users created and read, under /v1            api_changes  users changed, verified, let in
    admin        sign-in, sign-out, your account              admin_users  the list, the sign-up form, one user
    admin_user_changes: one user changed and deleted          admin_keys   API keys
    admin_audit  who did what to whom                         admin_setup  the first run
    admin_verify an address is verified by a click            access       an API key becomes an Actor; guards
    cli          what all commands share
    cli_users    flask users …                                cli_keys     flask keys …
    cli_audit    flask audit …                                doctor       flask doctor
    forms        labels, widgets, the CSRF token; no rules    parsing      a body becomes one strict JSON object
    validation   a mapping becomes a NewUser, or Invalid      emails       an address and its uniqueness key
    passwords    bounds, hash, generator, common ones         setup        the first administrator, by a link
    signin       who knows their password; sessions           idempotency  a create that may be sent again
    verification a link that verifies an address              docs         the reference, and /openapi.json
    sweep        what has ended goes away
    health       what a supervisor asks: alive, ready?
    service      users created and read                       service_keys the acts on API keys
    service_changes: users changed and deleted                service_purge: deleted ones erased for good
    service_prune: old audit events deleted
    audit        the rows that say who did what               audit_trail  those rows, found again
    audit_words  and told in sentences                        sessions     who is signed in, as rows
    authorization what an actor may do now                    attempts     what a wrong password counts for
    known_devices, known_networks: where a user has signed in before
    directory    what the pages read                          throttles    wrong passwords, counted as rows
    limits       requests, counted in memory                  gate         how many hashes at once
    argon2id     one hash, in memory that is kept             database     read and written, in bounded time
    paging       long lists, piece by piece                   drivers      SQLite and Postgres made alike
    models       the tables

Before the walk: upgrading (from one schema to the next, by migrations/), first_run (what a start says).
Beside it: blueprint (every route hangs on it), hasher (of this application), actors (who acts), roles (who may do
what), keys (an API key as text), errors (what can go wrong), fields (with one field),
refusals (on a page), search (what users are found by), columns (their types), contract (openapi.json,
read), cores (how many there are), examples (a call in three languages), logs, forks (what a child process needs),
clock, ids.
"""

from flask import Flask


def init_app(app: Flask) -> None:
    """Put Enrol's routes, error answers and commands on `app`, whose settings and database are set up."""
    from users import (  # noqa: F401  (api and admin… hang their routes on it)
        access,
        admin,
        admin_audit,
        admin_keys,
        admin_setup,
        admin_user_changes,
        admin_users,
        admin_verify,
        api,
        api_changes,
        blueprint,
        cli_audit,
        cli_keys,
        cli_users,
        docs,
        doctor,
        envelope,
        health,
        pages,
        sweep,
    )

    sweep.init_app(app)  # the first: a request that is refused starts it too
    access.init_app(app)
    api.init_app(app)
    docs.init_app(app)
    envelope.init_app(app)
    pages.init_app(app)
    for command in (cli_users.users_group, cli_keys.keys_group, cli_audit.audit_group, doctor.doctor_command):
        app.cli.add_command(command)
    app.register_blueprint(blueprint.bp)
    pages.check_views(app)
