"""The list of users: searched, filtered, sorted and paged by what stands in its URL."""

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any

from flask import g, make_response, render_template, request, url_for

from users import clock, ids
from users.blueprint import bp
from users.errors import UserNotFound
from users.pages.bulk_acts.words import offered
from users.pages.forms import NO_DATA, FormData
from users.pages.guards import PageResponse, page
from users.pages.lists import filters, way_back
from users.pages.lists.forms import ActForm, UserListForm
from users.pages.problems import Problem, Problems
from users.roles import Permission, Role
from users.rules import emails
from users.services import user_queries
from users.services.lists import bounded, user_search
from users.services.lists.asked import SHOWN, Asked, Sort
from users.services.lists.user_search import Found
from users.storage.lists.paging import Count

ORDERS = {
    Sort.NEWEST: "newest first",
    Sort.OLDEST: "oldest first",
    Sort.EMAIL: "by email, A to Z",
    Sort.EMAIL_DOWN: "by email, Z to A",
    Sort.NAME: "by name, A to Z",
    Sort.NAME_DOWN: "by name, Z to A",
}

_LONGEST_SEARCH = 512  # two names and a space; every link of the page repeats it
_LONGEST_RANK = 9  # digits
_DEFAULTS = {"status": "all", "sort": Sort.NEWEST}
_READERS: Mapping[str, filters.Reader] = {  # in the order of the form
    "sort": filters.choice({sort: sort for sort in Sort}, "Choose an order from the list"),
    "role": filters.choice({role: role for role in Role}, "Choose a role from the list"),
    "verified": filters.choice(filters.YES_OR_NO, "Choose verified or not from the list"),
    "has_password": filters.choice(filters.YES_OR_NO, "Choose from the list whether a password is set"),
    "never_signed_in": filters.choice({"true": True}, "Choose a last sign-in from the list"),
    "since": filters.day,
    "until": filters.day,
}


@bp.get("/admin/users")
@page(Permission.USERS_READ)
def show_users(formdata: FormData | None = None) -> PageResponse:
    """List the users whom the search and the filters in the URL select, in the order that it names.

    `formdata` has those who were ticked, and what to do with them.
    """
    given = what_is_given()
    asked, problems = read(given)
    if problems:
        g.problems = problems
        return make_response(_page(given, asked), 422)
    before, after = (text if ids.is_user_id(text := request.args.get(name, "")) else None for name in way_back.ENDS)
    return _page(given, asked, user_search.find(asked, before=before, after=after), formdata or NO_DATA)


def read(given: Mapping[str, str]) -> tuple[Asked, list[Problem]]:
    """Return what the list is asked for; with problems, without the filters."""
    problems, shown = Problems(), given.get("status", "all")
    wanted = filters.read(given, _READERS, problems)
    return (
        (Asked(shown=shown), problems.all()) if problems.by_field else (Asked(given.get("q", ""), shown, **wanted), [])
    )


def what_is_given(sent: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what the URL, or a form that was `sent`, asks of the list, without the place in it.

    A status that is none means all.
    """
    given = filters.given(way_back.ASKED, sent)
    if "q" in given:
        given["q"] = given["q"][:_LONGEST_SEARCH].rstrip()
    if given.get("status") not in SHOWN:
        given.pop("status", None)
    return {name: text for name, text in given.items() if text != _DEFAULTS.get(name)}


def _page(given: Mapping[str, str], asked: Asked, found: Found | None = None, formdata: FormData = NO_DATA) -> str:
    """Return the page of the users that were `found`, or of the problems."""
    acts = offered(asked.shown, g.actor)
    place = {name: text for name, text in filters.given(way_back.ENDS).items() if ids.is_user_id(text)}
    first = _first(found, found.counts[asked.shown]) if found else None
    at = {"at": str(first)} if first and place else {}
    form = filter_form(given)
    return render_template(
        "users/list.html",
        act_form=ActForm(acts, formdata, act="") if acts else None,
        asked=asked,
        can_be_created=found is not None and _can_be_created(asked.text, found),
        chips=chips(given, asked, form) if found else [],
        counts=found.counts if found else {},
        first=first,
        form=form,
        found=found,
        given=given,
        href=lambda **changes: href({**given, **changes}),
        most_read=bounded.READ,
        no_filters=dict.fromkeys(way_back.FILTERS if found else (*way_back.FILTERS, "sort"), ""),
        orders=ORDERS,
        page=found.page if found else None,
        page_size=user_search.PAGE_SIZE,
        place=place,
        ticked=set(formdata.getlist("user")),
        way_back=way_back.packed({**given, **place, **at}),
    )


def filter_form(given: Mapping[str, str]) -> UserListForm:
    """Return the form of the filters, filled in."""
    return UserListForm({order.value: words for order, words in ORDERS.items()}, **given)


def href(given: Mapping[str, object]) -> str:
    """Return the URL of the list for what is `given`. An empty text asks for nothing."""
    texts: dict[str, Any] = {name: str(text) for name, text in given.items() if text}
    return url_for("users.show_users", **{name: text for name, text in texts.items() if text != _DEFAULTS.get(name)})


def _first(found: Found, count: Count | None) -> int | None:
    """Return the rank of the first row, None if it is not known.

    Between the first page and the last it is what the link that led here says, if that can be right.
    """
    here, rows = found.page, len(found.page.rows)
    if found.first or not here.newer:
        return found.first or 1
    exact = count.number if count and not count.many else None
    if exact and not here.older:
        return exact - rows + 1
    text = request.args.get("at", "")
    at = int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_RANK else 0
    return at if at > 1 and (exact is None or at + rows <= exact) else None


def chips(given: Mapping[str, str], asked: Asked, form: UserListForm) -> list[tuple[str, str]]:
    """Return the filters that are set: the name of each, and what it asks for in words."""
    days = {"since": asked.since, "until": asked.until}
    found = []
    for name in filter(given.__contains__, way_back.FILTERS):
        field, day = form[name], days.get(name)
        words = clock.date(datetime.combine(day, time(), UTC)) if day else field.choices[given[name]]
        found.append((name, f"{field.label.text.removesuffix(' (UTC)')}: {words}"))
    return found


def _can_be_created(text: str, found: Found) -> bool:
    """Tell whether the search is for an email that no user has, and the administrator may create users."""
    if found.page.rows or Permission.USERS_CREATE not in g.actor.permissions or not emails.possible_emails(text):
        return False
    try:
        user_queries.get_user_by_email(text)
    except UserNotFound:
        return True
    return False
