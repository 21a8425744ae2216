"""What is done with an import: its columns are explained, it is started, cancelled, and its refused rows downloaded."""

import contextlib

from flask import Response, flash, g, redirect, render_template, request, url_for

from users.blueprint import bp
from users.bulk.imports import jobs, previews, rejects
from users.bulk.imports.errors import ImportElsewhere, ImportState
from users.bulk.options import Options
from users.http import headers
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.pages.imports import columns, progress
from users.pages.imports.show import show_import
from users.roles import Permission
from users.storage.models import Import


@bp.post("/admin/imports/<import_id>/columns")
@page(Permission.USERS_IMPORT, again=show_import)
def set_import_columns(import_id: str) -> PageResponse:
    """Say what the columns of the file mean, and let it be read again."""
    job = jobs.find(import_id, g.actor)
    with contextlib.suppress(ImportState):  # sent twice: the page of the import shows what it is by now
        if job.state != "columns":
            raise ImportState(job.state)
        sampled = previews.sample(job)
        if sampled is None:
            raise ImportElsewhere
        mapped, ignored = columns.answer(sampled[0], Options.from_json(job.options), request.form)
        jobs.set_columns(job.id, g.actor, mapped=mapped, ignored=ignored)
    return _to_page(job)


@bp.post("/admin/imports/<import_id>/start")
@page(Permission.USERS_IMPORT, again=show_import)
def start_import(import_id: str) -> PageResponse:
    """Let the import begin. One that may make administrators needs a fresh proof, as the form for a user does."""
    job = jobs.find(import_id, g.actor)
    if job.state == "checked" and previews.preview(job).get("names_administrators", True):
        g.actor.require_confirmation()
    skips = "skip_existing" in request.form if job.existing else None
    with contextlib.suppress(ImportState):
        jobs.start(job.id, g.actor, skip_existing=skips)
    return _to_page(job)


@bp.get("/admin/imports/<import_id>/cancel")
@page(Permission.USERS_IMPORT)
def confirm_cancel_import(import_id: str, formdata: FormData | None = None) -> PageResponse:
    """Ask before an import is cancelled."""
    job = jobs.find(import_id, g.actor)
    over = job.state in progress.ENDED
    return render_template("imports/cancel.html", job=job, is_over=over, progress=progress, state=job.state)


@bp.post("/admin/imports/<import_id>/cancel")
@page(Permission.USERS_IMPORT, again=confirm_cancel_import)
def cancel_import(import_id: str) -> PageResponse:
    """End the import. The users that it has made stay."""
    job = jobs.find(import_id, g.actor)
    words = "Import cancelled" if job.started_at else "Import discarded"
    try:
        jobs.cancel(job.id, g.actor)
    except ImportState:
        words = "This import had ended already"
    flash(words, url_for("users.show_import", import_id=job.id))
    return _to_page(job)


@bp.get("/admin/imports/<import_id>/rejects")
@page(Permission.USERS_IMPORT)
def download_rejects(import_id: str) -> Response:
    """Answer with the file of the refused rows, without passwords and hashes."""
    job = jobs.find(import_id, g.actor)
    path = jobs.rejects_file(job, g.actor)
    stem, _, ending = (job.name or "users.csv").rpartition(".")
    name = f"{stem or ending} to mend.{ending if stem else 'csv'}"
    size = rejects.size_of(job, path)
    answer = Response(rejects.pieces(path, size), mimetype="application/octet-stream")
    headers.name_download(answer, name)
    answer.content_length = size
    return answer


def _to_page(job: Import) -> PageResponse:
    return redirect(url_for("users.show_import", import_id=job.id), 303)
