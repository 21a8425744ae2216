"""`flask users reset-second-factor`: for a user who has lost their second factor, also for the only administrator."""

from users.auth.factors import held
from users.cli.arguments import find_user, user_argument
from users.cli.command import actor
from users.cli.output import json_option, print_result, say_done
from users.cli.prompts import confirm, yes_option
from users.cli.users import users_group
from users.services import second_factors


@users_group.command("reset-second-factor")
@user_argument
@yes_option
@json_option
def reset_second_factor(user: str, yes: bool, as_json: bool) -> None:
    """Remove all second factors and recovery codes of a user, and end their sessions. The password is then enough."""
    found = find_user(user)
    factors = held.of_user(found.id)
    if factors and not yes:
        effect = "All factors and recovery codes go, and their sessions end. Their password alone then signs them in."
        confirm(f"Reset the second factor of {found.email} ({second_factors.in_words(factors)})? {effect} Go on?")
    reset = second_factors.reset(found.id, actor=actor())
    say_done(f"{'Second factor reset' if factors else 'No second factor to reset'}: {reset.email}")
    print_result(reset.as_user() if as_json else None, reset.id)
