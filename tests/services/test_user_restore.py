"""A deleted user is restored: what comes back, what has ended for good, and who may do it."""

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask

from support.api import Api, status_and_code
from support.changes import TERMINAL, events
from support.databases import execute, rows
from support.factors import add_app
from support.people import PASSWORD, UNKNOWN_ID, Cast, as_actor, make_key, make_user
from support.visitors import can_sign_in, signed_in
from users import clock, ids
from users.actors import Actor, ActorKind
from users.errors import Conflict, Denied, UserNotFound
from users.form_errors import ConfirmationNeeded, KeyEnded, PasswordLinkEnded, VerificationLinkEnded
from users.roles import Permission, Role
from users.services import api_keys, user_changes, user_purge, user_queries
from users.services.links import email_verification, password_links
from users.storage.models import ApiKey, User


def delete(user: User) -> None:
    """Delete the user, as a door does."""
    user_changes.delete_user(user.id, actor=TERMINAL)


def test_what_comes_back(app: Flask, cast: Cast) -> None:
    """The user as before, but deactivated; reactivated they sign in with the password they had."""
    with app.app_context():
        user_changes.verify_user(cast.omar.id, actor=TERMINAL)
        before = user_queries.get_user(cast.omar.id).as_user()
        delete(cast.omar)
        restored = user_changes.restore_user(cast.omar.id, actor=TERMINAL)
        assert restored.as_user() == user_queries.get_user(cast.omar.id).as_user()
        assert {**restored.as_user(), "updated_at": ""} == {**before, "is_active": False, "updated_at": ""}
        assert events(app, cast.omar)[-2:] == [("user.delete", []), ("user.restore", [])]
        assert not can_sign_in(app, cast.omar.email, PASSWORD)
        user_changes.reactivate_user(cast.omar.id, actor=TERMINAL)
    assert can_sign_in(app, cast.omar.email, PASSWORD)


def test_what_has_ended(app: Flask, cast: Cast) -> None:
    """Sessions, keys, links and second factors stay ended, also when the user is reactivated."""
    key = make_key(app, Permission.USERS_READ, owner=cast.omar)
    ((key_id,),) = rows(app, "SELECT id FROM api_keys")
    browser = signed_in(app, cast.omar)
    add_app(app, cast.omar)
    with app.app_context():
        link = password_links.make(cast.omar.id, actor=TERMINAL).token
        verification = email_verification.issue(cast.omar.id, actor=TERMINAL).token
        delete(cast.omar)
        user_changes.restore_user(cast.omar.id, actor=TERMINAL)
        user_changes.reactivate_user(cast.omar.id, actor=TERMINAL)
        with pytest.raises(PasswordLinkEnded):
            password_links.find_user(link)
        with pytest.raises(VerificationLinkEnded):
            email_verification.find_user(verification)
    assert status_and_code(Api(app.test_client(), key).get("/v1/user/")) == (401, "API_KEY_DEACTIVATED")
    assert not browser.is_in
    assert rows(app, "SELECT 1 FROM second_factors") == rows(app, "SELECT 1 FROM recovery_codes") == []
    revoked = rows(app, "SELECT actor_kind FROM audit_events WHERE action = 'key.revoke' AND target_id = :k", k=key_id)
    assert [tuple(row) for row in revoked] == [("terminal",)]


def test_deleted_by_an_older_version(app: Flask, cast: Cast) -> None:
    """It left a session, a link and the second factor, which end now."""
    browser = signed_in(app, cast.omar)
    add_app(app, cast.omar)
    with app.app_context():
        link = password_links.make(cast.omar.id, actor=TERMINAL).token
        execute(app, "UPDATE users SET deleted_at = updated_at WHERE id = :id", id=cast.omar.id)
        assert user_changes.restore_user(cast.omar.id, actor=TERMINAL).is_active is False
        user_changes.reactivate_user(cast.omar.id, actor=TERMINAL)
        with pytest.raises(PasswordLinkEnded):
            password_links.find_user(link)
    assert not browser.is_in
    assert rows(app, "SELECT 1 FROM second_factors") == []


@pytest.mark.one_database
def test_keys_that_had_ended(app: Flask, cast: Cast) -> None:
    """A key that was revoked before is not revoked again, and another owner's key not at all."""
    make_key(app, Permission.USERS_READ, owner=cast.omar)
    make_key(app, Permission.USERS_READ, owner=cast.ada)
    with app.app_context():
        mine, others = list(api_keys.list_keys())
        ended = api_keys.revoke_key(mine.id, actor=TERMINAL).deactivated_at
        delete(cast.omar)
        user_changes.restore_user(cast.omar.id, actor=TERMINAL)
        assert [key.deactivated_at for key in api_keys.list_keys()] == [ended, others.deactivated_at]
    assert len(rows(app, "SELECT 1 FROM audit_events WHERE action = 'key.revoke'")) == 1


def test_key_rolled_meanwhile(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """A roll that has locked the key when the restore comes is refused, and the restore waits for it: no deadlock."""
    make_key(app, Permission.USERS_READ, owner=cast.sam)

    def restore() -> User:
        with app.app_context():
            return user_changes.restore_user(cast.sam.id, actor=TERMINAL)

    with app.app_context(), ThreadPoolExecutor() as pool:
        (key,) = api_keys.list_keys()
        delete(cast.sam)
        restoring: list[Future[User]] = []

        def begin_to_restore(_key: ApiKey, _actor: Actor) -> None:
            restoring.append(pool.submit(restore))
            wait(restoring, timeout=0.5)

        monkeypatch.setattr(api_keys, "require_scopes", begin_to_restore)
        with pytest.raises(KeyEnded):
            api_keys.roll_key(key.id, ends_in=timedelta(), new_id=ids.new_id("akid"), lifetime=None, actor=TERMINAL)
        assert restoring[0].result().deleted_at is None
        assert [one.deactivated_at is None for one in api_keys.list_keys()] == [False]


@pytest.mark.one_database
@pytest.mark.parametrize("again", [False, True], ids=["", "and deleted again"])
def test_restored_during_a_purge(app: Flask, cast: Cast, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """A purge that has found the user already leaves the one who is restored before the row goes."""
    with app.app_context():
        delete(cast.sam)

        def restore_first(user_id: str) -> None:
            restored = user_changes.restore_user(user_id, actor=TERMINAL)
            if again:
                delete(restored)

        monkeypatch.setattr(user_purge, "_erase_ip_addresses", restore_first)
        assert user_purge.purge_users(clock.now(), actor=TERMINAL) == 0
        assert user_queries.get_user_even_deleted(cast.sam.id).is_active is False


def test_user_who_is_not_deleted(app: Flask, cast: Cast) -> None:
    """Nothing happens, once more as before."""
    with app.app_context():
        assert user_changes.restore_user(cast.sam.id, actor=TERMINAL).as_user() == cast.sam.as_user()
        delete(cast.sam)
        first = user_changes.restore_user(cast.sam.id, actor=TERMINAL)
        assert user_changes.restore_user(cast.sam.id, actor=TERMINAL).as_user() == first.as_user()
    assert events(app, cast.sam) == [("user.delete", []), ("user.restore", [])]


def test_unknown_and_purged(app: Flask, cast: Cast) -> None:
    with app.app_context():
        delete(cast.sam)
        user_purge.purge_users(clock.now(), actor=TERMINAL)
        for user_id in (cast.sam.id, UNKNOWN_ID, "usr_\0", "sam"):
            with pytest.raises(UserNotFound):
                user_changes.restore_user(user_id, actor=TERMINAL)


@pytest.mark.parametrize("taken", ["sam@example.com", "SAM@example.com"])
def test_taken_email(app: Flask, cast: Cast, taken: str) -> None:
    """It stays as it was, and the error names the other user only to an actor who may read users."""
    with app.app_context():
        delete(cast.sam)
        holder = make_user(app, taken)
        blind = Actor(ActorKind.TERMINAL, frozenset({Permission.USERS_DELETE}))
        for actor, named in ((TERMINAL, {"user_id": holder.id}), (blind, {})):
            with pytest.raises(Conflict) as refused:
                user_changes.restore_user(cast.sam.id, actor=actor)
            assert {name: one for name, one in refused.value.details.items() if name == "user_id"} == named
        assert user_queries.get_user_even_deleted(cast.sam.id).deleted_at
        assert events(app, cast.sam) == [("user.delete", [])]
        delete(holder)
        assert user_changes.restore_user(cast.sam.id, actor=TERMINAL).deleted_at is None


@pytest.mark.one_database
@pytest.mark.parametrize("role", [None, *Role])
def test_who_may(app: Flask, cast: Cast, role: Role | None) -> None:
    """The actor needs users:delete and all that the role gives, and for a role that gives something a fresh proof."""
    jo = make_user(app, "jo@example.com", role)
    gives = bool(role and role.permissions)
    narrow = Actor(ActorKind.TERMINAL, frozenset({Permission.USERS_DELETE}))
    old_proof = replace(as_actor(app, cast.ada), needs_confirmation=True)
    with app.app_context():
        delete(jo)
        for actor in (as_actor(app, cast.omar), as_actor(app, cast.vera), *([narrow] if gives else [])):
            with pytest.raises(Denied):
                user_changes.restore_user(jo.id, actor=actor)
        if gives:
            with pytest.raises(ConfirmationNeeded):
                user_changes.restore_user(jo.id, actor=old_proof)
        assert user_queries.get_user_even_deleted(jo.id).deleted_at
        restored = user_changes.restore_user(jo.id, actor=TERMINAL if gives else old_proof)
        assert (restored.global_role_id, restored.is_active) == (role, False)


@pytest.mark.one_database
def test_found_by_the_email_they_had(app: Flask, cast: Cast) -> None:
    """Deleted users are found in any spelling of their email, the newest first; the others are not."""
    with app.app_context():
        assert user_queries.find_deleted_by_email("sam@example.com") == []
        delete(cast.sam)
        other = make_user(app, "SAM@example.com")
        delete(other)
        make_user(app, "sam@example.com")
        for spelling in ("Sam@EXAMPLE.com", "sam\uff20example.com", "sam@example.com\u3164"):
            found = user_queries.find_deleted_by_email(spelling)
            assert [user.id for user in found] == [other.id, cast.sam.id]
        assert user_queries.find_deleted_by_email("no email") == []
