"""The choice in the list of users: those that are ticked, or all that the list finds, and what to do with them."""

from collections.abc import Sequence

from flask import g, redirect, request, url_for

from users import ids
from users.blueprint import bp
from users.bulk.acts import jobs
from users.bulk.acts.kinds import Act
from users.http import urls
from users.pages.bulk_acts import words
from users.pages.guards import PageResponse, page
from users.pages.lists import way_back
from users.pages.lists.user_list import read, show_users, what_is_given
from users.pages.problems import Problems
from users.roles import Permission
from users.services.lists import user_search


@bp.post("/admin/users")
@page(Permission.USERS_READ, again=show_users)
def choose_users() -> PageResponse:
    """Keep who was chosen and lead to the question, which says how many can be touched and who cannot."""
    problems = Problems()
    wanted = words.read(request.form.get("act", ""))
    if wanted is None:
        problems.by_field["act"] = "Choose what to do"
    else:
        g.actor.require(*wanted.permissions)
    chosen, is_partial = _chosen(problems)
    problems.raise_if_any()
    assert wanted  # noqa: S101  (else a problem was raised)
    if wanted.act is Act.LINKS:
        urls.absolute_url("")  # raises before anything is written
    back = way_back.packed(request.args)
    job = jobs.create(wanted, chosen, way_back=back, is_partial=is_partial, actor=g.actor)
    return redirect(url_for("users.show_act", act_id=job.id), 303)


def _chosen(problems: Problems) -> tuple[Sequence[str], bool]:
    """Return the ids of the users, and whether the list may find more than it reads."""
    if "all" not in request.form:
        ticked = [user_id for user_id in request.form.getlist("user") if ids.is_user_id(user_id)]
        if not ticked:
            problems.by_field["users"] = "Select at least one user"
        return ticked, False
    asked, in_filters = read(what_is_given())
    if in_filters:
        problems.by_field |= {one.field or "users": one.message for one in in_filters}
        return [], False
    found, is_partial = user_search.find_ids(asked, limit=jobs.MOST + 1)
    if len(found) > jobs.MOST:
        problems.by_field["users"] = (
            f"The list finds more than {jobs.MOST:,} users, and at most {jobs.MOST:,} can be changed at once. "
            "Narrow the search or the filters"
        )
    elif not found:
        problems.by_field["users"] = "The list finds nobody any more"
    return found, is_partial
