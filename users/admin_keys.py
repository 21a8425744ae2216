"""The pages about API keys: the list, a new key, and its revocation."""

from datetime import timedelta

from flask import g, make_response, redirect, render_template, request

from users import audit, bp, clock, directory, emails, forms, ids, pages, service, service_keys, validation, visits
from users.errors import KeyNotFound, UserNotFound
from users.models import ApiKey, User
from users.pages import Answer, page
from users.refusals import KeyMadeAlready, Outdated, Refused
from users.roles import ALL_PERMISSIONS, Permission, permissions_of

_KEYS = "/admin/keys"


@bp.get("/admin/keys")
@page(Permission.KEYS_MANAGE)
def show_keys() -> Answer:
    """List the API keys, newest first."""
    keys = list(reversed(service_keys.list_keys()))
    owners = directory.emails_of(key.owner_id for key in keys)
    stopped = directory.stopped_among(owners)
    revoked = audit.is_newest(request.args.get("revoked", ""), audit.Action.KEY_REVOKE)
    return render_template("keys.html", keys=keys, owners=owners, stopped=stopped, now=clock.now(), revoked=revoked)


@bp.get("/admin/keys/new")
@page(Permission.KEYS_MANAGE)
def show_new_key() -> Answer:
    """Show the form for a new key."""
    form = forms.KeyForm(g.actor.permissions, owner=g.user.email)
    return render_template("key_new.html", form=form, mark=visits.sealed(ids.new_id("akid")))


@bp.post("/admin/keys/new")
@page(Permission.KEYS_MANAGE, again=show_new_key)
def add_key() -> Answer:
    """Make the key and show it, this once, with the first call to make."""
    key_id = visits.unsealed(forms.mark())
    if key_id is None:
        raise Outdated
    form, found = forms.KeyForm(g.actor.permissions), pages.Findings()
    scopes = frozenset(Permission(scope) for scope in form.scopes.data or () if scope in ALL_PERMISSIONS)
    with found.noted():
        new = validation.new_key(form.name.data, scopes)
    if not scopes:
        found.problems["scopes"] = "Choose what the key may do"
    with found.noted():
        owner = _owner(form.owner.data or "")
    with found.noted():
        lifetime = _lifetime(form.expires.data)
    found.refuse()
    try:
        issued = service_keys.create_key(new, owner=owner, lifetime=lifetime, actor=g.actor, key_id=key_id)
    except KeyMadeAlready:
        return make_response(render_template("key_made.html", key=service_keys.get_key(key_id)), 409)
    held = permissions_of(owner.global_role_id)
    return render_template(
        "key_shown.html",
        issued=issued,
        owner=owner,
        idle=sorted(scopes - held),
        creates=Permission.USERS_CREATE in scopes & held,
        curl=_first_call(issued, creates=Permission.USERS_CREATE in scopes & held),
        address=pages.address(),
    )


@bp.get("/admin/keys/<key_id>/revoke")
@page(Permission.KEYS_MANAGE)
def show_revoke_key(key_id: str) -> Answer:
    """Ask whether the key is to be revoked."""
    return render_template("key_revoke.html", key=_key(key_id))


@bp.post("/admin/keys/<key_id>/revoke")
@page(Permission.KEYS_MANAGE, again=show_revoke_key)
def revoke_key(key_id: str) -> Answer:
    """Revoke the key."""
    key = service_keys.revoke_key(_key(key_id).id, actor=g.actor)
    return redirect(f"{_KEYS}?revoked={key.id}", 303)


def _key(key_id: str) -> ApiKey:
    if not ids.is_key_id(key_id):
        raise KeyNotFound
    return service_keys.get_key(key_id)


def _first_call(issued: service_keys.IssuedKey, *, creates: bool) -> str:
    if creates:
        return pages.curl("/v1/user/", {"email": "new.user@example.com", "password": "PASSWORD"}, key=issued.secret)
    return pages.curl("/v1/user/me", key=issued.secret)


def _owner(text: str) -> User:
    """Return the active user with this address: a key from these pages always has an owner."""
    if not text.strip():
        raise Refused({"owner": "Enter the email address of the key’s owner"})
    try:
        owner = service.get_user_by_email(emails.lookup_key(text))
    except (emails.BadEmail, UserNotFound):
        raise Refused({"owner": "No user has this email address"}) from None
    if not owner.is_active:
        raise Refused({"owner": "This user is deactivated, so the key could do nothing"})
    return owner


def _lifetime(expires: str | None) -> timedelta | None:
    if expires not in forms.EXPIRY_DAYS:
        raise Refused({"expires": "Choose when the key expires"})
    return timedelta(days=int(expires)) if expires.isdigit() else None
