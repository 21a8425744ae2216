"""How many statements an act on many users has: each one would make the lock of a step longer."""

import pytest
from flask import Flask

from support.acts import DEACTIVATE, DELETE, LINKS, REACTIVATE, RESTORE, add_crowd, begin, fates, run, take_up
from support.databases import statements
from support.people import Cast
from users.bulk.acts.kinds import Act, Wanted
from users.roles import Role

ACTS = (DEACTIVATE, REACTIVATE, LINKS, Wanted(Act.ROLE, Role.MEMBER), DELETE, RESTORE)
BEFORE = {Act.REACTIVATE: DEACTIVATE, Act.RESTORE: DELETE}


@pytest.mark.parametrize("wanted", ACTS, ids=lambda one: one.act)
def test_as_many_for_thirty_users_as_for_three(app: Flask, cast: Cast, wanted: Wanted) -> None:
    numbers = []
    with app.app_context():
        crowd = add_crowd(33)
        if wanted.act in BEFORE:
            run(BEFORE[wanted.act], crowd, cast.ada)
        for some in (crowd[:3], crowd[3:]):
            job = begin(wanted, some, cast.ada)
            with statements(app) as asked:
                take_up(job.id)
            numbers.append(len(asked))
            assert set(fates(app, job.id).values()) == {"done"}
    assert numbers[0] == numbers[1]
