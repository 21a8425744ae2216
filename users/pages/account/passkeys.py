"""The page that adds a passkey, and the options for the browser's dialog.

The script gets the options when the button is clicked, with a new challenge each time: a page that was open for long
works, and so does one of two pages.
"""

from flask import Response, g, redirect, render_template, request, url_for

from users import settings
from users.auth.factors import held, passkeys
from users.auth.factors.held import Kind, WrongCode
from users.blueprint import bp
from users.form_errors import FactorNotFound, FormRefused, Outdated
from users.http import urls
from users.pages import forms
from users.pages.account.confirm import show_confirm
from users.pages.account.factors import OPENS_IN
from users.pages.account.new_factors import show_added
from users.pages.forms import FormData
from users.pages.guards import ANY_STAGE, PageResponse, page
from users.rules import validation
from users.services import second_factors


@bp.get("/account/factors/passkey")
@page(opens_in=OPENS_IN)
def show_new_passkey(formdata: FormData | None = None) -> PageResponse:
    """Let the browser make a passkey; where it cannot have one, say how to get one."""
    g.actor.require_confirmation()
    form = forms.FactorNameForm(formdata, name=second_factors.NAMES[Kind.PASSKEY])
    return render_template("factors/passkey.html", form=form, site=urls.passkey_site())


@bp.post("/account/factors/passkey/options")
@page(again=show_new_passkey, opens_in=OPENS_IN)
def show_creation_options() -> PageResponse:
    """Return the options with which the browser makes a passkey, as JSON."""
    g.actor.require_confirmation()
    site = urls.passkey_site()
    if site is None:
        raise FactorNotFound
    mine, name = passkeys.made_for(site, held.passkeys_of(g.user.id)), settings.current().instance_name
    return _json(passkeys.creation_options(site, g.user, mine, held.new_challenge(g.session.id_hash), name))


@bp.post("/account/factors/passkey")
@page(again=show_new_passkey, opens_in=OPENS_IN)
def add_passkey() -> PageResponse:
    """Add the passkey that the browser made. Show recovery codes once; with codes already, it counts now."""
    g.actor.require_confirmation()
    site = urls.passkey_site()
    if site is None:
        return redirect(url_for("users.show_new_passkey"), 303)
    name = validation.factor_name(forms.FactorNameForm(request.form).name.data)
    try:
        factor, codes = second_factors.add_passkey(
            g.session, site, request.form.get("credential", ""), name, actor=g.actor
        )
    except Outdated:
        if shown := held.passkey_without_codes(g.user.id):  # the page with the recovery codes was loaded again
            return redirect(url_for("users.show_codes", factor_id=shown.id), 303)
        raise
    except WrongCode:
        raise FormRefused({"credential": "The passkey could not be added. Try again"}) from None
    return show_added(factor, codes)


@bp.post("/account/passkey-options")
@page(again=show_confirm, opens_in=ANY_STAGE)
def show_request_options() -> PageResponse:
    """Return the options with which the browser asks for a passkey, at a sign-in or to confirm, as JSON."""
    site = urls.passkey_site()
    mine = passkeys.made_for(site, held.passkeys_of(g.session.user.id))
    if site is None or not mine:
        raise FactorNotFound
    return _json(passkeys.request_options(site, mine, held.new_challenge(g.session.id_hash)))


def _json(text: str) -> Response:
    return Response(text, mimetype="application/json")
