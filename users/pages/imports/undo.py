"""An import is taken back: the users whom it made are deleted, if they are as it made them. It asks first."""

from flask import flash, g, redirect, render_template, url_for

from users import clock
from users.blueprint import bp
from users.bulk import undo
from users.bulk.imports import jobs
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.pages.imports import progress
from users.roles import Permission

_COUNTED = 10_000  # users; to count more would take the page too long
_SECONDS = 5  # of deleting in one request: the rest is for the next


@bp.get("/admin/imports/<import_id>/undo")
@page(Permission.USERS_IMPORT, Permission.USERS_DELETE)
def confirm_undo_import(import_id: str, formdata: FormData | None = None) -> PageResponse:
    """Ask before the import is taken back, and say whom that deletes and who stays."""
    job = jobs.find(import_id, g.actor)
    g.actor.require_confirmation()
    found = undo.undo(job, actor=g.actor, is_dry=True) if job.created <= _COUNTED else None
    return render_template("imports/undo.html", job=job, found=found, progress=progress, state=job.state)


@bp.post("/admin/imports/<import_id>/undo")
@page(Permission.USERS_IMPORT, Permission.USERS_DELETE, again=confirm_undo_import)
def undo_import(import_id: str) -> PageResponse:
    """Delete the users for some seconds. If some are left then, the question is asked again for them."""
    job = jobs.find(import_id, g.actor)
    until = clock.monotonic() + _SECONDS
    stopped = []

    def should_stop() -> bool:
        if clock.monotonic() > until:
            stopped.append(True)
        return bool(stopped)

    if job.state not in progress.ENDED:
        return redirect(url_for("users.confirm_undo_import", import_id=job.id), 303)  # it says why
    found = undo.undo(job, actor=g.actor, should_stop=should_stop)
    path = url_for("users.confirm_undo_import" if stopped else "users.show_import", import_id=job.id)
    flash(f"{progress.users(found.deleted)} deleted{'. There are more: go on' if stopped else ''}", path)
    return redirect(path, 303)
