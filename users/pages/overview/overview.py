"""The page "Overview": users in numbers, the last 30 days as pictures, and what needs attention."""

from flask import g, redirect, render_template, url_for

from users.auth.factors import coverage
from users.blueprint import bp
from users.pages import login_redirect
from users.pages.guards import PageResponse, page
from users.pages.overview import charts
from users.roles import ALL_PERMISSIONS, Permission
from users.services import key_queries
from users.services.overview import daily_counts, installation, key_warnings, user_counts
from users.storage.lists.paging import Count

Tile = tuple[str, str, Count, str]


@bp.get("/admin")
@page()
def show_overview() -> PageResponse:
    """Show the overview, as far as the permissions of the user reach. Lead to the account who may not see users."""
    held: frozenset[Permission] = g.actor.permissions
    if Permission.USERS_READ not in held:
        return redirect(login_redirect.home(), 303)
    days = daily_counts.recent()
    is_administrator = held >= ALL_PERMISSIONS
    return render_template(
        "overview.html",
        tiles=_tiles(),
        charts=[charts.chart(days, one) for one in _series(held)],
        keys=key_warnings.find() if Permission.KEYS_MANAGE in held else None,
        keys_read=key_queries.READ,
        administrators=coverage.administrators() if is_administrator else None,
        installation=installation.read() if is_administrator else None,
    )


def _series(held: frozenset[Permission]) -> list[tuple[charts.Series, ...]]:
    return [charts.SIGN_UPS, charts.SIGN_INS] if Permission.AUDIT_READ in held else [charts.SIGN_UPS]


def _tiles() -> list[Tile]:
    """Return the name of each count, the list of the users that it counts, the count, and what it leaves out."""
    counts = user_counts.read()
    newest = f"of the newest {user_counts.COUNTED:,} active users" if counts.never_signed_in.many else ""
    never = Count(counts.never_signed_in.number)
    return [
        ("Active", _list("status=active"), counts.active, ""),
        ("Deactivated", _list("status=deactivated"), counts.deactivated, ""),
        ("Deleted", _list("status=deleted"), counts.deleted, ""),
        ("No password", _list("has_password=false"), counts.without_password, ""),
        ("Not verified", _list("verified=false"), counts.unverified, ""),
        ("Never signed in", _list("status=active&never_signed_in=true"), never, newest),
    ]


def _list(query: str) -> str:
    return f"{url_for('users.show_users')}?{query}"
