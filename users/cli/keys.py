"""`flask keys …`: make API keys, list, roll and revoke them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import starmap
from typing import Any

import click
from flask.cli import AppGroup

from users import clock, ids
from users.auth.key_states import KeyState
from users.cli.arguments import find_user, period, period_or
from users.cli.command import Command, actor
from users.cli.output import json_option, print_array, print_result, print_table, say, say_done
from users.cli.prompts import confirm, yes_option
from users.errors import KeyNotFound
from users.roles import Permission, permissions_of
from users.rules import validation
from users.services import api_keys
from users.services.api_keys import IssuedKey
from users.storage.models import ApiKey

keys_group = AppGroup("keys", help="Make API keys, list, roll and revoke them.")
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
    _print_key(issued, as_json)


@keys_group.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the API keys, oldest first, by their first characters."""
    if as_json:
        print_array(starmap(_members, api_keys.list_keys_with_states()))
    else:
        columns = ("ID", "NAME", "PREFIX", "SCOPES", "OWNER", "CREATED", "LAST USED", "EXPIRES", "STATE")
        print_table(columns, lambda: starmap(_key_row, api_keys.list_keys_with_states()))


@keys_group.command("roll")
@click.argument("key_id", metavar="ID")
@click.option(
    "--ends-in",
    metavar="1d",
    default="1d",
    show_default=True,
    callback=period_or("now"),
    help='How long the old key still works, or "now".',
)
@click.option(
    "--expires-in",
    metavar="90d",
    callback=period_or("never"),
    help='How long the new key works, or "never". By default 90d if the old key expires, else "never".',
)
@json_option
def roll_key(key_id: str, ends_in: timedelta, expires_in: timedelta | None, as_json: bool) -> None:
    """Make a key in the place of another (akid_…) and print it, this once. The old one works a while longer."""
    old = _find_key(key_id)
    lifetime = api_keys.suggested_lifetime(old) if expires_in is None else expires_in or None
    issued = api_keys.roll_key(old.id, ends_in=ends_in, new_id=ids.new_id("akid"), lifetime=lifetime, actor=actor())
    end = _time_or_never(issued.old.expires_at if issued.old else None)
    say_done(f"API key rolled: {issued.key.name}. The old key ({old.id}) stops at {end}.")
    say(f"The new key ({issued.key.id}) expires: {_time_or_never(issued.key.expires_at)}. It is shown this once.")
    _print_key(issued, as_json)


@keys_group.command("revoke")
@click.argument("key_id", metavar="ID")
@yes_option
@json_option
def revoke_key(key_id: str, yes: bool, as_json: bool) -> None:
    """Revoke an API key (akid_…), which stops at once."""
    key = _find_key(key_id)
    if not (yes or key.deactivated_at):
        confirm(f"Revoke {key.name} ({key.prefix}…)? Programs that use it are refused at once, for good. Go on?")
    key = api_keys.revoke_key(key.id, actor=actor())
    say_done(f"API key revoked: {key.name}")
    print_result(key.as_key() if as_json else None, key.id)


def _find_key(key_id: str) -> ApiKey:
    if not ids.is_key_id(key_id):  # Postgres fails on a string with NUL
        raise KeyNotFound
    return api_keys.get_key(key_id)


def _print_key(issued: IssuedKey, as_json: bool) -> None:
    """Print the new key: alone, or among its members as JSON."""
    members = issued.key.as_key()
    shown = {"id": members.pop("id"), "key": issued.secret, **members}
    print_result(shown if as_json else None, issued.secret)


def _members(key: ApiKey, state: KeyState) -> dict[str, Any]:
    deactivated, used = (at and clock.rfc3339(at) for at in (key.deactivated_at, key.last_used_at))
    return {**key.as_key(), "deactivated_at": deactivated, "last_used_at": used, "state": state}


def _key_row(key: ApiKey, state: KeyState) -> Sequence[str]:
    used, expires = (_time_or_never(at) for at in (key.last_used_at, key.expires_at))
    scopes, created = " ".join(key.scopes), clock.rfc3339(key.created_at)
    return (key.id, key.name, key.prefix, scopes, key.owner_id or "", created, used, expires, state)


def _time_or_never(at: datetime | None) -> str:
    return clock.rfc3339(at) if at else "never"
