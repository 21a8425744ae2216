"""An act on many users: one page for its whole life, from the question to the report."""

from flask import Response, flash, g, make_response, redirect, render_template, request, url_for

from users import clock, ids
from users.blueprint import bp
from users.bulk.acts import jobs, prospects, reports
from users.bulk.acts.jobs import ActNotFound
from users.bulk.acts.kinds import Act, Wanted
from users.bulk.files.writing import Export
from users.http import urls
from users.pages.bulk_acts import words
from users.pages.forms import ROLE_WORDS, FormData
from users.pages.guards import PageResponse, page
from users.roles import Permission
from users.services import user_queries
from users.services.lists import bounded
from users.storage.lists.paging import Page
from users.storage.models import BulkAct, User

_PER_PAGE = 25
_MOST_PAGES = jobs.MOST // reports.PAGE_SIZE
_LINK_COLUMNS = ("email", "first_name", "last_name", "password_url", "expires_at")


@bp.get("/admin/acts")
@page(Permission.USERS_READ)
def show_acts() -> PageResponse:
    """List the acts on many users that were started and that the administrator may see, newest first."""
    before = text if ids.is_act_id(text := request.args.get("before", "")) else None
    found = jobs.newest(g.actor, before=before, limit=_PER_PAGE + 1)
    shown = found[:_PER_PAGE]
    older = shown[-1].id if len(found) > _PER_PAGE else None
    wanted = {job.id: Wanted.from_job(job.act, job.options) for job in shown}
    by = user_queries.emails_of(job.actor_user_id for job in shown)
    return render_template(
        "acts/list.html", jobs=shown, older=older, paged=before is not None, by=by, wanted=wanted, words=words
    )


@bp.get("/admin/acts/<act_id>")
@page(Permission.USERS_READ)
def show_act(act_id: str, formdata: FormData | None = None) -> PageResponse:
    """Ask before the act, tell how far it is, or report what became of each user."""
    job = jobs.find(act_id, g.actor)
    wanted = Wanted.from_job(job.act, job.options)
    if job.state == jobs.ASKED:
        return _question(job, wanted)
    about = {"job": job, "wanted": wanted, "words": words, "back": _back(job), "now": clock.now()}
    if job.ended_at is None:
        return render_template("acts/moving.html", progress=words.progress(job, clock.now()), **about)
    return _report(job, about)


def _question(job: BulkAct, wanted: Wanted) -> PageResponse:
    if not jobs.is_own(job, g.actor):
        raise ActNotFound
    g.actor.require(*wanted.permissions)
    g.actor.require_confirmation()
    return render_template(
        "acts/question.html",
        job=job,
        wanted=wanted,
        words=words,
        back=_back(job),
        base_url=urls.base_url(),
        most_read=bounded.READ,
        prospect=prospects.foresee(job, g.actor),
        role_means={role.value: meaning for role, (_, meaning) in ROLE_WORDS.items()},
    )


def _report(job: BulkAct, about: dict[str, object]) -> PageResponse:
    refused = request.args.get("show") == "refused"
    text = request.args.get("page", "")
    number = min(int(text), _MOST_PAGES) if text.isascii() and text.isdigit() and 0 < len(text) < 6 else 1
    lines, more = reports.read(job, refused=refused, page=max(1, number))
    here: Page[User] = Page([], str(number - 1) if number > 1 else None, str(number + 1) if more else None)
    return render_template(
        "acts/report.html",
        by=user_queries.emails_of([job.actor_user_id]).get(job.actor_user_id or ""),
        can_take_links=reports.can_take_links(job, g.actor),
        first=(max(1, number) - 1) * reports.PAGE_SIZE + 1,
        here=here,
        kept_until=job.ended_at and job.ended_at + jobs.KEPT,
        lines=lines,
        numbers=reports.numbers(job),
        refused=refused,
        **about,
    )


def _back(job: BulkAct) -> str:
    """Return the path of the list in which the users were chosen."""
    asked = job.options.get("list")
    return f"{url_for('users.show_users')}?{asked}" if asked else url_for("users.show_users")


@bp.post("/admin/acts/<act_id>/start")
@page(Permission.USERS_READ, again=show_act)
def start_act(act_id: str) -> PageResponse:
    """Let the act begin. Sent twice, it begins once."""
    job = jobs.find(act_id, g.actor)
    if job.act == Act.LINKS and job.state == jobs.ASKED:
        urls.absolute_url("")  # raises before anything is written
    return _to_page(jobs.start(job.id, g.actor))


@bp.post("/admin/acts/<act_id>/cancel")
@page(Permission.USERS_READ, again=show_act)
def cancel_act(act_id: str) -> PageResponse:
    """Stop the act. What was done stays."""
    was_over = jobs.find(act_id, g.actor).ended_at is not None
    job = jobs.cancel(act_id, g.actor)
    flash("This had ended already" if was_over else "Stopped", url_for("users.show_act", act_id=job.id))
    return _to_page(job)


@bp.post("/admin/acts/<act_id>/links")
@page(Permission.USERS_READ, again=show_act)
def take_links(act_id: str) -> Response:
    """Answer with the password links that the act has made, as a file, this once."""
    base_url = urls.absolute_url("")  # raises before they are taken
    links = reports.take_links(act_id, actor=g.actor)
    file = Export("csv", _LINK_COLUMNS, excel=False)
    lines = [
        file.row(
            {
                "email": link.user.email,
                "first_name": link.user.first_name,
                "last_name": link.user.last_name,
                "password_url": urls.link(base_url, "users.show_password", link.token),
                "expires_at": clock.rfc3339(link.ends_at),
            }
        )
        for link in links
    ]
    response = make_response(b"".join([file.header(), *lines]))
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    response.headers["Content-Disposition"] = 'attachment; filename="password-links.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response


def _to_page(job: BulkAct) -> PageResponse:
    return redirect(url_for("users.show_act", act_id=job.id), 303)
