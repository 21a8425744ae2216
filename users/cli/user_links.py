"""`flask users password-link` and `flask users verify`: links for one user, and the email marked as verified."""

from datetime import timedelta

import click

from users.cli.arguments import base_url_option, find_user, link_lifetime, period, require_base_url, user_argument
from users.cli.command import actor
from users.cli.output import json_option, print_result, say_done
from users.cli.users import how_to_use, users_group
from users.clock import date_and_time, rfc3339
from users.http import success_bodies, urls
from users.rules import validation
from users.services import user_changes
from users.services.links import email_verification, password_links

_base_url = base_url_option("The address that the link begins with, where ENROL_PUBLIC_URL does not say it.")


@users_group.command("password-link")
@user_argument
@click.option(
    "--expires-in",
    metavar="24h",
    callback=period,
    help="How long the link works, from 5m to 30d. By default 24h, and 7d for a user without a password.",
)
@click.option("--revoke", is_flag=True, help="End the open link and make none.")
@_base_url
@json_option
def password_link(user: str, expires_in: timedelta | None, revoke: bool, base_url: str | None, as_json: bool) -> None:
    """Print a link to choose a password with. It ends any link before it."""
    if not revoke:
        _make_password_link(user, expires_in, require_base_url(base_url), as_json)
    elif expires_in or base_url:
        raise click.UsageError("With --revoke no link is made: give no other option.")
    else:
        ended = password_links.revoke(find_user(user).id, actor=actor())
        say_done(f"No password link is open now: {ended.email}")
        print_result(success_bodies.password_link_ended(ended.id) if as_json else None, ended.id)


@users_group.command("verify")
@user_argument
@click.option("--link", is_flag=True, help="Verify nothing yet: print a link with which they do it, alone.")
@_base_url
@json_option
def verify_user(user: str, link: bool, base_url: str | None, as_json: bool) -> None:
    """Mark the email of a user as verified now."""
    if link:
        _make_verification_link(user, require_base_url(base_url), as_json)
    elif base_url:
        raise click.UsageError("--base-url is for a link: give --link too.")
    else:
        verified = user_changes.verify_user(find_user(user).id, actor=actor())
        say_done(f"Email verified: {verified.email}")
        print_result(verified.as_user() if as_json else None, verified.id)


def _make_password_link(user: str, expires_in: timedelta | None, base_url: str, as_json: bool) -> None:
    found, lifetime = find_user(user), validation.link_lifetime(link_lifetime(expires_in))
    made = password_links.make(found.id, lifetime=lifetime, actor=actor())
    say_done(f"{made.user.email}: {how_to_use(made)}")
    members = urls.password_link(base_url, made)
    print_result(members if as_json else None, members["password_url"])


def _make_verification_link(user: str, base_url: str, as_json: bool) -> None:
    made = email_verification.issue(find_user(user).id, actor=actor())
    end = date_and_time(made.expires_at)
    say_done(f"{made.user.email}: Send them this link to verify their email. It works until {end}:")
    url = urls.link(base_url, "users.show_verify", made.token)
    print_result({"verification_url": url, "expires_at": rfc3339(made.expires_at)} if as_json else None, url)
