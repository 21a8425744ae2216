"""The page "Overview": users in numbers, the last 30 days as pictures, and what needs attention."""

from flask import g, redirect, render_template, url_for

from users.auth.factors import coverage
from users.blueprint import bp
from users.pages import login_redirect
from users.pages.guards import PageResponse, page
from users.pages.overview import charts
from users.roles import ALL_PERMISSIONS, Permission
from users.services import key_queries
from users.services.lists import counts
from users.services.overview import daily_counts, installation, key_warnings
from users.storage.lists.paging import Count
from users.storage.models import Status, segments

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
    by_segment, never = counts.counts_by_segment(), counts.never_signed_in()
    listed = (Status.ACTIVE, Status.DEACTIVATED)
    wanted = {
        ("Active", "status=active"): segments([Status.ACTIVE]),
        ("Deactivated", "status=deactivated"): segments([Status.DEACTIVATED]),
        ("Deleted", "status=deleted"): segments([Status.DELETED]),
        ("No password", "has_password=false"): segments(listed, has_password=False),
        ("Not verified", "verified=false"): segments(listed, verified=False),
    }
    tiles = [(name, _list(query), counts.total(by_segment, these), "") for (name, query), these in wanted.items()]
    newest = f"of the newest {counts.STOP:,} active users" if never.many else ""
    return [*tiles, ("Never signed in", _list("status=active&never_signed_in=true"), Count(never.number), newest)]


def _list(query: str) -> str:
    return f"{url_for('users.show_users')}?{query}"
