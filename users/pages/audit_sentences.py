"""Audit events as sentences: "ada@example.com created jo@example.com with the API key CI"."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from flask import g, url_for

from users import clock, ids
from users.actors import ActorKind
from users.audit.trail import Action, Outcome
from users.auth.factors.held import Kind
from users.bulk.export import HASH
from users.bulk.imports import made
from users.errors import LastAdministrator
from users.roles import Permission
from users.rules.validation import PROFILE_FIELDS
from users.services import api_keys, user_queries
from users.storage.models import AuditEvent

# What was done; {} is the user or key that it was done to.
_DONE: Mapping[str, str] = {
    Action.AUDIT_PRUNE: "pruned the audit trail",
    Action.FACTOR_CREATE: "added a second factor",
    Action.FACTOR_DELETE: "removed a second factor",
    Action.FACTOR_RESET: "reset the second factors of {}",
    Action.KEY_CREATE: "created {}",
    Action.KEY_REVOKE: "revoked {}",
    Action.KEY_ROLL: "rolled {}",
    Action.PASSWORD_LINK_CREATE: "made a password link for {}",
    Action.PASSWORD_LINK_REVOKE: "ended the password link of {}",
    Action.RECOVERY_CODES_CREATE: "made new recovery codes",
    Action.SECRET_KEY_ADOPT: "made its secret key the only one",
    Action.SESSION_CONFIRM: "confirmed that it is them",
    Action.SESSION_CREATE: "signed in",
    Action.SESSION_END: "signed out",
    Action.SESSION_END_ALL: "ended all sessions of {}",
    Action.SESSION_END_OTHER: "ended one of their other sessions",
    Action.SESSION_END_OTHERS: "ended their other sessions",
    Action.USER_CREATE: "created {}",
    Action.USER_DEACTIVATE: "deactivated {}",
    Action.USER_DELETE: "deleted {}",
    Action.USER_EXPORT: "exported users",
    Action.USER_IMPORT: "imported {}",
    Action.USER_PURGE: "erased {} for good",
    Action.USER_REACTIVATE: "reactivated {}",
    Action.USER_RESTORE: "restored {}",
    Action.USER_SET_PASSWORD: "set a new password for {}",
    Action.USER_UNLOCK: "unlocked {}",
    Action.USER_UPDATE: "changed {}",
    Action.USER_VERIFY: "verified the address of {}",
    Action.USER_VERIFY_PASSWORD: "checked the password of {}: right",
    Action.VERIFICATION_CREATE: "made a verification link for {}",
}
# With the link. The actor is the signed-in user, if there is one, else the user of the link.
_CHOSEN, _CHOSEN_BY_USER = "chose a password for {} with the link", "chose a password with the link"
_REFUSED: Mapping[str, str] = {
    Action.REQUEST_REFUSE: "was refused a request about {}",
    Action.SESSION_CONFIRM: "did not confirm that it is them",
    Action.SESSION_CREATE: "was refused a sign-in as {}",
    Action.USER_CREATE: "was refused the creation of {} once more",
    Action.USER_SET_PASSWORD: "was refused a new password: the current one was wrong",
    Action.USER_VERIFY_PASSWORD: "checked the password of {}: wrong",
}
# What was done with one second factor, which the event's fields name.
_DONE_WITH: Mapping[str, str] = {
    Action.FACTOR_CREATE: "added {}",
    Action.FACTOR_DELETE: "removed {}",
    Action.SESSION_CONFIRM: "confirmed that it is them with {}",
    Action.SESSION_CREATE: "signed in with {}",
}
_FACTORS: Mapping[str, str] = {
    Kind.APP: "an authenticator app",
    Kind.PASSKEY: "a passkey",
    Kind.RECOVERY_CODE: "a recovery code",
}
WRONG_FACTOR: Mapping[str, str] = {
    "second_factor": "the code or passkey was wrong",
    "sign_count": "the counter of the passkey fell back, so it may have been copied",
}
_TOO_MANY = ", after too many wrong passwords"
_TAKES_CODES = (Action.SESSION_CONFIRM, Action.SESSION_CREATE)  # where passwords and codes are counted together
_KINDS: dict[str, str] = {
    ActorKind.PASSWORD_LINK: "the holder of the password link",
    ActorKind.SETUP: "the set-up link",
    ActorKind.TERMINAL: "the command line",
    ActorKind.VERIFICATION: "the holder of the verification link",
    ActorKind.VISITOR: "a visitor",
}
# The fields of a user as their forms name them, and the others.
_FIELDS: Mapping[str, str] = {
    **{field.name: field.label for field in PROFILE_FIELDS},
    "created_at": "Created",
    "deactivated_at": "Deactivated",
    "expires_at": "Expires",
    "last_verified": "Email verified",
    "name": "Name",
    "password_hash": "Password hash",
    "owner_id": "Owner",
    "scopes": "Scopes",
}
# The field that each of these acts always changes: its verb says so.
_SAID: Mapping[str, str] = {
    Action.USER_DEACTIVATE: "is_active",
    Action.USER_REACTIVATE: "is_active",
    Action.USER_SET_PASSWORD: "password",
    Action.USER_VERIFY: "last_verified",
}


@dataclass(frozen=True)
class Part:
    """A piece of a sentence: our words, then a name that a person gave, or the id of an erased user or key."""

    words: str = ""
    name: str | None = None
    path: str | None = None  # of the page about it
    code: str = ""  # the beginning of a key, which tells it from another of the same name


@dataclass(frozen=True)
class DescribedEvent:
    """An event, its sentence and the words for its fields."""

    event: AuditEvent
    sentence: list[Part]
    fields: list[str]


class _Names:
    """The emails and the keys for the ids of some events, read with two queries."""

    def __init__(self, events: Sequence[AuditEvent]) -> None:
        self._emails = user_queries.emails_of(
            one for event in events for one in (event.actor_user_id, _if_user(event.target_id))
        )
        self._keys = api_keys.labels_of(
            one for event in events for one in (event.actor_key_id, _if_key(event.target_id))
        )
        self._imports = made.labels_of(
            event.target_id for event in events if event.action == Action.USER_IMPORT and event.target_id
        )
        self._uses = Counter(name for name, _ in self._keys.values())

    def user(self, user_id: str) -> Part:
        if user_id in self._emails:
            return Part(name=self._emails[user_id], path=url_for("users.show_user", user_id=user_id))
        return Part("the erased user ", user_id)

    def imported(self, import_id: str) -> list[Part]:
        """Return how many users an import made, linked to them, and the name of its file."""
        name, created = self._imports.get(import_id, (None, None))
        users = "users" if created is None else f"{created:,} {'user' if created == 1 else 'users'}"
        if Permission.USERS_IMPORT not in g.actor.permissions or created is None:
            of_import = url_for("users.show_trail", request=import_id)
            return [Part(name=users, path=of_import), Part(" from ", name or "pasted rows")]
        page = url_for("users.show_import", import_id=import_id)
        of_import = url_for("users.show_imported_users", import_id=import_id)
        return [Part(name=users, path=of_import), Part(" from ", name or "pasted rows", page)]

    def key(self, key_id: str) -> Part:
        """Return the key's name, with its prefix if the events name another key of that name."""
        if key_id not in self._keys:
            return Part("the erased API key ", key_id, url_for("users.show_trail", user=key_id))
        name, prefix = self._keys[key_id]
        return Part("the API key ", name, _page_of_key(key_id), f"{prefix}…" if self._uses[name] > 1 else "")


def _page_of_key(key_id: str) -> str:
    """Return the path of the key's page, or of the events about the key for a user who may not see that page."""
    may_see = Permission.KEYS_MANAGE in g.actor.permissions
    return url_for("users.show_key", key_id=key_id) if may_see else url_for("users.show_trail", user=key_id)


def describe(events: Sequence[AuditEvent], *, about: str | None = None) -> list[DescribedEvent]:
    """Return `events` with their sentences. The user or key `about` is called "this user" or "this key"."""
    names = _Names(events)
    return [DescribedEvent(event, _sentence(event, names, about), _field_words(event)) for event in events]


def _field_words(event: AuditEvent) -> list[str]:
    """Return the words for the fields that the act changed, unless the sentence says what they are."""
    is_said = event.outcome != Outcome.OK or event.action == Action.USER_EXPORT or _factor(event)
    said = _SAID.get(event.action)
    return [] if is_said else [_FIELDS.get(name, name) for name in event.fields if name != said]


def _factor(event: AuditEvent) -> str | None:
    """Return the words for the second factor of the act; None for an act without one, or with one not known here."""
    is_one = event.action in _DONE_WITH and event.outcome == Outcome.OK and len(event.fields) == 1
    return _FACTORS.get(event.fields[0]) if is_one else None


def _sentence(event: AuditEvent, names: _Names, about: str | None) -> list[Part]:
    before, place, after = _verb(event).partition("{}")
    actor = _actor(event, names, about)
    parts = [replace(actor, words=actor.words[:1].upper() + actor.words[1:]), Part(f" {before}")]
    if place and event.action == Action.USER_IMPORT and event.target_id:
        parts += names.imported(event.target_id)
    elif place:
        parts += [_target(event, names, about), Part(after)]
    if event.actor_user_id and event.actor_key_id:
        parts += [Part(" with "), names.key(event.actor_key_id)]
    return [*parts, Part(_reason(event))]


def _verb(event: AuditEvent) -> str:
    if _is_chosen(event):
        return _CHOSEN if event.actor_user_id else _CHOSEN_BY_USER
    if event.action == Action.USER_EXPORT and HASH in event.fields:
        return f"{_DONE[event.action]} with their password hashes"
    if factor := _factor(event):
        return _DONE_WITH[event.action].format(factor)
    words = _DONE if event.outcome == Outcome.OK else _REFUSED
    verb = words.get(event.action, f"{event.action} {{}}")
    return verb if event.target_id or event.action != Action.REQUEST_REFUSE else "was refused a request"


def _is_chosen(event: AuditEvent) -> bool:
    """Tell whether a password was chosen with a password link."""
    return event.actor_kind == ActorKind.PASSWORD_LINK and event.action == Action.USER_SET_PASSWORD


def _actor(event: AuditEvent, names: _Names, about: str | None) -> Part:
    if event.actor_user_id:
        return names.user(event.actor_user_id)
    if event.actor_key_id:
        return names.key(event.actor_key_id)
    if _is_chosen(event):
        return _target(event, names, about)
    return Part(_KINDS.get(event.actor_kind, event.actor_kind))


def _target(event: AuditEvent, names: _Names, about: str | None) -> Part:
    if event.target_id is None:
        return Part("an unknown user")
    if event.target_id == event.actor_user_id:
        return Part("themselves")
    if event.action == Action.USER_PURGE:
        return Part("the user ", event.target_id)
    if event.target_id == about:
        return Part("this key" if ids.is_key_id(event.target_id) else "this user")
    return names.key(event.target_id) if ids.is_key_id(event.target_id) else names.user(event.target_id)


def _reason(event: AuditEvent) -> str:
    if event.outcome == Outcome.THROTTLED:
        if event.action == Action.USER_CREATE:
            return ", after too many different bodies"
        return f"{_TOO_MANY} or codes" if event.action in _TAKES_CODES else _TOO_MANY
    if event.action == Action.AUDIT_PRUNE and event.target_id:
        return f": events before {clock.date(ids.moment_of(event.target_id))}"
    if event.action in _DONE_WITH and event.outcome == Outcome.REFUSED:
        return _reason_of_wrong_answer(event)
    if event.action != Action.REQUEST_REFUSE:
        return ""
    if event.fields == [LastAdministrator.code]:
        return ": no active administrator would be left"
    return f": it needs {', '.join(event.fields)}"


def _reason_of_wrong_answer(event: AuditEvent) -> str:
    """Tell a wrong second factor, after the right password, from a wrong password."""
    words = [WRONG_FACTOR[name] for name in event.fields if name in WRONG_FACTOR]
    if not words:
        return ": the password was wrong" if event.action == Action.SESSION_CONFIRM else ""
    right = "the password was right, " if event.action == Action.SESSION_CREATE else ""
    return f": {right}{words[0]}"


def _if_user(target_id: str | None) -> str | None:
    return target_id if ids.is_user_id(target_id or "") else None


def _if_key(target_id: str | None) -> str | None:
    return target_id if ids.is_key_id(target_id or "") else None
