"""The pages that create, roll and revoke API keys."""

from datetime import timedelta

from flask import flash, g, make_response, redirect, render_template, request, url_for

from users import clock, ids
from users.blueprint import bp
from users.errors import UserNotFound
from users.form_errors import FormRefused, KeyMadeAlready, KeyRolled, Outdated
from users.http import session_cookie, urls
from users.pages import forms
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, page
from users.pages.keys.keys import can_roll, known_key
from users.pages.problems import Problem, Problems
from users.roles import ALL_PERMISSIONS, Permission, permissions_of
from users.rules import validation
from users.services import api_keys, user_queries
from users.storage.models import ApiKey, User


@bp.get("/admin/keys/new")
@page(Permission.KEYS_MANAGE)
def show_new_key(formdata: FormData | None = None) -> PageResponse:
    """Show the form for a new key."""
    g.actor.require_confirmation()
    form = forms.KeyForm(g.actor.permissions, formdata, owner=g.user.email)
    return render_template("keys/new.html", form=form, mark=session_cookie.sign(ids.new_id("akid")))


@bp.post("/admin/keys/new")
@page(Permission.KEYS_MANAGE, again=show_new_key)
def add_key() -> PageResponse:
    """Create the key and show it once, with a first call to make."""
    key_id = session_cookie.unsign(forms.mark())
    if key_id is None:
        raise Outdated
    form, problems = forms.KeyForm(g.actor.permissions, request.form), Problems()
    scopes = frozenset(Permission(scope) for scope in form.scopes.data or () if scope in ALL_PERMISSIONS)
    with problems.collect():
        new = validation.new_key(form.name.data, scopes)
    if not scopes:
        problems.by_field["scopes"] = "Choose what the key may do"
    with problems.collect():
        owner = _owner(form.owner.data or "")
    with problems.collect():
        lifetime = _lifetime(form.expires.data)
    problems.raise_if_any()
    try:
        issued = api_keys.create_key(new, owner=owner, lifetime=lifetime, actor=g.actor, key_id=key_id)
    except KeyMadeAlready:
        return _show_created_already(key_id)
    except UserNotFound:  # deleted during this request
        raise _no_owner() from None
    return _show_issued(issued, owner)


@bp.get("/admin/keys/<key_id>/roll")
@page(Permission.KEYS_MANAGE)
def show_roll_key(key_id: str, formdata: FormData | None = None) -> PageResponse:
    """Show the form that rolls the key."""
    key = known_key(key_id)
    api_keys.require_scopes(key, g.actor)
    if not can_roll(key, api_keys.states_of([key])[key.id]):
        g.problems = []  # the page itself says why
        return make_response(render_template("keys/not_rolled.html", key=key), 409)
    g.actor.require_confirmation()
    if _is_rolled_meanwhile(key, formdata or NO_DATA):
        words = "It was rolled meanwhile. Rolling it again makes another new key"
        g.problems = [*g.get("problems", []), Problem(words, "ends")]
    return render_template(
        "keys/roll.html",
        key=key,
        end=_end_of(key),
        form=forms.RollForm(formdata, expires=_choice_of(api_keys.suggested_lifetime(key))),
        owner=user_queries.get_user_even_deleted(key.owner_id) if key.owner_id else None,
        mark=session_cookie.sign(ids.new_id("akid")),
    )


@bp.post("/admin/keys/<key_id>/roll")
@page(Permission.KEYS_MANAGE, again=show_roll_key)
def roll_key(key_id: str) -> PageResponse:
    """Create the new key and show it once; the old key ends when the administrator chose."""
    new_id = session_cookie.unsign(forms.mark())
    if new_id is None or "was-expires_at" not in request.form:
        raise Outdated
    old, form, problems = known_key(key_id), forms.RollForm(request.form), Problems()
    with problems.collect():
        ends_in = _ends_in(form.ends.data)
    with problems.collect():
        lifetime = _lifetime(form.expires.data)
    problems.raise_if_any()
    # Read before the roll: after it nothing may fail, or the new key is lost.
    owner = user_queries.get_user_even_deleted(old.owner_id) if old.owner_id else None
    try:
        issued = api_keys.roll_key(
            old.id,
            ends_in=ends_in,
            new_id=new_id,
            lifetime=lifetime,
            actor=g.actor,
            precondition=_require_not_rolled,
        )
    except KeyMadeAlready:
        return _show_created_already(new_id)
    return _show_issued(issued, owner)


@bp.get("/admin/keys/<key_id>/revoke")
@page(Permission.KEYS_MANAGE)
def show_revoke_key(key_id: str, formdata: FormData | None = None) -> PageResponse:
    """Ask before the key is revoked."""
    return render_template("keys/revoke.html", key=known_key(key_id))


@bp.post("/admin/keys/<key_id>/revoke")
@page(Permission.KEYS_MANAGE, again=show_revoke_key)
def revoke_key(key_id: str) -> PageResponse:
    """Revoke the key."""
    key = api_keys.revoke_key(known_key(key_id).id, actor=g.actor)
    flash(key.id, "revoked")
    return redirect(url_for("users.show_keys"), 303)


def _end_of(key: ApiKey) -> str:
    """Return the key's end for a hidden field: it differs if the key was rolled since."""
    return key.expires_at.isoformat() if key.expires_at else ""


def _is_rolled_meanwhile(key: ApiKey, formdata: FormData) -> bool:
    return formdata.get("was-expires_at", _end_of(key)) != _end_of(key)


def _require_not_rolled(key: ApiKey) -> None:
    if _is_rolled_meanwhile(key, request.form):
        raise KeyRolled


def _show_created_already(key_id: str) -> PageResponse:
    return make_response(render_template("keys/created_already.html", key=api_keys.get_key(key_id)), 409)


def _show_issued(issued: api_keys.IssuedKey, owner: User | None) -> PageResponse:
    """Return the page that shows the key once, with a first call that it may make."""
    scopes = frozenset(issued.key.scopes)
    held = permissions_of(owner.global_role_id) if owner else scopes
    creates = Permission.USERS_CREATE in scopes & held
    return render_template(
        "keys/shown.html",
        issued=issued,
        owner=owner,
        old=issued.old,
        idle=sorted(scopes - held),
        creates=creates,
        curl=_first_call(issued, creates=creates),
        base_url=urls.base_url(),
        now=clock.now(),
    )


def _first_call(issued: api_keys.IssuedKey, *, creates: bool) -> str | None:
    """Return a short call that the key may make, or None if there is none."""
    if creates:
        return urls.curl("/v1/user/", {"email": "new.user@example.com", "password": "PASSWORD"}, key=issued.secret)
    if issued.key.owner_id:
        return urls.curl("/v1/user/me", key=issued.secret)
    reads = Permission.USERS_READ in issued.key.scopes
    return urls.curl("/v1/user/?limit=1", key=issued.secret) if reads else None


def _owner(text: str) -> User:
    """Return the active user with this email: a key created on the pages has an owner."""
    if not text.strip():
        raise FormRefused({"owner": "Enter the email address of the key’s owner"})
    try:
        owner = user_queries.get_user_by_email(text)
    except UserNotFound:
        raise _no_owner() from None
    if not owner.is_active:
        raise FormRefused({"owner": "This user is deactivated, so the key could do nothing"})
    return owner


def _no_owner() -> FormRefused:
    return FormRefused({"owner": "No user has this email address"})


def _choice_of(lifetime: timedelta | None) -> str:
    return str(lifetime.days) if lifetime else "never"


def _lifetime(expires: str | None) -> timedelta | None:
    if expires not in forms.EXPIRY_DAYS:
        raise FormRefused({"expires": "Choose when the key expires"})
    return timedelta(days=int(expires)) if expires.isdigit() else None


def _ends_in(hours: str | None) -> timedelta:
    if hours not in forms.OLD_KEY_ENDS:
        raise FormRefused({"ends": "Choose when the old key stops working"})
    return timedelta(hours=int(hours))
