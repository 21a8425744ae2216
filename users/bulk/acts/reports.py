"""The report of an act on many users: the fate of each, as long as it is kept, and the password links, once."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update

from users import clock
from users.actors import Actor
from users.auth.authorization import authorized_transaction
from users.bulk.acts import jobs
from users.bulk.acts.jobs import ActNotFound
from users.bulk.acts.kinds import Act, Fate, may_be_touched
from users.form_errors import FormRefused
from users.roles import Permission
from users.services.links import password_links
from users.services.links.password_links import PasswordLink
from users.storage import database
from users.storage.models import BulkAct, BulkActUser, User

PAGE_SIZE = 50
_NOT_REFUSED = tuple(fate.value for fate in Fate)
_LINKS_AT_ONCE = 1_000


class LinksTaken(FormRefused):
    """The password links of the act were shown already, and are shown once."""

    message = "These links were shown already, and each link is shown once. Make new ones if they were lost."

    def __init__(self) -> None:
        super().__init__({})


@dataclass(frozen=True)
class Line:
    """One user of an act, and what became of them."""

    user_id: str
    email: str | None  # None if the user was erased
    fate: str | None  # None: not yet


def read(job: BulkAct, *, refused: bool = False, page: int = 1) -> tuple[Sequence[Line], bool]:
    """Return a page of the report, oldest user first, and whether there is another one after it.

    Without `refused` all users are in it, with it those alone who were refused.
    """
    users = select(BulkActUser.user_id, User.email, BulkActUser.fate).where(BulkActUser.act_id == job.id)
    if refused:
        users = users.where(BulkActUser.fate.not_in(_NOT_REFUSED))
    users = users.outerjoin(User, User.id == BulkActUser.user_id).order_by(BulkActUser.position)
    with database.reading() as session:
        rows = session.execute(users.offset((page - 1) * PAGE_SIZE).limit(PAGE_SIZE + 1)).all()
    return [Line(*row) for row in rows[:PAGE_SIZE]], len(rows) > PAGE_SIZE


def numbers(job: BulkAct) -> dict[str | None, int]:
    """Return how many users have each fate, None for those who have none. Empty when the report is gone."""
    fates = (
        select(BulkActUser.fate, func.count().label("number"))
        .where(BulkActUser.act_id == job.id)
        .group_by(BulkActUser.fate)
    )
    with database.reading() as session:
        return {row.fate: row.number for row in session.execute(fates)}


def can_take_links(job: BulkAct, actor: Actor) -> bool:
    """Tell whether the actor can be shown the password links of the act: who asked for it, once, after its end."""
    has_links = job.act == Act.LINKS and job.ended_at is not None and job.users_done > job.refused
    return has_links and "taken_at" not in job.options and jobs.is_own(job, actor)


def take_links(act_id: str, *, actor: Actor) -> Sequence[PasswordLink]:
    """Return the password links that the act has made and that are still open, this once.

    They are signed now: none was ever stored. Raises ActNotFound, LinksTaken, ConfirmationNeeded, Denied and the errors
    of `authorization.reauthorize`.
    """
    job = jobs.find(act_id, actor)
    if job.act != Act.LINKS or job.ended_at is None or not jobs.is_own(job, actor):
        raise ActNotFound
    actor.require_confirmation()
    found = _open_links(job, actor)  # slow, so before the transaction and its lock
    with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
        here = session.get_one(BulkAct, act_id, with_for_update=True)
        if "taken_at" in here.options:
            raise LinksTaken
        options = {**here.options, "taken_at": clock.rfc3339(clock.now())}
        session.execute(update(BulkAct).where(BulkAct.id == act_id).values(options=options))
    return found


def _open_links(job: BulkAct, actor: Actor) -> list[PasswordLink]:
    found: list[PasswordLink] = []
    after = -1
    made = (
        select(BulkActUser.position, User)
        .join(User, User.id == BulkActUser.user_id)
        .where(BulkActUser.act_id == job.id, BulkActUser.fate == Fate.DONE)
    )
    while True:
        some = made.where(BulkActUser.position > after).order_by(BulkActUser.position).limit(_LINKS_AT_ONCE)
        with database.reading() as session:
            rows = session.execute(some).all()
        if not rows:
            return found
        after = rows[-1].position
        users = [row.User for row in rows if may_be_touched(row.User.global_role_id, actor)]
        links = (password_links.opened_at(user, job.started_at or job.created_at) for user in users)
        found += [link for link in links if link]
