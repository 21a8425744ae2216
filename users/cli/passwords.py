"""The password that a command sets: typed at the terminal, read from standard input, or generated."""

from collections.abc import Callable
from typing import Any

import click

from users import settings
from users.cli.output import print_result, say
from users.cli.prompts import ask_for_password, read_password, require_terminal
from users.errors import Invalid
from users.passwords import policy
from users.roles import permissions_of
from users.rules import validation
from users.storage.models import User

_ATTEMPTS = 3


def password_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options `--password-stdin` and `--generate-password`."""
    generate = click.option("--generate-password", is_flag=True, help="Make a strong password and print it, alone.")
    stdin = click.option("--password-stdin", is_flag=True, help="Read the password, one line, from standard input.")
    return stdin(generate(command))


def read(from_stdin: bool, generate: bool, *, before_asking: Callable[[], None] | None = None) -> str:
    """Return the password that the options ask for, not validated yet. It is never in argv, which others can read.

    `before_asking` is called before a person types one: an error that it raises spares them that.
    """
    if from_stdin and generate:
        raise click.UsageError("Give --password-stdin or --generate-password, not both.")
    if generate:
        return policy.generate(settings.current().rules.password_min_length)
    if from_stdin:
        return read_password()
    require_terminal("Give --password-stdin or --generate-password: there is no terminal to ask at.")
    if before_asking:
        before_asking()
    return _ask()


def _ask() -> str:
    """Ask until a password is accepted, three times at most."""
    for _ in range(_ATTEMPTS - 1):
        answer = ask_for_password()
        try:
            validation.new_password(answer, settings.current().rules)
        except Invalid as refused:
            say(f"{refused.message}.")
        else:
            return answer
    return ask_for_password()


def warn_of_weak(password: str, user: User) -> None:
    """Warn on stderr if `user`, whose password this is now, holds a permission and could not choose it at the pages."""
    if not permissions_of(user.global_role_id):
        return
    try:
        validation.new_password(password, settings.current().rules_for_own_password(user.global_role_id))
    except Invalid as refused:
        cause = "holds permissions and could not choose this password at the pages"
        say(f"Warning: {user.email} {cause}. {refused.message}.")


def print_user(user: User, generated: str | None, as_json: bool) -> None:
    """Print the user whose password was set, and the password if it was generated; without JSON the latter alone."""
    members: dict[str, Any] | None = user.as_user() if as_json else None
    if members and generated:
        members = {"user": members, "password": generated}
    print_result(members, generated or user.id)
