"""`flask users …`: change a user, as the pages of one user do."""

from typing import Any

import click

from users import settings
from users.cli import passwords
from users.cli.arguments import find_user, find_user_even_deleted, role_option, text_options, user_argument
from users.cli.command import actor
from users.cli.output import json_option, print_result, say_done
from users.cli.prompts import confirm, yes_option
from users.cli.users import users_group
from users.http import success_bodies
from users.rules import validation
from users.services import user_changes
from users.services.links import password_links
from users.storage.models import User

_LINK_ENDED = ". The open password link has ended: make another one with flask users password-link"


@users_group.command("update")
@user_argument
@click.option("--email", help="A new email, which is not verified yet.")
@text_options
@role_option
@click.option("--no-role", is_flag=True, help="Take the role away.")
@click.option(
    "--must-change/--no-must-change", default=None, help="Whether they must choose a new password when they sign in."
)
@json_option
def update_user(
    user: str,
    email: str | None,
    role: str | None,
    no_role: bool,
    must_change: bool | None,
    as_json: bool,
    **texts: str | None,
) -> None:
    """Change a user. An empty name takes the name away: --last-name ""."""
    if role is not None and no_role:
        raise click.UsageError("Give --role or --no-role, not both.")
    options = {"email": email, **texts, "password_change_required": must_change, "global_role_id": role}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if no_role:
        given["global_role_id"] = None
    if not given:
        raise click.UsageError("Give what is to change, such as --email.")
    before = find_user(user)
    changes = validation.user_changes(given, settings.current().rules)
    changed = user_changes.update_user(before.id, changes, actor=actor())
    is_same = changed.updated_at == before.updated_at
    note = "" if password_links.open_until(changed) == password_links.open_until(before) else _LINK_ENDED
    _tell(changed, "Nothing to change" if is_same else "User changed", as_json, note)


@users_group.command("set-password")
@user_argument
@passwords.password_options
@click.option("--must-change", is_flag=True, help="They must choose a new password when they sign in.")
@json_option
def set_password(user: str, password_stdin: bool, generate_password: bool, must_change: bool, as_json: bool) -> None:
    """Give a user a new password. Without a password option, ask for it."""
    found = find_user(user)
    password = passwords.read(password_stdin, generate_password)
    new = validation.new_password(password, settings.current().rules)
    changed = user_changes.set_password(found.id, new, must_change=must_change or None, actor=actor())
    say_done(f"Password set: {changed.email}")
    passwords.warn_of_weak(new, changed)
    passwords.print_user(changed, password if generate_password else None, as_json)


@users_group.command("deactivate")
@user_argument
@json_option
def deactivate_user(user: str, as_json: bool) -> None:
    """Deactivate a user, whose API keys stop at once."""
    _tell(user_changes.deactivate_user(find_user(user).id, actor=actor()), "User deactivated", as_json)


@users_group.command("reactivate")
@user_argument
@json_option
def reactivate_user(user: str, as_json: bool) -> None:
    """Reactivate a user, whose API keys work again."""
    _tell(user_changes.reactivate_user(find_user(user).id, actor=actor()), "User reactivated", as_json)


@users_group.command("unlock")
@user_argument
@json_option
def unlock_user(user: str, as_json: bool) -> None:
    """Let a user try passwords again after too many wrong ones."""
    _tell(user_changes.unlock_user(find_user(user).id, actor=actor()), "User unlocked", as_json)


@users_group.command("delete")
@user_argument
@yes_option
@json_option
def delete_user(user: str, yes: bool, as_json: bool) -> None:
    """Delete a user, whose API keys stop at once. Another user can then have the email."""
    found = find_user(user)
    if not yes:
        effect = "They can no longer sign in, and their sessions and API keys stop at once."
        confirm(f"Delete {found.email} ({found.id})? {effect} Go on?")
    deleted = user_changes.delete_user(found.id, actor=actor())
    say_done(f"User deleted: {deleted.email}")
    print_result(success_bodies.user_deleted(deleted.id) if as_json else None, deleted.id)


@users_group.command("restore")
@user_argument
@yes_option
@json_option
def restore_user(user: str, yes: bool, as_json: bool) -> None:
    """Restore a deleted user, who is deactivated then."""
    found = find_user_even_deleted(user)
    if found.deleted_at and not yes:
        effect = "They come back deactivated, without sessions, API keys, links and second factors."
        confirm(f"Restore {found.email} ({found.id})? {effect} Go on?")
    restored = user_changes.restore_user(found.id, actor=actor())
    _tell(restored, "User restored" if found.deleted_at else "Nothing to restore", as_json)


def _tell(user: User, what: str, as_json: bool, note: str = "") -> None:
    """Say what was done to the user, and print the user as JSON or only the id."""
    say_done(f"{what}: {user.email}{note}")
    print_result(user.as_user() if as_json else None, user.id)
