"""The door for the operator: flask users, keys, audit and doctor, and what `flask run` prints at its start."""

from typing import Any

import click
from flask import Flask

from users.cli import (  # noqa: F401  (the import adds their commands to the group)
    adopt_key,
    audit,
    bulk,
    doctor,
    first_run,
    keys,
    output,
    user_changes,
    user_factors,
    user_links,
    user_purge,
    users,
)

_SHOWN = {"adopt-key", "current", "upgrade"}


def init_app(app: Flask) -> None:
    """Give `app` its commands, and this process output that never fails if it is a command."""
    if click.get_current_context(silent=True):
        output.escape_what_cannot_be_encoded()
    groups = (users.users_group, keys.keys_group, audit.audit_group, bulk.jobs_group)
    for command in (*groups, doctor.doctor_command, first_run.setup_link_command):
        app.cli.add_command(command)
    migrations: Any = app.cli.commands["db"]  # Flask-Migrate's group
    migrations.add_command(adopt_key.adopt_key_command)
    for name, command in migrations.commands.items():
        command.hidden = name not in _SHOWN  # the others are for developers
