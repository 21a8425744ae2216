"""`flask keys …`: make API keys and revoke them."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import starmap

import click
from flask.cli import AppGroup

from users import clock, ids
from users.auth.key_states import KeyState
from users.cli.arguments import find_user, period
from users.cli.command import Command, actor
from users.cli.output import json_option, print_array, print_result, print_table, say, say_done
from users.errors import KeyNotFound
from users.roles import Permission, permissions_of
from users.rules import validation
from users.services import api_keys
from users.storage.models import ApiKey

keys_group = AppGroup("keys", help="Make API keys and revoke them.")
keys_group.command_class = Command


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
@click.option("--expires-in", metavar="90d", callback=period)
@json_option
def create_key(
    name: str, scopes: tuple[str, ...], owner: str | None, expires_in: timedelta | None, as_json: bool
) -> None:
    """Make an API key and print it, this once."""
    if not scopes and owner is None:
        raise click.UsageError("A key without an owner needs a --scope, or it could do nothing.")
    key_owner = find_user(owner) if owner is not None else None
    new = validation.new_key(name, frozenset(Permission(scope) for scope in scopes))
    issued = api_keys.create_key(new, owner=key_owner, lifetime=expires_in, actor=actor())
    say_done(f"API key created: {issued.key.name} ({issued.key.id}). It is shown this once.")
    not_held = new.scopes - permissions_of(key_owner.global_role_id) if key_owner else frozenset()
    if key_owner and not key_owner.is_active:
        say(f"Note: {key_owner.email} is deactivated, and so is the key until that changes.")
    if key_owner and not_held:
        missing = " ".join(sorted(not_held))
        say(f"Note: {key_owner.email} does not hold {missing} now, nor does the key.")
    members = issued.key.as_key()
    shown = {"id": members.pop("id"), "key": issued.secret, **members}
    print_result(shown if as_json else None, issued.secret)


@keys_group.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the API keys, oldest first, by their first characters."""
    if as_json:
        print_array(key.as_key() for key in api_keys.list_keys())
    else:
        columns = ("ID", "NAME", "PREFIX", "SCOPES", "OWNER", "CREATED", "LAST USED", "EXPIRES", "STATE")
        print_table(columns, lambda: starmap(_key_row, api_keys.list_keys_with_states()))


@keys_group.command("revoke")
@click.argument("key_id", metavar="ID")
@json_option
def revoke_key(key_id: str, as_json: bool) -> None:
    """Revoke an API key (akid_…), which stops at once."""
    if not ids.is_key_id(key_id):  # Postgres fails on a string with NUL
        raise KeyNotFound
    key = api_keys.revoke_key(key_id, actor=actor())
    say_done(f"API key revoked: {key.name}")
    print_result(key.as_key() if as_json else None, key.id)


def _key_row(key: ApiKey, state: KeyState) -> Sequence[str]:
    used, expires = (clock.rfc3339(at) if at else "never" for at in (key.last_used_at, key.expires_at))
    scopes, created = " ".join(key.scopes), clock.rfc3339(key.created_at)
    return (key.id, key.name, key.prefix, scopes, key.owner_id or "", created, used, expires, state)
