"""The forms that end one's own sessions. The account page lists them."""

from flask import g, request

from users.auth import signin
from users.blueprint import bp
from users.pages.account.account import lead_to_account, show_account
from users.pages.guards import PageResponse, page


@bp.post("/account/sessions")
@page(again=show_account)
def end_other_sessions() -> PageResponse:
    """End the user's sessions but this one."""
    signin.end_other_sessions(g.session.id, actor=g.actor)
    return lead_to_account("Your other sessions have ended")


@bp.post("/account/sessions/end")
@page(again=show_account)
def end_session() -> PageResponse:
    """End one other session of the user. One that has ended meanwhile, or by a double click, is no problem."""
    signin.end_own_session(request.form.get("session", ""), actor=g.actor)
    return lead_to_account("That session has ended")
