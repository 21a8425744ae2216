"""The command line: `flask users`, `flask keys`, `flask doctor`. Data on stdout, words on stderr (SPEC, section 4)."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any

import click
from flask import Flask, current_app, jsonify
from flask.cli import AppGroup, run_command, with_appcontext
from flask.helpers import get_debug_flag
from werkzeug.serving import is_running_from_reloader

from users import clock, doctor, emails, envelope, ids, logs, passwords, service, settings, setup, validation
from users.access import Actor, terminal
from users.errors import Conflict, EnrolError, Invalid, LastAdministrator, NotFound, Unavailable, UserNotFound
from users.models import ApiKey, User
from users.roles import Permission, permissions_of

EXIT_UNEXPECTED, EXIT_VALIDATION, EXIT_EXISTS, EXIT_NOT_FOUND = 1, 3, 4, 5  # 2, usage, is click's own
_EXIT_CODES: dict[type[EnrolError], int] = {
    Invalid: EXIT_VALIDATION,
    LastAdministrator: EXIT_VALIDATION,
    Conflict: EXIT_EXISTS,
    NotFound: EXIT_NOT_FOUND,
}
_STDIN_BYTES = 64 * 1024  # far over the longest password, so that one too long is told so
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36500)


class Command(click.Command):
    """A command whose errors are a sentence on stderr (with --json the envelope on stdout too) and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. No error shows a traceback: one of a driver or a library may quote what was written."""
        if sys.stdout is None:  # closed: what is shown once would be shown to nobody
            raise click.ClickException("Standard output is closed; there is nowhere to print to.")
        try:
            return super().invoke(ctx)
        except EnrolError as error:
            self._fail(ctx, error)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            raise  # the reader has seen enough (`| head`); click ends quietly
        except Exception as error:
            logs.unexpected(error)
            click.echo("Something went wrong; the line above says where.", err=True)
            ctx.exit(EXIT_UNEXPECTED)

    def _fail(self, ctx: click.Context, error: EnrolError) -> None:
        if ctx.params.get("as_json"):
            _print_json(envelope.body(error, envelope.new_trace_id()))
        for sentence in _sentences(error):
            click.echo(sentence, err=True)
        codes = (code for kind, code in _EXIT_CODES.items() if isinstance(error, kind))
        ctx.exit(next(codes, EXIT_UNEXPECTED))


def _sentences(error: EnrolError) -> Iterable[str]:
    if isinstance(error, Invalid):
        return [one.message for one in error.errors]
    if isinstance(error, Conflict) and error.user_id:
        return [f"{error.message}: {error.user_id}"]
    return [error.hint if isinstance(error, Unavailable) else error.message]


users_group = AppGroup("users", help="Create users and look after them.")
users_group.command_class = Command
keys_group = AppGroup("keys", help="Make API keys and revoke them.")
keys_group.command_class = Command

_json_option = click.option("--json", "as_json", is_flag=True, help="Print what the API would answer.")


def _password_options(command: Callable[..., None]) -> Callable[..., None]:
    generate = click.option("--generate-password", is_flag=True, help="Make a strong password and print it, alone.")
    stdin = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
    return stdin(generate(command))


def init_app(app: Flask) -> None:
    """Put the commands on `app`."""
    app.cli.add_command(users_group)
    app.cli.add_command(keys_group)
    app.cli.add_command(doctor_command)


def is_flask_run() -> bool:
    """Tell whether this process is `flask run` about to serve, and not its reloader's parent."""
    context = click.get_current_context(silent=True)
    if context is None or context.command is not run_command:
        return False
    reload = context.params.get("reload")
    return is_running_from_reloader() or not (get_debug_flag() if reload is None else reload)


def tell_first_steps(app: Flask) -> None:
    """Say on stderr what a new installation still needs; nothing when it needs nothing or has no database."""
    with app.app_context():
        try:
            if not setup.is_over():
                click.echo(_how_to_set_up(), err=True)
            if not service.list_keys():
                click.echo("No API key yet. Run: flask keys create my-app --scope users:create", err=True)
        except Unavailable:
            pass  # `upgrading.prepare` has said so


def _how_to_set_up() -> str:
    """Return what creates the first administrator: under `flask run` a link, which is for this terminal alone.

    A production server's output goes to a log, and the link must not.
    """
    command = "flask users create you@example.com --role role_admin"
    address = _served_address()
    token = setup.issue() if address else None
    if not token:
        return f"No administrator yet. Run: {command}"
    return (
        "No administrator yet. Open this link within 30 minutes to create one:\n\n"
        f"    {address}/setup?token={token}\n\n"
        f"or run: {command}\n"
    )


def _served_address() -> str | None:
    """Return the address that `flask run` is about to serve at, None under any other command or on a Unix socket."""
    if not is_flask_run():
        return None
    options = click.get_current_context().params
    host: str = options["host"]
    if settings.current().public_url or host.startswith("unix:"):
        return settings.current().public_url
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)
    scheme = "https" if options.get("cert") else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{options['port']}"


@users_group.command("create")
@click.argument("email")
@click.option("--first-name")
@click.option("--last-name")
@click.option("--role", help="One of role_admin, role_operator, role_auditor, role_member.")
@_password_options
@_json_option
def create_user(
    email: str,
    first_name: str | None,
    last_name: str | None,
    role: str | None,
    password_stdin: bool,
    generate_password: bool,
    as_json: bool,
) -> None:
    """Create a user. Without a password option, ask for the password."""
    password = _password(password_stdin, generate_password, as_json)
    given = {
        "email": email,
        "first_name": first_name,
        "last_name": last_name,
        "password": password,
        "global_role_id": role,
    }
    new = validation.new_user(given, settings.current().rules, fields=validation.ADMIN_FIELDS)
    user = service.create_user(new, actor=_actor())
    click.echo(f"User created: {user.email} ({user.id})", err=True)
    _print_result(user.as_user() if as_json else None, password if generate_password else user.id)


@users_group.command("list")
@click.option("--after", default="", metavar="ID", help="Only users created after this one.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--active-only", is_flag=True, help="Leave out deactivated users.")
@_json_option
def list_users(after: str, limit: int, active_only: bool, as_json: bool) -> None:
    """List the users, oldest first."""
    users = service.list_users(after=after, limit=limit, active_only=active_only)
    if as_json:
        _print_json([user.as_user() for user in users])
    else:
        columns = ("ID", "EMAIL", "NAME", "STATUS", "ROLE", "CREATED")
        _print_table(columns, [_user_row(user.as_profile()) for user in users])
    if len(users) == limit:
        click.echo(f"There may be more: --after {users[-1].id}", err=True)


@users_group.command("show")
@click.argument("user", metavar="EMAIL_OR_ID")
@_json_option
def show_user(user: str, as_json: bool) -> None:
    """Show one user."""
    profile = _find(user).as_profile()
    if as_json:
        _print_json(profile)
    else:
        for name, value in profile.items():
            click.echo(f"{name}: {'' if value is None else value}")


@users_group.command("deactivate")
@click.argument("user", metavar="EMAIL_OR_ID")
@_json_option
def deactivate_user(user: str, as_json: bool) -> None:
    """Deactivate a user, whose API keys stop at once."""
    changed = service.deactivate_user(_find(user).id, actor=_actor())
    click.echo(f"User deactivated: {changed.email}", err=True)
    _print_result(changed.as_user() if as_json else None, changed.id)


@users_group.command("set-password")
@click.argument("user", metavar="EMAIL_OR_ID")
@_password_options
@_json_option
def set_password(user: str, password_stdin: bool, generate_password: bool, as_json: bool) -> None:
    """Give a user a new password. Without a password option, ask for it."""
    found = _find(user)
    password = validation.new_password(_password(password_stdin, generate_password, as_json), settings.current().rules)
    changed = service.set_password(found.id, password, actor=_actor())
    click.echo(f"Password set: {changed.email}", err=True)
    _print_result(changed.as_user() if as_json else None, password if generate_password else changed.id)


@keys_group.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([one.value for one in Permission]),
    help="May be given several times.",
)
@click.option("--owner", metavar="EMAIL_OR_ID", help="The user the key belongs to; without one it is a service key.")
@click.option("--expires-in", metavar="90d", callback=lambda _context, _option, value: _lifetime(value))
@_json_option
def create_key(
    name: str, scopes: tuple[str, ...], owner: str | None, expires_in: timedelta | None, as_json: bool
) -> None:
    """Make an API key and print it, this once."""
    if not scopes and owner is None:
        raise click.UsageError("A key without an owner needs a --scope, or it could do nothing.")
    holder = _find(owner) if owner is not None else None
    new = validation.new_key(name, frozenset(Permission(scope) for scope in scopes))
    issued = service.create_key(new, owner=holder, lifetime=expires_in, actor=_actor())
    click.echo(f"API key created: {issued.key.name} ({issued.key.id}). It is shown this once.", err=True)
    idle = new.scopes - permissions_of(holder.global_role_id) if holder else frozenset()
    if holder and not holder.is_active:
        click.echo(f"Note: {holder.email} is deactivated, and so is the key until that changes.", err=True)
    if holder and idle:
        click.echo(f"Note: {holder.email} does not hold {' '.join(sorted(idle))} now, nor does the key.", err=True)
    members = issued.key.as_key()
    shown = {"id": members.pop("id"), "key": issued.secret, **members}
    _print_result(shown if as_json else None, issued.secret)


@keys_group.command("list")
@_json_option
def list_keys(as_json: bool) -> None:
    """List the API keys, oldest first, by their first characters."""
    keys = service.list_keys()
    if as_json:
        _print_json([key.as_key() for key in keys])
    else:
        columns = ("ID", "NAME", "PREFIX", "SCOPES", "OWNER", "CREATED", "LAST USED", "EXPIRES", "STATE")
        _print_table(columns, [_key_row(key) for key in keys])


@keys_group.command("revoke")
@click.argument("key_id", metavar="ID")
@_json_option
def revoke_key(key_id: str, as_json: bool) -> None:
    """Revoke an API key (akid_…), which stops at once."""
    key = service.revoke_key(key_id, actor=_actor())
    click.echo(f"API key revoked: {key.name}", err=True)
    _print_result(key.as_key() if as_json else None, key.id)


@click.command("doctor", cls=Command)
@with_appcontext
def doctor_command() -> None:
    """Check this installation: a line each, ok or what to do."""
    findings = doctor.examine(current_app)
    for finding in findings:
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'} {finding.subject}: {finding.words}")
    if not all(finding.ok for finding in findings):
        click.get_current_context().exit(EXIT_UNEXPECTED)


def _actor() -> Actor:
    return terminal(envelope.new_trace_id())


def _find(reference: str) -> User:
    """Return the user with this id or email."""
    if ids.is_user_id(reference):
        return service.get_user(reference)
    try:
        key = emails.lookup_key(reference)
    except emails.BadEmail:
        raise UserNotFound from None
    return service.get_user_by_email(key)


def _password(from_stdin: bool, generate: bool, as_json: bool) -> str:
    """Return the password that the options ask for, not yet validated. It never stands in argv."""
    if from_stdin and generate:
        raise click.UsageError("Give --password-stdin or --generate-password, not both.")
    if generate and as_json:
        raise click.UsageError("--generate-password prints the password alone and cannot be combined with --json.")
    if generate:
        return passwords.generate(settings.current().rules.password_min_length)
    if from_stdin and sys.stdin is not None:
        # Bytes that are not UTF-8 become lone surrogates, which validation refuses.
        text = sys.stdin.buffer.read(_STDIN_BYTES).decode("utf-8", "surrogateescape")
        return re.sub(r"\r?\n\Z", "", text)  # the one line break that echo or an editor adds
    if not _at_a_terminal():
        raise click.UsageError("Give --password-stdin or --generate-password: there is no terminal to ask at.")
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer


def _at_a_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _lifetime(value: str | None) -> timedelta | None:
    if value is None:
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mhdw])", value)
    lifetime = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta.max
    if lifetime > _LONGEST:
        raise click.BadParameter("takes a number and a unit, m, h, d or w: 90d. At most 36500d.")
    return lifetime


def _print_json(value: object) -> None:
    """Print `value` to the letter as the API would send it."""
    click.echo(jsonify(value).get_data(as_text=True), nl=False)


def _print_result(members: dict[str, Any] | None, alone: str) -> None:
    """Print `members` as JSON or, where --json was not given, the one thing a script would want."""
    if members is None:
        click.echo(alone)
    else:
        _print_json(members)


def _user_row(user: dict[str, Any]) -> Sequence[str]:
    status = "active" if user["is_active"] else "deactivated"
    return (
        user["id"],
        user["email"],
        user["full_name"] or "",
        status,
        user["global_role_id"] or "",
        user["created_at"],
    )


def _key_row(key: ApiKey) -> Sequence[str]:
    state = "active"
    if key.deactivated_at:
        state = "revoked"
    elif key.expires_at and key.expires_at <= clock.now():
        state = "expired"
    used, expires = (clock.rfc3339(at) if at else "never" for at in (key.last_used_at, key.expires_at))
    scopes, created = " ".join(key.scopes), clock.rfc3339(key.created_at)
    return (key.id, key.name, key.prefix, scopes, key.owner_id or "", created, used, expires, state)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
