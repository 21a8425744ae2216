"""The pages that give a user a password: make a link, generate or type one, end the link."""

from flask import g, redirect, render_template, request, url_for

from users import settings
from users.blueprint import bp
from users.form_errors import UserChanged
from users.http import urls
from users.pages import forms
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.pages.user_actions import lead_to, user_for_change
from users.roles import Permission, needed_to_act_on
from users.rules import validation
from users.services import user_changes
from users.services.links import password_links
from users.storage.models import User


@bp.get("/admin/users/<user_id>/password")
@page(Permission.USERS_UPDATE)
def show_set_password(user_id: str, formdata: FormData | None = None) -> PageResponse:
    """Show the form for a user's new password."""
    if user_id == g.user.id:  # your own password needs the current one
        return _lead_to_account()
    user = user_for_change(user_id)
    if needed_to_act_on(user.global_role_id):
        g.actor.require_confirmation()
    base_url = urls.base_url()
    form = forms.PasswordForm(formdata, can_link=user.is_active and base_url is not None)
    return render_template(
        "users/password.html",
        form=form,
        user=user,
        mark=mark_of(user),
        base_url=base_url,
        rules=settings.current().rules,
    )


@bp.post("/admin/users/<user_id>/password")
@page(Permission.USERS_UPDATE, again=show_set_password)
def set_user_password(user_id: str) -> PageResponse:
    """Make a link, which is shown now and never again, or set a new password. A generated one is shown once too."""
    if user_id == g.user.id:
        return _lead_to_account()
    user, form = user_for_change(user_id), forms.PasswordForm(request.form)
    _require_unchanged(user)
    if form.makes_link:
        return _make_link(user)
    rules = settings.current().rules
    password = form.password_or_new(rules)
    user = user_changes.set_password(
        user.id,
        validation.new_password(password, rules),
        must_change=form.password_change_required.data,
        actor=g.actor,
        precondition=_require_unchanged,
    )
    if form.generates:
        return render_template("users/password_shown.html", password=password, created=False, user=user)
    return lead_to(user, "New password set. The user’s sessions have ended")


@bp.post("/admin/users/<user_id>/password-link/end")
@page(Permission.USERS_UPDATE, again=show_set_password)
def end_password_link(user_id: str) -> PageResponse:
    """End the user's open link and lead to the user."""
    if user_id == g.user.id:
        return _lead_to_account()
    user = password_links.revoke(user_for_change(user_id).id, actor=g.actor)
    return lead_to(user, "Password link ended. It can no longer be used")


def mark_of(user: User) -> str:
    """Return a text that changes with the user and with their link: what a form for their password is made for."""
    moments = (user.updated_at, user.password_link_ends_at)
    return " ".join(moment.isoformat() for moment in moments if moment)


def _require_unchanged(user: User) -> None:
    """Raise UserChanged unless the user is as the form showed them: it is called with the user's row locked too."""
    if forms.mark() != mark_of(user):
        raise UserChanged


def _make_link(user: User) -> PageResponse:
    base_url, replaced = urls.absolute_url(""), password_links.open_until(user)  # raises before anything is written
    link = password_links.make(user.id, actor=g.actor, precondition=_require_unchanged)
    return render_template("users/password_link.html", created=False, replaced=replaced, **about_link(link, base_url))


def about_link(link: password_links.PasswordLink, base_url: str) -> dict[str, object]:
    """Return what the page shows of a new link: the user, the URL and its end."""
    url = urls.link(base_url, "users.show_password", link.token)
    return {"user": link.user, "url": url, "ends_at": link.ends_at}


def _lead_to_account() -> PageResponse:
    return redirect(url_for("users.show_account"), 303)
