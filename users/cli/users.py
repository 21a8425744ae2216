"""`flask users …`: create users, list them and show one. The commands that change a user are in `user_changes`."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import click
from flask.cli import AppGroup

from users import ids, settings
from users.auth.factors import held
from users.cli import passwords
from users.cli.arguments import (
    base_url_option,
    find_user,
    link_lifetime,
    period,
    require_base_url,
    role_option,
    text_options,
    user_argument,
)
from users.cli.command import Command, actor
from users.cli.output import is_still_read, json_option, print_json, print_result, print_table, say, say_done, write
from users.clock import date_and_time
from users.http import urls
from users.rules import validation
from users.services import second_factors, user_creation, user_queries
from users.services.links import password_links
from users.storage.models import User

users_group = AppGroup("users", help="Create users and look after them.")
users_group.command_class = Command
_NO_PASSWORD = "No password yet"  # noqa: S105  (a status)


@users_group.command("create")
@click.argument("email")
@text_options
@role_option
@passwords.password_options
@click.option("--must-change", is_flag=True, help="They must choose a new password when they sign in.")
@click.option("--link", is_flag=True, help="Let them choose the password: print a link for it, alone.")
@click.option(
    "--expires-in", metavar="7d", callback=period, help="How long the link works, from 5m to 30d. By default 7d."
)
@base_url_option("The address that the link begins with, where ENROL_PUBLIC_URL does not say it.")
@json_option
def create_user(
    email: str,
    role: str | None,
    password_stdin: bool,
    generate_password: bool,
    must_change: bool,
    link: bool,
    expires_in: timedelta | None,
    base_url: str | None,
    as_json: bool,
    **texts: str | None,
) -> None:
    """Create a user. Without --link or a password option, ask for the password."""
    given: dict[str, Any] = {"email": email, **texts, "global_role_id": role}
    if link:
        if password_stdin or generate_password or must_change:
            raise click.UsageError("With --link the user chooses the password: give no option for one.")
        _invite(given, expires_in, base_url, as_json)
    else:
        if expires_in or base_url:
            raise click.UsageError("--expires-in and --base-url are for a link: give --link too.")
        password = passwords.read(password_stdin, generate_password, before_asking=lambda: _check(given))
        given |= {"password": password, "password_change_required": must_change}
        _create(given, password if generate_password else None, as_json)


@users_group.command("list")
@click.option("--after", default="", metavar="ID", help="Only users created after this one.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000))
@click.option("--active-only", is_flag=True, help="Leave out deactivated users.")
@json_option
def list_users(after: str, limit: int, active_only: bool, as_json: bool) -> None:
    """List the users, oldest first."""
    if after and not ids.is_user_id(after):
        raise click.BadParameter("takes the id of a user.", param_hint="--after")
    users = user_queries.list_users(user_queries.ACTIVE if active_only else user_queries.ALL, after=after, limit=limit)
    if as_json:
        print_json([user.as_user() for user in users])
    else:
        print_table(("ID", "EMAIL", "NAME", "STATUS", "ROLE", "CREATED"), lambda: map(_row, users))
    if len(users) == limit and is_still_read():
        say(f"There may be more: --after {users[-1].id}")


@users_group.command("show")
@user_argument
@json_option
def show_user(user: str, as_json: bool) -> None:
    """Show one user."""
    found = find_user(user)
    if as_json:
        print_json(found.as_profile())
    else:
        for label, value in _facts(found):
            write(f"{label}: {value}")


def _check(given: dict[str, Any]) -> None:
    """Raise every error that creating this user would have without a look at the password."""
    new = validation.new_user(given, settings.current().rules, fields=validation.ADMIN_INVITE_FIELDS)
    user_creation.check_new_user(new, actor=actor())


def _create(given: dict[str, Any], generated: str | None, as_json: bool) -> None:
    new = validation.new_user(given, settings.current().rules, fields=validation.ADMIN_FIELDS)
    user = user_creation.create_user(new, actor=actor())
    say_done(f"User created: {user.email} ({user.id})")
    passwords.warn_of_weak(given["password"], user)
    passwords.print_user(user, generated, as_json)


def _invite(given: dict[str, Any], expires_in: timedelta | None, base_url: str | None, as_json: bool) -> None:
    base = require_base_url(base_url)
    given |= link_lifetime(expires_in)
    rules, fields = settings.current().rules, validation.ADMIN_INVITE_FIELDS
    new, lifetime = validation.invitation(given, rules, fields=fields)
    made = password_links.invite(new, lifetime=lifetime, actor=actor())
    say_done(f"User created: {made.user.email} ({made.user.id}). {how_to_use(made)}")
    members = urls.password_link(base, made)
    print_result({"user": made.user.as_user(), **members} if as_json else None, members["password_url"])


def how_to_use(link: password_links.PasswordLink) -> str:
    """Return what to do with a password link, which is printed alone."""
    return f"Send them this link to choose their password. It works once, until {date_and_time(link.ends_at)}:"


def _row(user: User) -> Sequence[str]:
    profile = user.as_profile()
    status = "active" if user.is_active else "deactivated"
    return (
        user.id,
        user.email,
        profile["full_name"] or "",
        status if user.has_password else f"{status}, {_NO_PASSWORD.lower()}",
        user.global_role_id or "",
        profile["created_at"],
    )


def _facts(user: User) -> Iterator[tuple[str, str]]:
    """Yield what is known of the user under the labels of the user's page."""
    yield "Email", user.email
    yield "Name", user.as_profile()["full_name"] or "None"
    yield "ID", user.id
    yield "Status", "Active" if user.is_active else "Deactivated"
    yield "Role", user.global_role_id or "None"
    yield "Password", _password_state(user)
    link_end = password_links.open_until(user)
    yield "Password link", f"Ends {date_and_time(link_end)}" if link_end else "No open link"
    yield "Second factor", second_factors.in_words(held.of_user(user.id))
    yield "Email verified", date_and_time(user.last_verified) if user.last_verified else "Not yet"
    yield "Last sign-in", date_and_time(user.last_login) if user.last_login else "Never"
    yield "Created", date_and_time(user.created_at)
    yield "Changed", date_and_time(user.updated_at)


def _password_state(user: User) -> str:
    if not user.has_password:
        return _NO_PASSWORD
    return "Set. They must choose a new one when they sign in" if user.password_change_required else "Set"
