"""The first run: `flask setup-link`, and what a start prints on stderr: what the installation still needs."""

import logging

import click
from flask import Flask
from flask.cli import run_command, with_appcontext
from flask.helpers import get_debug_flag
from werkzeug.serving import is_running_from_reloader

from users import logs, settings
from users.cli.arguments import base_url_option
from users.cli.command import EXIT_EXISTS, Command
from users.cli.output import say, say_done, write
from users.errors import Unavailable
from users.services import api_keys, secret_key_checks
from users.services.links import setup_link


def is_flask_run() -> bool:
    """Tell whether this process is `flask run` about to serve, and not its reloader's parent."""
    context = click.get_current_context(silent=True)
    if context is None or context.command is not run_command:
        return False
    reload = context.params.get("reload")
    return is_running_from_reloader() or not (get_debug_flag() if reload is None else reload)


def print_first_steps(app: Flask) -> None:
    """Print on stderr what this installation still needs, nothing if the database cannot be read."""
    with app.app_context():
        try:
            if not secret_key_checks.introduce(wait=True):
                logs.say(secret_key_checks.UNKNOWN, level=logging.WARNING)
            if not setup_link.is_over():
                logs.say(_how_to_set_up())
            if not api_keys.has_key():
                logs.say("No API key yet. Run: flask keys create my-app --scope users:create")
        except Unavailable:
            pass  # `upgrade.prepare` has printed it


def _how_to_set_up() -> str:
    """Return how to create the first administrator. Only `flask run` offers a link, on its terminal.

    The output of a production server goes to a log, and the link must not.
    """
    base_url = _served_base_url()
    token = setup_link.issue() if base_url else None
    if not base_url or not token:
        return "No administrator yet. Run: flask setup-link"
    return (
        "No administrator yet. Open this link within 30 minutes to create one:\n\n"
        f"    {setup_link.url(base_url, token)}\n\n"
        "or run: flask users create you@example.com --role role_admin\n"
    )


def _served_base_url() -> str | None:
    """Return the URL that `flask run` is about to serve, None under any other command or on a Unix socket."""
    if not is_flask_run():
        return None
    options = click.get_current_context().params
    host: str = options["host"]
    if settings.current().public_url or host.startswith("unix:"):
        return settings.current().public_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    scheme = "https" if options.get("cert") else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{options['port']}"


@click.command("setup-link", cls=Command)
@base_url_option("The address at which the browser reaches Enrol, where ENROL_PUBLIC_URL does not say it.")
@with_appcontext
def setup_link_command(base_url: str | None) -> None:
    """Print a link that creates the first administrator. It works once, for 30 minutes, and ends an earlier one."""
    token = setup_link.issue()
    if not token:
        say("There is an administrator already. See flask users --help for a new password or another user.")
        click.get_current_context().exit(EXIT_EXISTS)
    base_url = base_url or settings.current().public_url
    say_done("Open this link within 30 minutes to create the first administrator:")
    if not base_url:
        say("(It is for the production server on this machine. With flask run, add --base-url http://127.0.0.1:5000.")
        say("From another machine, add --base-url and the address that the browser uses.)")
    write(setup_link.url(base_url or setup_link.DEFAULT_BASE_URL, token))
