"""The page that exports users: all of them, or those whom the filters of the list select."""

from flask import g, redirect, render_template, request

from users.blueprint import bp
from users.bulk.export import Wanted
from users.form_errors import FormRefused
from users.http import exports
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.pages.lists import user_list
from users.pages.lists.forms import ExportForm
from users.roles import Permission
from users.services.lists import user_search


@bp.get("/admin/users/export")
@page(Permission.USERS_READ)
def show_export(formdata: FormData | None = None) -> PageResponse:
    """Show what an export of the list has, and ask for its format. Filters that cannot be read lead to the list."""
    given = user_list.what_is_given(formdata)
    asked, problems = user_list.read(given)
    if problems or asked.shown == "deleted":  # deleted users are never exported
        return redirect(user_list.href(given), 303)
    form = ExportForm(formdata)
    count = user_search.find(asked, limit=1).counts[asked.shown]
    chips = user_list.chips(given, asked, user_list.filter_form(given))
    return render_template(
        "users/export.html",
        form=form,
        given=given,
        asked=asked,
        count=count,
        chips=chips,
        list_href=user_list.href(given),
    )


@bp.post("/admin/users/export")
@page(Permission.USERS_READ, again=show_export)
def send_export() -> PageResponse:
    """Answer with the file. Password hashes need a proof that it is the administrator."""
    asked, problems = user_list.read(user_list.what_is_given(request.form))
    form = ExportForm(request.form)
    if form.format.data not in exports.MEDIA_TYPES:
        raise FormRefused({"format": "Choose a format from the list"})
    if problems or asked.shown == "deleted":
        raise FormRefused({})
    if form.hashes.data:
        g.actor.require(Permission.HASHES_READ)
        g.actor.require_confirmation()
    wanted = Wanted(asked, form.format.data, with_hashes=form.hashes.data, excel=form.excel.data)
    return exports.response(wanted, actor=g.actor)
