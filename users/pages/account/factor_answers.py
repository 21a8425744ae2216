"""What the pages that ask for a second factor offer, and the answer that was given there."""

from typing import Any

from flask import request

from users.auth.factors import held, passkeys
from users.auth.factors.held import Answer, Kind
from users.auth.sessions import CurrentSession
from users.form_errors import FormRefused
from users.http import urls


def choices(current: CurrentSession) -> dict[str, Any]:
    """Return what the page offers the session's user: an app's code, a passkey and a recovery code, or the password.

    `has_passkey` tells of any passkey; `site` is where it works, or None if no passkey was made for this address.
    """
    factors = held.of_user(current.user.id) if current.has_factor else []
    apps = [factor for factor in factors if factor.kind == Kind.APP]
    keys, site = [factor for factor in factors if factor.kind == Kind.PASSKEY], urls.passkey_site()
    return {
        "asks_password": not current.has_factor,
        "has_app": bool(apps),
        "has_passkey": bool(keys),
        "is_unreadable": bool(apps) and not any(map(held.is_readable, apps)),
        "site": site if passkeys.made_for(site, keys) else None,
    }


def given() -> Answer:
    """Return the answer that the form sent with this request holds."""
    if credential := request.form.get("credential"):
        return Answer(credential=credential, site=urls.passkey_site())
    return Answer(request.form.get(_code_field(), ""))


def wrong() -> FormRefused:
    """Return the error for a wrong answer: the same words for every cause."""
    field = "credential" if request.form.get("credential") else _code_field()
    return FormRefused({field: "The code is wrong"})


def _code_field() -> str:
    """Return the field that was filled in: the code of an app, or a recovery code. Not every page has both."""
    has_code = request.form.get("code") or ("code" in request.form and not request.form.get("recovery_code"))
    return "code" if has_code else "recovery_code"
