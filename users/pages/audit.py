"""The page of the audit trail, with filters: actor, user or key, action, days and request id."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from flask import g, make_response, render_template, request

from users import ids
from users.audit import queries
from users.audit.queries import EventFilter
from users.audit.trail import Action
from users.blueprint import bp
from users.form_errors import FormRefused
from users.pages import audit_sentences, forms
from users.pages.guards import PageResponse, page
from users.pages.problems import Problem, Problems
from users.roles import Permission
from users.services import user_queries


@bp.get("/admin/audit")
@page(Permission.AUDIT_READ)
def show_trail() -> PageResponse:
    """Show the events that the filters in the URL select, newest first."""
    given = {name: text for name in _FILTERS if (text := request.args.get(name, "").strip())}
    form, problems = forms.TrailForm(**given), Problems()
    wanted = _wanted(given, problems)
    if problems.by_field:
        g.problems = [Problem(words, name) for name, words in problems.by_field.items()]
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
    wanted: dict[str, Any] = {}
    for name, (field, read) in _READERS.items():
        if name in given:
            with problems.collect():
                wanted[field] = read(name, given[name])
    if "since" in wanted and "until" in wanted and wanted["since"] >= wanted["until"]:
        problems.by_field["until"] = "Choose a last day that is not before the first"
    return wanted


def _each(wanted: Mapping[str, Any], meant: Mapping[str, Sequence[str]]) -> list[EventFilter]:
    """Return a filter for each choice of one id from each of `meant`: none if one of them is empty."""
    fields = [_PEOPLE[name] for name in meant]
    return [EventFilter(**{**wanted, **dict(zip(fields, one, strict=True))}) for one in product(*meant.values())]


def _ids_meant(text: str) -> Sequence[str]:
    """Return `text` if it is an id, or else the ids of the users who have or had this email."""
    return [text] if ids.is_user_id(text) or ids.is_key_id(text) else user_queries.ids_of_email(text)


def _action(name: str, text: str) -> str:
    if text not in set(Action):
        raise FormRefused({name: "Choose what was done from the list"})
    return text


def _first_day(name: str, text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise FormRefused({name: "Enter a day as year, month and day, like 2026-01-31"}) from None


def _last_day(name: str, text: str) -> datetime:
    """Return the end of the day."""
    day = _first_day(name, text)
    return day + min(timedelta(days=1), datetime.max.replace(tzinfo=UTC) - day)


def _request_id(name: str, text: str) -> str:
    if not ids.is_client_request_id(text):
        raise FormRefused({name: "Enter a whole request ID: 8 to 64 letters, digits, dots, hyphens or underscores"})
    return text


def _event_id(parameter: str) -> str | None:
    given = request.args.get(parameter, "")
    return given if ids.is_event_id(given) else None


# For each filter by a user or key, the field of EventFilter.
_PEOPLE: Mapping[str, str] = {"actor": "actor_id", "user": "target_id"}
# For each other filter: the field, and the function that reads the text.
_READERS: Mapping[str, tuple[str, Callable[[str, str], object]]] = {
    "request": ("request_id", _request_id),
    "action": ("action", _action),
    "since": ("since", _first_day),
    "until": ("until", _last_day),
}
_FILTERS = (*_PEOPLE, *_READERS)  # as in the form
