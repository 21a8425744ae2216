"""What is wrong with a form that was refused, in the words of its page."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from flask import g, request, url_for

from users import clock
from users.actors import ActorKind
from users.audit import trail
from users.errors import Conflict, EnrolError, Invalid, LastAdministrator, Unavailable
from users.field_errors import FieldCode, FieldError
from users.form_errors import FormRefused
from users.pages import forms
from users.services import user_queries
from users.storage.models import AuditEvent

_READ_ONLY = (
    "The database is read-only at the moment, so nothing was saved. Send it again in a few minutes. "
    "If this lasts, tell the administrator of this service."
)


@dataclass(frozen=True)
class Problem:
    """A problem, shown in the summary and beside its `field`. `link` is a path and its text."""

    message: str
    field: str | None = None
    link: tuple[str, str] | None = None
    note: str = ""


class Problems:
    """Collects the problems of one form, so that one answer shows all of them."""

    def __init__(self) -> None:
        self.by_field: dict[str, str] = {}

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Collect what the block refuses, and go on after it."""
        try:
            yield
        except Invalid as error:
            self.by_field.update((one.field, one.message) for one in error.errors)
        except FormRefused as error:
            self.by_field.update(error.problems)

    def all(self) -> list[Problem]:
        """Return the problems as the form's page shows them."""
        return [Problem(words, name) for name, words in self.by_field.items()]

    def raise_if_any(self) -> None:
        """Raise FormRefused if a problem was collected."""
        if self.by_field:
            raise FormRefused(self.by_field)


def problems_of(error: EnrolError) -> list[Problem]:
    """Return `error` as the problems that the form's page shows."""
    if isinstance(error, Invalid):
        return [Problem(_words(one), one.field) for one in error.errors]
    if isinstance(error, Conflict):
        return [_taken(error)]
    if isinstance(error, FormRefused) and error.problems:
        return [Problem(words, name) for name, words in error.problems.items()]
    if isinstance(error, Unavailable):  # of all its reasons, the form is shown again for this one
        return [Problem(_READ_ONLY)]
    if isinstance(error, LastAdministrator) and "global_role_id" in request.form:
        return [Problem(error.message, "global_role_id")]
    return [Problem(error.message)]


def _words(error: FieldError) -> str:
    """Return the message of the error, with the names of roles that the pages use."""
    if error.code != FieldCode.INVALID_ROLE:
        return error.message
    return f"Choose one of the roles: {', '.join(name for name, _ in forms.ROLE_WORDS.values())}"


def _taken(error: Conflict) -> Problem:
    """Say which user has the email and, if that user is new, who created them: often the same form, sent twice."""
    user_id, field = error.details.get("user_id"), "email" if "email" in request.form else None
    email = user_queries.emails_of([user_id]).get(user_id) if user_id and "user" in g else None
    if user_id is None or email is None:
        return Problem(error.message, field)
    generated = "generated" if request.form.get("choice") == forms.GENERATE else None
    link = (url_for("users.show_user", user_id=user_id, password=generated), f"View {email}")
    return Problem(error.message, field, link, _created_recently(user_id))


def _created_recently(user_id: str) -> str:
    for event in trail.recent(user_id):
        if event.action == trail.Action.USER_CREATE and clock.now() - event.at < clock.RECENT:
            return f"created by {_creator(event)} a moment ago"
    return ""


def _creator(event: AuditEvent) -> str:
    # The set-up's event names no actor: it creates the user who acts.
    creator_id = event.target_id if event.actor_kind == ActorKind.SETUP else event.actor_user_id
    if creator_id == g.actor.user_id:
        return "you"
    return user_queries.emails_of([event.actor_user_id]).get(event.actor_user_id or "", "somebody else")
