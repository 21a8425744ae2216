"""The page on which an administrator resets another user's second factor."""

from flask import g, redirect, render_template, url_for

from users import settings
from users.auth.factors import held
from users.blueprint import bp
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.pages.user_actions import lead_to, user_for_change
from users.roles import Permission
from users.services import second_factors


@bp.get("/admin/users/<user_id>/reset-second-factor")
@page(Permission.USERS_UPDATE)
def show_reset_factors(user_id: str, formdata: FormData | None = None) -> PageResponse:
    """Ask before all second factors of another user are removed. One's own are on the account's page."""
    if user_id == g.user.id:
        return _lead_to_own_factors()
    user = user_for_change(user_id)
    factors = held.of_user(user.id)
    if factors:
        g.actor.require_confirmation()
    return render_template(
        "users/reset_factors.html",
        user=user,
        is_done=not factors,
        kinds=second_factors.in_words(factors),
        required=settings.current().requires_second_factor(user.global_role_id),
    )


@bp.post("/admin/users/<user_id>/reset-second-factor")
@page(Permission.USERS_UPDATE, again=show_reset_factors)
def reset_factors(user_id: str) -> PageResponse:
    """Remove all second factors of the user and lead to the user."""
    if user_id == g.user.id:
        return _lead_to_own_factors()
    user = second_factors.reset(user_for_change(user_id).id, actor=g.actor)
    return lead_to(user, "Second factor reset. The user’s sessions have ended")


def _lead_to_own_factors() -> PageResponse:
    return redirect(url_for("users.show_factors"), 303)
