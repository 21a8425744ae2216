"""`flask doctor`: check what an installation needs, and say what to do where a check fails."""

from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from users import settings
from users.cli.command import EXIT_UNEXPECTED, Command
from users.cli.doctor.addresses import check_addresses, check_requests
from users.cli.doctor.database import check_administrator, check_database, check_keys
from users.cli.doctor.findings import Finding, Level
from users.cli.doctor.hashing import check_hashing, check_imported_hashes
from users.cli.doctor.installation import check_environment, check_instance, check_secret_key, check_versions
from users.cli.doctor.second_factors import check_second_factors
from users.cli.output import write
from users.logs import commands
from users.storage.deadlines import at_most

DATABASE_SECONDS = 2  # for all checks together; once a connection has taken them, the other checks open none


class _Check(Command):
    makes_tables = False  # it changes nothing


@click.command("doctor", cls=_Check)
@with_appcontext
def doctor_command() -> None:
    """Check this installation: a line each, ok or what to do."""
    findings = _check_installation()
    for finding in findings:
        write(f"{finding.level:<4} {finding.subject}: {commands.runnable(finding.words)}")
    if any(finding.level is Level.FAILED for finding in findings):
        click.get_current_context().exit(EXIT_UNEXPECTED)


def _check_installation() -> list[Finding]:
    """Return the results of all checks, in the order in which they are printed."""
    given = settings.current()
    hashing = check_hashing(given)  # it may take a second
    with at_most(DATABASE_SECONDS):
        return [
            check_versions(),
            check_environment(given),
            check_database(),
            check_instance(Path(current_app.instance_path), given),
            check_secret_key(given),
            check_administrator(),
            check_keys(),
            hashing,
            check_imported_hashes(),
            check_addresses(given),
            check_requests(given),
            check_second_factors(given),  # the last: to open many seals takes time, which the others need not lose
        ]
