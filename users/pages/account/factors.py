"""The page of one's own second factors: list, rename and remove them, and make new recovery codes."""

from flask import flash, g, redirect, render_template, request, url_for

from users import clock, settings
from users.auth.factors import held, passkeys, recovery_codes
from users.auth.sessions import Stage
from users.blueprint import bp
from users.http import urls
from users.pages import forms
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.rules import validation
from users.services import second_factors
from users.storage.models import SecondFactor

OPENS_IN = frozenset({Stage.ENROLMENT, Stage.COMPLETE})


@bp.get("/admin/account/factors")
@page(opens_in=OPENS_IN)
def show_old_factors() -> PageResponse:
    """Lead to the second factors, which stand below the account."""
    return redirect(url_for("users.show_factors"), 303)


@bp.get("/account/factors")
@page(opens_in=OPENS_IN)
def show_factors(formdata: FormData | None = None) -> PageResponse:
    """List the user's second factors; to a user who must add one first, show how."""
    factors, site = held.of_user(g.user.id), urls.passkey_site()
    keys = [factor for factor in factors if factor.kind == held.Kind.PASSKEY]
    return render_template(
        "factors/list.html",
        factors=factors,
        unreadable={factor.id for factor in factors if not held.is_readable(factor)},
        codes_left=recovery_codes.count_left(g.user.id) if factors else 0,
        required=settings.current().requires_second_factor(g.user.global_role_id),
        elsewhere={factor.id for factor in keys} - {factor.id for factor in passkeys.made_for(site, keys)},
    )


@bp.get("/account/factors/<factor_id>")
@page()
def show_factor_name(factor_id: str, formdata: FormData | None = None) -> PageResponse:
    """Show the form for the name of a factor."""
    factor = second_factors.get(g.user.id, factor_id)
    form = forms.FactorNameForm(formdata, name=factor.name)
    return render_template("factors/rename.html", factor=factor, form=form)


@bp.post("/account/factors/<factor_id>")
@page(again=show_factor_name)
def rename_factor(factor_id: str) -> PageResponse:
    """Give the factor another name."""
    name = validation.factor_name(forms.FactorNameForm(request.form).name.data)
    second_factors.rename(factor_id, name, actor=g.actor)
    return lead_to_factors("Name changed")


@bp.get("/account/factors/<factor_id>/remove")
@page()
def show_remove_factor(factor_id: str, formdata: FormData | None = None) -> PageResponse:
    """Ask before the factor is removed."""
    g.actor.require_confirmation()
    factor = second_factors.get(g.user.id, factor_id)
    is_last = [one.id for one in held.of_user(g.user.id)] == [factor.id]
    required = settings.current().requires_second_factor(g.user.global_role_id)
    return render_template("factors/remove.html", factor=factor, is_last=is_last, required=required)


@bp.post("/account/factors/<factor_id>/remove")
@page(again=show_remove_factor)
def remove_factor(factor_id: str) -> PageResponse:
    """Remove the factor."""
    removed = second_factors.remove(factor_id, actor=g.actor)
    return lead_to_factors(f"{second_factors.NAMES[held.Kind(removed.kind)]} removed")


@bp.get("/account/recovery-codes")
@page()
def show_new_codes(formdata: FormData | None = None) -> PageResponse:
    """Ask before new recovery codes end the old ones."""
    g.actor.require_confirmation()
    return render_template("factors/new_codes.html", left=recovery_codes.count_left(g.user.id))


@bp.post("/account/recovery-codes")
@page(again=show_new_codes)
def make_codes() -> PageResponse:
    """Make new recovery codes and show them once."""
    return codes_page(second_factors.new_codes(actor=g.actor), replaces=True)


def codes_page(codes: list[str], factor: SecondFactor | None = None, *, replaces: bool = False) -> str:
    """Return the page that shows new recovery codes, the only one that does.

    They go with a `factor` that does not count yet, or they replace those before.
    """
    return render_template("factors/codes.html", codes=codes, factor=factor, replaces=replaces, made_at=clock.now())


def lead_to_factors(message: str) -> PageResponse:
    """Lead to the list of the user's factors; `message` is shown there."""
    path = url_for("users.show_factors")
    flash(message, path)
    return redirect(path, 303)
