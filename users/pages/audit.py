"""The page of the audit trail, with filters: actor, user or key, action, days and request id."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from typing import Any

from flask import g, make_response, render_template, request

from users import ids
from users.audit import queries
from users.audit.queries import EventFilter
from users.audit.trail import Action
from users.blueprint import bp
from users.form_errors import FormRefused
from users.pages import audit_sentences
from users.pages.guards import PageResponse, page
from users.pages.lists import filters
from users.pages.lists.forms import TrailForm
from users.pages.problems import Problems
from users.roles import Permission
from users.services import user_queries


@bp.get("/admin/audit")
@page(Permission.AUDIT_READ)
def show_trail() -> PageResponse:
    """Show the events that the filters in the URL select, newest first."""
    given = filters.given(_FILTERS)
    form, problems = TrailForm(**given), Problems()
    wanted = _wanted(given, problems)
    if problems.by_field:
        g.problems = problems.all()
        return make_response(render_template("audit/trail.html", form=form, given=given), 422)
    meant = {name: _ids_meant(given[name]) for name in _PEOPLE if name in given}
    here = queries.newest(*_each(wanted, meant), before=_event_id("before"), after=_event_id("after"))
    return render_template(
        "audit/trail.html",
        form=form,
        given=given,
        meant=meant,
        most=user_queries.SAME_EMAIL,
        page=here,
        events=audit_sentences.describe(here.rows),
    )


def _wanted(given: Mapping[str, str], problems: Problems) -> dict[str, Any]:
    """Return what the filters but _PEOPLE ask for; `problems` collects the filters that cannot be read."""
    read = filters.read(given, _READERS, problems)
    wanted: dict[str, Any] = {field: read[name] for name, field in _FIELDS.items() if name in read}
    if "since" in read:
        wanted["since"] = _midnight(read["since"])
    if "until" in read:
        day = _midnight(read["until"])
        wanted["until"] = day + min(timedelta(days=1), datetime.max.replace(tzinfo=UTC) - day)
    return wanted


def _each(wanted: Mapping[str, Any], meant: Mapping[str, Sequence[str]]) -> list[EventFilter]:
    """Return a filter for each choice of one id from each of `meant`: none if one of them is empty."""
    fields = [_PEOPLE[name] for name in meant]
    return [EventFilter(**{**wanted, **dict(zip(fields, one, strict=True))}) for one in product(*meant.values())]


def _ids_meant(text: str) -> Sequence[str]:
    """Return `text` if it is an id, or else the ids of the users who have or had this email."""
    return [text] if ids.is_user_id(text) or ids.is_key_id(text) else user_queries.ids_of_email(text)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _request_id(name: str, text: str) -> str:
    if not ids.is_client_request_id(text):
        raise FormRefused({name: "Enter a whole request ID: 8 to 64 letters, digits, dots, hyphens or underscores"})
    return text


def _event_id(parameter: str) -> str | None:
    given = request.args.get(parameter, "")
    return given if ids.is_event_id(given) else None


# For each filter by a user or key, the field of EventFilter.
_PEOPLE: Mapping[str, str] = {"actor": "actor_id", "user": "target_id"}
# The same for the other filters, but the days.
_FIELDS: Mapping[str, str] = {"request": "request_id", "action": "action"}
_READERS: Mapping[str, filters.Reader] = {
    "request": _request_id,
    "action": filters.choice({action: action for action in Action}, "Choose what was done from the list"),
    "since": filters.day,
    "until": filters.day,
}
_FILTERS = (*_PEOPLE, *_READERS)  # as in the form
