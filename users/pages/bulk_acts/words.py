"""What acts on many users, and what becomes of each user, are called."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from users.actors import Actor
from users.bulk.acts.kinds import YOURSELF, Act, Fate, Wanted
from users.errors import Conflict, Denied, LastAdministrator, UserDeactivated, UserNotFound
from users.pages.forms import ROLE_WORDS
from users.roles import Role
from users.storage.models import BulkAct

_SOONEST = 2  # seconds of work before the time left says anything
_VERBS: Mapping[Act, tuple[str, str, str]] = {  # to do it, doing it, done to so many
    Act.DEACTIVATE: ("Deactivate", "Deactivating", "deactivated"),
    Act.DELETE: ("Delete", "Deleting", "deleted"),
    Act.LINKS: ("Make password links for", "Making password links for", "given a password link"),
    Act.REACTIVATE: ("Reactivate", "Reactivating", "reactivated"),
    Act.RESTORE: ("Restore", "Restoring", "restored"),
    Act.ROLE: ("Give the role {} to", "Giving the role {} to", "given the role {}"),
}
_TAKING = ("Take the role away from", "Taking the role away from", "without a role now")
_ALREADY: Mapping[Act, str] = {
    Act.DEACTIVATE: "Deactivated already",
    Act.DELETE: "Deleted already",
    Act.REACTIVATE: "Active already",
    Act.RESTORE: "Not deleted",
    Act.ROLE: "So already",
}
_REFUSED: Mapping[str, str] = {
    Conflict.code: "Another user has the email address",
    Denied.code: "Can do more than you",
    LastAdministrator.code: "The last active administrator",
    UserDeactivated.code: "Deactivated",
    UserNotFound.code: "Deleted",
    YOURSELF: "You",
}
_STATES = {"waiting": "About to begin", "running": "Running", "finished": "Done", "failed": "Stopped"}
# The choices beside a list of users of each status.
_OFFERED = {
    "all": (Act.DEACTIVATE, Act.REACTIVATE, Act.LINKS, Act.ROLE, Act.DELETE),
    "active": (Act.DEACTIVATE, Act.LINKS, Act.ROLE, Act.DELETE),
    "deactivated": (Act.REACTIVATE, Act.ROLE, Act.DELETE),
    "deleted": (Act.RESTORE,),
}
_ROLE = "role:"  # before the role


def offered(shown: str, actor: Actor) -> dict[str, str]:
    """Return the acts that the actor may do to users of a list, by the values of their choices."""
    each = [one for act in _OFFERED[shown] for one in _each(act)]
    return {_value(one): _label(one) for one in each if one.is_for(actor)}


def read(value: str) -> Wanted | None:
    """Return what a choice asks for, None if it is none of them."""
    return next((one for act in Act for one in _each(act) if _value(one) == value), None)


def _each(act: Act) -> list[Wanted]:
    return [Wanted(act, role) for role in (*reversed(Role), None)] if act is Act.ROLE else [Wanted(act)]


def _value(wanted: Wanted) -> str:
    return f"{_ROLE}{wanted.role or ''}" if wanted.act is Act.ROLE else wanted.act


def _label(wanted: Wanted) -> str:
    if wanted.act is Act.ROLE:
        return f"Give the role “{ROLE_WORDS[wanted.role][0]}”" if wanted.role else "Take the role away"
    return "Make password links" if wanted.act is Act.LINKS else _VERBS[wanted.act][0]


def to_do(wanted: Wanted, number: int) -> str:
    """Return the act as a command."""
    return f"{_verb(wanted)[0]} {users(number)}"


def on_button(wanted: Wanted, number: int) -> str:
    """Return the act as a command that a phone has room for."""
    if wanted.act is Act.ROLE:
        return "Give the role" if wanted.role else "Take the role away"
    return "Make the links" if wanted.act is Act.LINKS else to_do(wanted, number)


def doing(wanted: Wanted, number: int) -> str:
    """Return the act as it goes on."""
    return f"{_verb(wanted)[1]} {users(number)}"


def done(wanted: Wanted, number: int) -> str:
    """Return what was done, to so many users."""
    return f"{users(number) if number else 'No user'} {_verb(wanted)[2]}"


def _verb(wanted: Wanted) -> tuple[str, str, str]:
    if wanted.act is Act.ROLE and wanted.role is None:
        return _TAKING
    role = f"“{ROLE_WORDS[wanted.role][0]}”" if wanted.role else ""
    before, now, after = _VERBS[wanted.act]
    return before.format(role), now.format(role), after.format(role)


def fate(wanted: Wanted, became: str | None) -> str:
    """Return what became of one user."""
    if became is None:
        return "Not done"
    if became == Fate.DONE:
        return f"{_verb(wanted)[2][:1].upper()}{_verb(wanted)[2][1:]}"
    return _ALREADY.get(wanted.act, became) if became == Fate.UNCHANGED else _REFUSED.get(became, became)


def state(job: BulkAct) -> str:
    """Return what the act's state is called."""
    return _STATES.get(job.state, job.state.capitalize())


def users(number: int) -> str:
    """Return a number of users in words."""
    return f"{number:,} {'user' if number == 1 else 'users'}"


@dataclass(frozen=True)
class Progress:
    """How far an act is."""

    percent: int
    words: str
    step: str  # what is announced: it changes ten times in the whole


def progress(job: BulkAct, now: datetime) -> Progress:
    """Return how far the act is."""
    percent = 100 * job.users_done // job.users_total
    words = [f"{job.users_done:,} of {users(job.users_total)}"]
    words += [f"{job.refused:,} refused"] if job.refused else []
    seconds = (now - job.started_at).total_seconds() if job.started_at else 0
    if job.users_done and seconds >= _SOONEST:
        left = (job.users_total - job.users_done) * seconds / job.users_done
        words.append("a few seconds left" if left < 5 else _left(left))
    return Progress(percent, " · ".join(words), f"{percent // 10 * 10}% done")


def _left(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(10, round(seconds / 10) * 10)} seconds left"
    return f"about {round(seconds / 60)} minutes left"
