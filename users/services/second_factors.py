"""The acts on second factors: a user's own, and the reset by another. Each is one transaction with its audit row.

A new factor counts once its user has given a right answer with it and has recovery codes.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from users import clock, ids, settings
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import sessions
from users.auth.authorization import authorized_transaction, reauthorize
from users.auth.factors import apps, held, passkeys, recovery_codes
from users.auth.factors.held import Kind, WrongCode
from users.auth.factors.passkeys import BadPasskey, Site
from users.auth.sessions import CurrentSession
from users.errors import Denied
from users.form_errors import FactorNotFound, LastFactor, Outdated, PasskeyKnown, TooManyFactors
from users.roles import Permission
from users.services import user_changes
from users.storage import database
from users.storage.models import SecondFactor, User

MOST_PER_USER = 10
NAMES = {Kind.APP: "Authenticator app", Kind.PASSKEY: "Passkey"}


def get(user_id: str, factor_id: str) -> SecondFactor:
    """Return the user's factor, also one that does not count yet. Raises FactorNotFound."""
    with database.reading() as session:
        return _factor(session, user_id, factor_id, lock=False)


def begin_app(*, actor: Actor) -> SecondFactor:
    """Return a new authenticator app of the actor, which does not count yet. It replaces one begun before.

    Raises TooManyFactors.
    """
    with _own(actor) as (session, user):
        _require_room(session, user)
        _drop_unfinished(session, user)
        return _add(session, user, Kind.APP, apps.new_secret(), counter=0)


def prove_app(factor_id: str, code: str, name: str, *, actor: Actor) -> list[str]:
    """Take the first code of a new app; return new recovery codes, or none if the user has some: the app counts then.

    Raises WrongCode, and FactorNotFound if it is no app or the secret key has changed since it was begun.
    """
    with _own(actor) as (session, user):
        factor, now = _factor(session, user.id, factor_id), clock.now()
        if factor.kind != Kind.APP or not held.is_readable(factor):
            raise FactorNotFound
        if factor.active_since or not apps.take(factor, apps.tidied(code), now):
            raise WrongCode
        factor.name = name or NAMES[Kind.APP]
        return _prove(session, factor, now, actor)


def add_passkey(
    current: CurrentSession, site: Site, answer: str, name: str, *, actor: Actor
) -> tuple[SecondFactor, list[str]]:
    """Add the passkey that the browser made; return it, and recovery codes as `prove_app` does.

    Raises WrongCode if the answer is not one to the session's challenge, Outdated if that is too old, PasskeyKnown if
    it was added before, and TooManyFactors.
    """
    with database.transaction() as session:
        challenge = held.take_challenge(session, current.id_hash, clock.now())
    if challenge is None:
        raise Outdated
    try:
        secret, counter = passkeys.new_secret(site, challenge, answer)
    except BadPasskey:
        raise WrongCode from None
    with _own(actor) as (session, user):
        _require_room(session, user)
        _drop_unfinished(session, user)
        known = [one for one in _active(session, user.id) if one.kind == Kind.PASSKEY]
        if passkeys.is_among(secret, known):
            raise PasskeyKnown
        factor = _add(session, user, Kind.PASSKEY, secret, counter)
        factor.name = name or NAMES[Kind.PASSKEY]
        return factor, _prove(session, factor, clock.now(), actor)


def activate(current: CurrentSession, factor_id: str, *, actor: Actor) -> CurrentSession:
    """Let a factor that was proved count, and return the session under a new id.

    With the first factor the user's other sessions end. Raises FactorNotFound, and Outdated for an unproved factor.
    """
    with _own(actor) as (session, user):
        factor, is_first = _factor(session, user.id, factor_id), not _active(session, user.id)
        if factor.proved_at is None:
            raise Outdated
        if factor.active_since is None:
            _count(session, factor, clock.now(), actor)
        session.flush()
        renewed = sessions.renew(session, current, user, clock.now(), has_factor=True)
        if is_first:
            sessions.end_all(session, user.id, but=renewed.id)
        return renewed


def new_codes(*, actor: Actor) -> list[str]:
    """Return new recovery codes of the actor, which end the old ones. Raises FactorNotFound without a factor."""
    with _own(actor) as (session, user):
        proved = (SecondFactor.user_id == user.id, SecondFactor.proved_at.is_not(None))
        if session.scalar(select(SecondFactor.id).where(*proved).limit(1)) is None:
            raise FactorNotFound
        return _new_codes(session, user.id, clock.now(), actor)


def rename(factor_id: str, name: str, *, actor: Actor) -> SecondFactor:
    """Give the actor's factor another name. Raises FactorNotFound."""
    with authorized_transaction(actor) as (session, actor):
        factor = _factor(session, str(actor.user_id), factor_id)
        factor.name = name or NAMES[Kind(factor.kind)]
        return factor


def remove(factor_id: str, *, actor: Actor) -> SecondFactor:
    """Remove the actor's factor; with the last one their recovery codes end too.

    Raises FactorNotFound, and LastFactor if a second factor is required of the actor.
    """
    with _own(actor) as (session, user):
        factor, active = _factor(session, user.id, factor_id), _active(session, user.id)
        is_last = [one.id for one in active] == [factor.id]
        if is_last and settings.current().requires_second_factor(user.global_role_id):
            raise LastFactor
        session.delete(factor)
        if is_last:
            recovery_codes.forget(session, user.id)
        if factor.active_since:
            trail.record(session, Action.FACTOR_DELETE, user.id, actor, clock.now(), [factor.kind])
        return factor


def in_words(factors: Iterable[SecondFactor]) -> str:
    """Return the kinds of the factors, each once, as in "Authenticator app, passkey"; "None" without a factor."""
    kinds = dict.fromkeys(NAMES[Kind(factor.kind)] for factor in factors)
    return ", ".join(kinds).capitalize() or "None"


def reset(user_id: str, *, actor: Actor) -> User:
    """Remove all factors and recovery codes of another user and end their sessions; without a factor do nothing.

    Raises Denied, also for the actor's own factors, UserNotFound and ConfirmationNeeded.
    """
    actor.require_confirmation()
    with authorized_transaction(actor, Permission.USERS_UPDATE) as (session, actor):
        user = user_changes.lock_for_change(session, user_id, actor)
        if user.id == actor.user_id:
            raise Denied(missing=())
        if held.forget(session, user.id):
            sessions.end_all(session, user.id)
            trail.record(session, Action.FACTOR_RESET, user.id, actor, clock.now(), [])
    return user


@contextmanager
def _own(actor: Actor) -> Iterator[tuple[Session, User]]:
    """Yield a transaction and the actor's own user, locked, for an act that needs a confirmation."""
    actor.require_confirmation()
    with database.transaction() as session:
        user = session.scalars(select(User).where(User.id == actor.user_id).with_for_update()).one()
        reauthorize(session, actor)  # after the wait for the lock: a reset may have ended the session
        yield session, user


def _factor(session: Session, user_id: str, factor_id: str, *, lock: bool = True) -> SecondFactor:
    found = select(SecondFactor).where(SecondFactor.user_id == user_id, SecondFactor.id == factor_id)
    if lock:  # clean-up deletes factors too
        found = found.with_for_update()
    factor = session.scalar(found) if ids.is_factor_id(factor_id) else None
    if factor is None:
        raise FactorNotFound
    return factor


def _active(session: Session, user_id: str) -> Sequence[SecondFactor]:
    theirs = (SecondFactor.user_id == user_id, SecondFactor.active_since.is_not(None))
    return session.scalars(select(SecondFactor).where(*theirs)).all()


def _require_room(session: Session, user: User) -> None:
    if len(_active(session, user.id)) >= MOST_PER_USER:
        raise TooManyFactors


def _drop_unfinished(session: Session, user: User) -> None:
    theirs = (SecondFactor.user_id == user.id, SecondFactor.active_since.is_(None))
    session.execute(delete(SecondFactor).where(*theirs))


def _add(session: Session, user: User, kind: Kind, secret: bytes, counter: int) -> SecondFactor:
    factor = SecondFactor(
        id=ids.new_id("fct"),
        user_id=user.id,
        kind=kind,
        name=NAMES[kind],
        secret=secret,
        counter=counter,
        created_at=clock.now(),
    )
    session.add(factor)
    return factor


def _prove(session: Session, factor: SecondFactor, now: datetime, actor: Actor) -> list[str]:
    """Note the right answer; return new recovery codes if the user has none, or else let the factor count."""
    factor.proved_at = now
    session.flush()
    if _active(session, factor.user_id) and recovery_codes.has_any(session, factor.user_id):
        _count(session, factor, now, actor)
        return []
    return _new_codes(session, factor.user_id, now, actor)


def _count(session: Session, factor: SecondFactor, now: datetime, actor: Actor) -> None:
    factor.active_since = now
    trail.record(session, Action.FACTOR_CREATE, factor.user_id, actor, now, [factor.kind])


def _new_codes(session: Session, user_id: str, now: datetime, actor: Actor) -> list[str]:
    trail.record(session, Action.RECOVERY_CODES_CREATE, user_id, actor, now, [])
    return recovery_codes.replace(session, user_id)
