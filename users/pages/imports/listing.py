"""The list of imports, and the list of the users that one import has made."""

from flask import g, render_template, request

from users import ids
from users.blueprint import bp
from users.bulk.imports import jobs
from users.bulk.imports.made import users_made
from users.pages.guards import PageResponse, page
from users.pages.imports import progress
from users.pages.imports.show import people
from users.roles import Permission

_PER_PAGE = 25


@bp.get("/admin/imports")
@page(Permission.USERS_IMPORT)
def show_imports() -> PageResponse:
    """List the imports that the administrator may see, newest first."""
    before = text if ids.is_import_id(text := request.args.get("before", "")) else None
    found = jobs.newest(g.actor, before=before, limit=_PER_PAGE + 1)
    shown = found[:_PER_PAGE]
    older = shown[-1].id if len(found) > _PER_PAGE else None
    return render_template(
        "imports/list.html", jobs=shown, older=older, paged=before is not None, by=people(shown), progress=progress
    )


@bp.get("/admin/imports/<import_id>/users")
@page(Permission.USERS_IMPORT, Permission.USERS_READ)
def show_imported_users(import_id: str) -> PageResponse:
    """List the users that the import has made."""
    job = jobs.find(import_id, g.actor)
    before, after = (
        text if ids.is_event_id(text := request.args.get(name, "")) else None for name in ("before", "after")
    )
    found = users_made(job, before=before, after=after)
    return render_template("imports/users.html", job=job, page=found, progress=progress)
