"""Audit events in sentences: every act has its words, and erased users and keys still read well."""

from dataclasses import replace

import pytest
from flask import Flask, g

from support.databases import rows
from support.people import Cast, make_key
from users import ids
from users.actors import Actor, ActorKind, terminal
from users.audit.trail import Action, Outcome
from users.pages import audit_sentences
from users.roles import ALL_PERMISSIONS, Permission
from users.storage.models import AuditEvent

pytestmark = pytest.mark.one_database

GONE_USER, GONE_KEY = "usr_" + "0" * 32, "akid_" + "0" * 32
VISITOR = Actor(kind=ActorKind.VISITOR, permissions=frozenset())


def told(
    app: Flask,
    action: str,
    target_id: str | None,
    actor: Actor,
    *,
    fields: list[str] | None = None,
    outcome: Outcome = Outcome.OK,
    about: str | None = None,
) -> str:
    """Return the sentence of an event."""
    event = AuditEvent(
        id=ids.new_id("evt"),
        action=action,
        outcome=outcome,
        actor_kind=actor.kind,
        actor_user_id=actor.user_id,
        actor_key_id=actor.key_id,
        target_id=target_id,
        fields=fields or [],
    )
    with app.test_request_context():
        g.actor = VISITOR  # who reads it
        (one,) = audit_sentences.describe([event], about=about)
    return "".join(f"{part.words}{part.name or ''}" for part in one.sentence)


@pytest.fixture
def ada(cast: Cast) -> Actor:
    """Ada the administrator, signed in."""
    return Actor(kind=ActorKind.SESSION, permissions=ALL_PERMISSIONS, user_id=cast.ada.id)


@pytest.fixture
def key_id(app: Flask, cast: Cast) -> str:
    """The id of the API key CI."""
    make_key(app, Permission.USERS_READ, owner=cast.ada, name="CI")
    return str(rows(app, "SELECT id FROM api_keys")[0][0])


def test_sentence(app: Flask, cast: Cast, ada: Actor, key_id: str) -> None:
    """A sentence names the actor, the act and the target."""
    omar = cast.omar.id
    with_key = replace(ada, kind=ActorKind.KEY, key_id=key_id)
    service_key = replace(with_key, user_id=None)
    say = "ada@example.com"
    assert told(app, Action.USER_CREATE, omar, ada) == f"{say} created omar@example.com"
    assert told(app, Action.USER_CREATE, omar, with_key) == f"{say} created omar@example.com with the API key CI"
    assert told(app, Action.USER_CREATE, omar, service_key) == "The API key CI created omar@example.com"
    assert told(app, Action.USER_CREATE, omar, terminal("req_1")) == "The command line created omar@example.com"
    assert told(app, Action.USER_CREATE, omar, replace(VISITOR, kind=ActorKind.SETUP)).startswith(
        "The set-up link created"
    )
    clicked = told(app, Action.USER_VERIFY, omar, replace(VISITOR, kind=ActorKind.VERIFICATION))
    assert clicked == "The holder of the verification link verified the address of omar@example.com"
    by_link = replace(VISITOR, kind=ActorKind.PASSWORD_LINK)
    for actor, about, words in (
        (by_link, None, "omar@example.com chose a password with the link"),
        (by_link, omar, "This user chose a password with the link"),
        (replace(by_link, user_id=cast.ada.id), None, f"{say} chose a password for omar@example.com with the link"),
        (replace(by_link, user_id=omar), omar, "omar@example.com chose a password for themselves with the link"),
    ):
        assert told(app, Action.USER_SET_PASSWORD, omar, actor, about=about) == words
    assert told(app, Action.PASSWORD_LINK_CREATE, omar, ada) == f"{say} made a password link for omar@example.com"
    assert told(app, Action.PASSWORD_LINK_REVOKE, omar, ada) == f"{say} ended the password link of omar@example.com"
    assert told(app, Action.USER_CREATE, omar, ada, about=omar) == f"{say} created this user"
    assert told(app, Action.USER_DEACTIVATE, cast.ada.id, ada) == f"{say} deactivated themselves"
    assert told(app, Action.KEY_REVOKE, key_id, ada) == f"{say} revoked the API key CI"
    assert told(app, Action.SESSION_CREATE, cast.ada.id, ada) == f"{say} signed in"
    assert told(app, Action.SESSION_END_ALL, omar, ada) == f"{say} ended all sessions of omar@example.com"
    assert told(app, Action.SESSION_END_OTHER, cast.ada.id, ada) == f"{say} ended one of their other sessions"


@pytest.mark.parametrize(
    ("action", "fields", "words"),
    [
        (Action.FACTOR_CREATE, ["totp"], "added an authenticator app"),
        (Action.FACTOR_DELETE, ["passkey"], "removed a passkey"),
        (Action.FACTOR_DELETE, ["of a newer version"], "removed a second factor"),
        (Action.RECOVERY_CODES_CREATE, [], "made new recovery codes"),
        (Action.SESSION_CONFIRM, [], "confirmed that it is them"),
        (Action.SESSION_CONFIRM, ["totp"], "confirmed that it is them with an authenticator app"),
        (Action.SESSION_CREATE, ["passkey"], "signed in with a passkey"),
        (Action.SESSION_CREATE, ["recovery_code"], "signed in with a recovery code"),
        (Action.SESSION_END_OTHER, [], "ended one of their other sessions"),
    ],
)
def test_second_factor(app: Flask, cast: Cast, ada: Actor, action: Action, fields: list[str], words: str) -> None:
    """A sentence names the second factor."""
    assert told(app, action, cast.ada.id, ada, fields=fields) == f"ada@example.com {words}"


def test_fields_that_the_sentence_says(app: Flask, cast: Cast) -> None:
    """The second factor stands in the sentence alone."""
    event = AuditEvent(
        action=Action.SESSION_CREATE,
        outcome=Outcome.OK,
        actor_kind=ActorKind.SESSION,
        actor_user_id=cast.ada.id,
        target_id=cast.ada.id,
        fields=["totp"],
    )
    with app.test_request_context():
        (said,) = audit_sentences.describe([event])
        event.action, event.fields = Action.USER_UPDATE, ["first_name"]
        (listed,) = audit_sentences.describe([event])
    assert (said.fields, listed.fields) == ([], ["First name"])


def test_acts_on_another_users_factor(app: Flask, cast: Cast, ada: Actor) -> None:
    omar = cast.omar.id
    assert told(app, Action.FACTOR_RESET, omar, ada) == "ada@example.com reset the second factors of omar@example.com"
    assert told(app, Action.SESSION_END_ALL, omar, ada) == "ada@example.com ended all sessions of omar@example.com"


def test_a_refusal_says_why(app: Flask, cast: Cast, ada: Actor) -> None:
    def refused(action: Action, target_id: str | None, actor: Actor, *fields: str) -> str:
        return told(app, action, target_id, actor, fields=list(fields), outcome=Outcome.REFUSED)

    who = "ada@example.com was refused a request"
    assert refused(Action.REQUEST_REFUSE, None, ada, "keys:manage", "users:read") == (
        f"{who}: it needs keys:manage, users:read"
    )
    assert refused(Action.REQUEST_REFUSE, cast.omar.id, ada, "users:delete") == (
        f"{who} about omar@example.com: it needs users:delete"
    )
    assert refused(Action.REQUEST_REFUSE, cast.ada.id, ada, "LAST_ADMINISTRATOR") == (
        f"{who} about themselves: no active administrator would be left"
    )
    assert (
        refused(Action.SESSION_CREATE, cast.omar.id, VISITOR) == "A visitor was refused a sign-in as omar@example.com"
    )
    assert refused(Action.SESSION_CREATE, None, VISITOR) == "A visitor was refused a sign-in as an unknown user"
    assert refused(Action.SESSION_CREATE, cast.omar.id, VISITOR, "second_factor") == (
        "A visitor was refused a sign-in as omar@example.com: the password was right, the code or passkey was wrong"
    )
    assert refused(Action.SESSION_CONFIRM, cast.ada.id, ada) == (
        "ada@example.com did not confirm that it is them: the password was wrong"
    )
    assert refused(Action.SESSION_CONFIRM, cast.ada.id, ada, "sign_count") == (
        "ada@example.com did not confirm that it is them: "
        "the counter of the passkey fell back, so it may have been copied"
    )


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (Action.SESSION_CONFIRM, "did not confirm that it is them, after too many wrong passwords or codes"),
        (Action.SESSION_CREATE, "was refused a sign-in as omar@example.com, after too many wrong passwords or codes"),
        (Action.USER_CREATE, "was refused the creation of omar@example.com once more, after too many different bodies"),
        (
            Action.USER_VERIFY_PASSWORD,
            "checked the password of omar@example.com: wrong, after too many wrong passwords",
        ),
    ],
)
def test_refusal_after_too_many(app: Flask, cast: Cast, ada: Actor, action: Action, words: str) -> None:
    """Passwords and codes are counted together where codes are asked for."""
    throttled = told(app, action, cast.omar.id, ada, outcome=Outcome.THROTTLED)
    assert throttled == f"ada@example.com {words}"


def test_erased_user(app: Flask, ada: Actor) -> None:
    """A sentence names an erased user by their id."""
    gone = replace(ada, user_id=GONE_USER)
    assert told(app, Action.SESSION_CREATE, GONE_USER, gone) == f"The erased user {GONE_USER} signed in"
    purged = told(app, Action.USER_PURGE, GONE_USER, terminal("req_1"))
    assert purged == f"The command line erased the user {GONE_USER} for good"
    sentence = told(app, Action.KEY_REVOKE, GONE_KEY, replace(gone, key_id=GONE_KEY))
    assert sentence == (
        f"The erased user {GONE_USER} revoked the erased API key {GONE_KEY} with the erased API key {GONE_KEY}"
    )


@pytest.mark.parametrize("action", Action)
def test_every_act_has_words(app: Flask, ada: Actor, action: Action) -> None:
    outcome = Outcome.REFUSED if action == Action.REQUEST_REFUSE else Outcome.OK
    assert action.value not in told(app, action, GONE_USER, ada, outcome=outcome)


def test_unknown_action(app: Flask, ada: Actor) -> None:
    """An action of a newer version is shown by its name."""
    assert told(app, "user.rename", GONE_USER, ada).startswith("ada@example.com user.rename the erased user")


@pytest.mark.parametrize(
    ("action", "fields", "words"),
    [
        (Action.KEY_REVOKE, ["deactivated_at"], ["Deactivated"]),
        (Action.USER_DEACTIVATE, ["is_active"], []),
        (Action.USER_SET_PASSWORD, ["password", "password_change_required"], ["Password change required"]),
        (Action.USER_UPDATE, ["global_role_id", "of_a_newer_version"], ["Role", "of_a_newer_version"]),
        (Action.USER_VERIFY, ["last_verified"], []),
    ],
)
def test_fields(app: Flask, ada: Actor, action: Action, fields: list[str], words: list[str]) -> None:
    """Fields have the words of the forms. What the verb says already is not repeated."""
    event = AuditEvent(action=action, outcome=Outcome.OK, actor_kind=ada.kind, actor_user_id=ada.user_id, fields=fields)
    with app.test_request_context():
        (described,) = audit_sentences.describe([event])
    assert described.fields == words
