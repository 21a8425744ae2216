"""The pages that add an authenticator app, and those of the recovery codes that follow a new second factor."""

import io

from flask import g, redirect, render_template, request, url_for
from markupsafe import Markup

from users import settings
from users.auth.factors import apps, held
from users.auth.factors.held import Kind, WrongCode
from users.auth.sessions import Stage
from users.blueprint import bp
from users.form_errors import FormRefused
from users.http import session_cookie
from users.pages import forms, login_redirect
from users.pages.account.factors import OPENS_IN, codes_page, lead_to_factors, show_factors
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.rules import validation
from users.services import second_factors
from users.storage.models import SecondFactor


@bp.post("/account/factors/app")
@page(again=show_factors, opens_in=OPENS_IN)
def begin_app() -> PageResponse:
    """Begin a new authenticator app, and lead to the page with its QR code."""
    factor = second_factors.begin_app(actor=g.actor)
    return redirect(url_for("users.show_new_app", factor_id=factor.id), 303)


@bp.get("/account/factors/<factor_id>/app")
@page(opens_in=OPENS_IN)
def show_new_app(factor_id: str, formdata: FormData | None = None) -> PageResponse:
    """Show the QR code and the key of a new app, and ask for its first code."""
    g.actor.require_confirmation()
    factor = second_factors.get(g.user.id, factor_id)
    is_readable = held.is_readable(factor)  # unless the secret key has changed since it was begun
    if factor.active_since or factor.kind != Kind.APP or not is_readable:
        return redirect(url_for("users.show_factors"), 303)
    if factor.proved_at:  # the page was loaded again after the recovery codes were shown
        return redirect(url_for("users.show_codes", factor_id=factor.id), 303)
    key, uri = apps.key_of(factor), apps.uri_of(factor, g.user.email, settings.current().instance_name)
    return render_template(
        "factors/app.html",
        form=forms.AppForm(formdata, name=factor.name),
        factor=factor,
        key=" ".join(key[i : i + 4] for i in range(0, len(key), 4)),
        uri=uri,
        picture=_qr_code(uri),
    )


@bp.post("/account/factors/<factor_id>/app")
@page(again=show_new_app, opens_in=OPENS_IN)
def prove_app(factor_id: str) -> PageResponse:
    """Take the first code. Show recovery codes once, after which the app counts; with codes already, it counts now."""
    form = forms.AppForm(request.form)
    name = validation.factor_name(form.name.data)
    try:
        codes = second_factors.prove_app(factor_id, form.code.data or "", name, actor=g.actor)
    except WrongCode:
        raise FormRefused({"code": "The code is wrong"}) from None
    return show_added(second_factors.get(g.user.id, factor_id), codes)


@bp.get("/account/factors/<factor_id>/codes")
@page(opens_in=OPENS_IN)
def show_codes(factor_id: str, formdata: FormData | None = None) -> PageResponse:
    """Offer other recovery codes for a new factor, since its codes were shown once; or let it count."""
    factor = second_factors.get(g.user.id, factor_id)
    if factor.active_since or not factor.proved_at:
        return redirect(url_for("users.show_factors"), 303)
    return render_template("factors/codes.html", codes=None, factor=factor)


@bp.post("/account/factors/<factor_id>/codes")
@page(again=show_codes, opens_in=OPENS_IN)
def show_other_codes(factor_id: str) -> PageResponse:
    """Make other recovery codes for a new factor whose codes were missed, and show them."""
    factor = second_factors.get(g.user.id, factor_id)
    return codes_page(second_factors.new_codes(actor=g.actor), factor, replaces=True)


@bp.post("/account/factors/<factor_id>/activate")
@page(again=show_codes, opens_in=OPENS_IN)
def activate_factor(factor_id: str) -> PageResponse:
    """Let the new factor count from now on, and lead to where the sign-in was to go."""
    was_enrolling, target = g.session.stage is Stage.ENROLMENT, login_redirect.take_target()
    session_cookie.start_session(second_factors.activate(g.session, factor_id, actor=g.actor))
    if was_enrolling:
        return login_redirect.lead_on(login_redirect.local_path(target), "Second factor added")
    return lead_to_factors("Second factor added. Your other sessions have ended")


def show_added(factor: SecondFactor, codes: list[str]) -> PageResponse:
    """Show the recovery codes that came with a new factor; without any, lead to the list of factors."""
    if codes:
        return codes_page(codes, factor)
    return lead_to_factors("Second factor added")


def _qr_code(text: str) -> Markup:
    """Return the QR code as an SVG picture to put into the page: black on white in dark mode too, as apps want it."""
    import segno

    out = io.BytesIO()
    segno.make(text, error="m").save(
        out, kind="svg", scale=5, border=4, xmldecl=False, svgns=False, light="#fff", svgclass="qr", lineclass=None
    )
    return Markup(out.getvalue().decode("utf-8"))  # noqa: S704  (segno draws it)
