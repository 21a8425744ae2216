"""Two administrators reset each other's second factor at the same time."""

import threading

import pytest
from flask import Flask

from support.databases import rows
from support.factors import add_app, fully_signed_in, half_signed_in
from support.people import Cast, make_user
from support.visitors import Visitor, signed_in, token_in
from users.roles import Role
from users.storage.models import User


@pytest.mark.parametrize("_attempt", range(3))
def test_each_other_at_once(app: Flask, cast: Cast, _attempt: int) -> None:
    """Each reset that was done has its audit row, and both administrators can sign in again."""
    users = (cast.ada, make_user(app, "olga@example.com", Role.ADMIN))
    apps = {user.id: add_app(app, user) for user in users}
    visitors = [fully_signed_in(app, user, apps[user.id]) for user in users]
    start, statuses = threading.Barrier(2), dict[str, int]()

    def reset(visitor: Visitor, other: User) -> None:
        path = f"/admin/users/{other.id}/reset-second-factor"
        token = token_in(visitor.get(path))
        start.wait()
        statuses[other.id] = visitor.client.post(path, data={"csrf_token": token}).status_code

    threads = [threading.Thread(target=reset, args=given) for given in zip(visitors, reversed(users), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audited = [row.target_id for row in rows(app, "SELECT target_id FROM audit_events WHERE action = 'factor.reset'")]
    done = [user_id for user_id, status in statuses.items() if status == 303]
    assert sorted(audited) == sorted(done) != []
    assert set(statuses.values()) <= {303, 403}  # the session of the slower one may have ended before its act
    for user in users:
        if user.id in done:
            signed_in(app, user)
        else:
            half_signed_in(app, user)
