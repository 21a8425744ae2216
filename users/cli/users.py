"""`flask users …`: create users and look after them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import click
from flask.cli import AppGroup

from users import clock, ids, settings
from users.cli.arguments import find_user, period
from users.cli.command import Command, actor
from users.cli.output import json_option, print_json, print_result, print_table, say, say_done, write
from users.cli.prompts import ask_for_password, confirm, read_password, yes_option
from users.passwords import policy
from users.roles import Role
from users.rules import validation
from users.services import user_changes, user_creation, user_purge, user_queries
from users.storage import database

users_group = AppGroup("users", help="Create users and look after them.")
users_group.command_class = Command


def _text_options(command: Callable[..., None]) -> Callable[..., None]:
    for field in reversed(validation.TEXT_FIELDS):
        command = click.option(f"--{field.name.replace('_', '-')}")(command)
    return command


def _password_options(command: Callable[..., None]) -> Callable[..., None]:
    generate = click.option("--generate-password", is_flag=True, help="Make a strong password and print it, alone.")
    stdin = click.option("--password-stdin", is_flag=True, help="Read the password, one line, from standard input.")
    return stdin(generate(command))


@users_group.command("create")
@click.argument("email")
@_text_options
@click.option("--role", help=f"One of {', '.join(Role)}.")
@_password_options
@json_option
def create_user(
    email: str,
    role: str | None,
    password_stdin: bool,
    generate_password: bool,
    as_json: bool,
    **texts: str | None,
) -> None:
    """Create a user. Without a password option, ask for the password."""
    password = _read_password(password_stdin, generate_password, as_json)
    given = {"email": email, **texts, "password": password, "global_role_id": role}
    new = validation.new_user(given, settings.current().rules, fields=validation.ADMIN_FIELDS)
    user = user_creation.create_user(new, actor=actor())
    say_done(f"User created: {user.email} ({user.id})")
    print_result(user.as_user() if as_json else None, password if generate_password else user.id)


@users_group.command("list")
@click.option("--after", default="", metavar="ID", help="Only users created after this one.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--active-only", is_flag=True, help="Leave out deactivated users.")
@json_option
def list_users(after: str, limit: int, active_only: bool, as_json: bool) -> None:
    """List the users, oldest first."""
    if after and not ids.is_user_id(after):
        raise click.BadParameter("takes the id of a user.", param_hint="--after")
    users = user_queries.list_users(after=after, limit=limit, active_only=active_only)
    if as_json:
        print_json([user.as_user() for user in users])
    else:
        columns = ("ID", "EMAIL", "NAME", "STATUS", "ROLE", "CREATED")
        print_table(columns, lambda: [_user_row(user.as_profile()) for user in users])
    if len(users) == limit:
        say(f"There may be more: --after {users[-1].id}")


@users_group.command("show")
@click.argument("user", metavar="EMAIL_OR_ID")
@json_option
def show_user(user: str, as_json: bool) -> None:
    """Show one user."""
    profile = find_user(user).as_profile()
    if as_json:
        print_json(profile)
    else:
        for name, value in profile.items():
            write(f"{name}: {'' if value is None else value}")


@users_group.command("deactivate")
@click.argument("user", metavar="EMAIL_OR_ID")
@json_option
def deactivate_user(user: str, as_json: bool) -> None:
    """Deactivate a user, whose API keys stop at once."""
    changed = user_changes.deactivate_user(find_user(user).id, actor=actor())
    say_done(f"User deactivated: {changed.email}")
    print_result(changed.as_user() if as_json else None, changed.id)


@users_group.command("set-password")
@click.argument("user", metavar="EMAIL_OR_ID")
@_password_options
@json_option
def set_password(user: str, password_stdin: bool, generate_password: bool, as_json: bool) -> None:
    """Give a user a new password. Without a password option, ask for it."""
    found = find_user(user)
    given = _read_password(password_stdin, generate_password, as_json)
    password = validation.new_password(given, settings.current().rules)
    changed = user_changes.set_password(found.id, password, actor=actor())
    say_done(f"Password set: {changed.email}")
    print_result(changed.as_user() if as_json else None, password if generate_password else changed.id)


@users_group.command("unlock")
@click.argument("user", metavar="EMAIL_OR_ID")
@json_option
def unlock_user(user: str, as_json: bool) -> None:
    """Let a user try passwords again after too many wrong ones."""
    unlocked = user_changes.unlock_user(find_user(user).id, actor=actor())
    say_done(f"User unlocked: {unlocked.email}")
    print_result(unlocked.as_user() if as_json else None, unlocked.id)


@users_group.command("purge")
@click.option("--deleted-before", metavar="30d", callback=period, required=True, help="How long ago they were deleted.")
@yes_option
def purge_users(deleted_before: timedelta, yes: bool) -> None:
    """Erase for good the users who were deleted long ago; print how many."""
    moment = clock.now() - deleted_before
    if not yes:
        confirm(f"Users to erase for good, with their API keys: {user_purge.count(moment)}. Go on?")
    erased = user_purge.purge_users(moment, actor=actor())
    say_done("Users erased for good:")
    try:
        write(erased)
    finally:  # also if nothing can be printed
        _erase_remains()


def _erase_remains() -> None:
    """Name the copies of the database that hold erased users, and remove their traces from its file."""
    for copy in user_purge.copies_with_erased():
        say(f"Erased users are still in this copy, made before an upgrade. Delete it: {copy}")
    if not database.compact():
        raise click.ClickException(
            "Remains of the erased may still be in the database file or its -wal: another program kept it busy, "
            "or the disk has no room to write it anew. Run this command again."
        )


def _read_password(from_stdin: bool, generate: bool, as_json: bool) -> str:
    """Return the password that the options ask for, not validated yet. It is never in argv, which others can read."""
    if from_stdin and generate:
        raise click.UsageError("Give --password-stdin or --generate-password, not both.")
    if generate and as_json:
        raise click.UsageError("--generate-password prints the password alone and cannot be combined with --json.")
    if generate:
        return policy.generate(settings.current().rules.password_min_length)
    if from_stdin:
        return read_password()
    return ask_for_password()


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
