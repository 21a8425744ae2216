"""The page of the audit trail, with filters: actor, user or key, action, days and request id."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import g, make_response, render_template, request

from users import ids
from users.audit import queries
from users.audit.queries import EventFilter
from users.audit.trail import Action
from users.blueprint import bp
from users.errors import UserNotFound
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
    given = {name: text for name in _READERS if (text := request.args.get(name, "").strip())}
    form, problems = forms.TrailForm(**given), Problems()
    wanted = _wanted(given, problems)
    if problems.by_field:
        g.problems = [Problem(words, name) for name, words in problems.by_field.items()]
        return make_response(render_template("audit/trail.html", form=form, given=given), 422)
    here = queries.newest(wanted, before=_event_id("before"), after=_event_id("after"))
    events = audit_sentences.describe(here.rows)
    return render_template("audit/trail.html", form=form, given=given, page=here, events=events)


def _wanted(given: Mapping[str, str], problems: Problems) -> EventFilter:
    """Return what the filters ask for; `problems` collects the filters that cannot be read."""
    wanted: dict[str, Any] = {}
    for name, text in given.items():
        field, read = _READERS[name]
        with problems.collect():
            wanted[field] = read(name, text)
    if "since" in wanted and "until" in wanted and wanted["since"] >= wanted["until"]:
        problems.by_field["until"] = "Choose a last day that is not before the first"
    return EventFilter(**wanted)


def _user_or_key(name: str, text: str) -> str:
    """Return `text` if it is an id, of a deleted user too, or the id of the user with this email."""
    if ids.is_user_id(text) or ids.is_key_id(text):
        return text
    try:
        return user_queries.get_user_by_email(text).id
    except UserNotFound:
        words = "No user has this email address. Enter another, or the ID of a user or an API key"
        raise FormRefused({name: words}) from None


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


# For each filter: the field of EventFilter, and the function that reads the text.
_READERS: Mapping[str, tuple[str, Callable[[str, str], object]]] = {
    "actor": ("actor_id", _user_or_key),
    "user": ("target_id", _user_or_key),
    "action": ("action", _action),
    "since": ("since", _first_day),
    "until": ("until", _last_day),
    "request": ("request_id", _request_id),
}
