"""The short form of `acts.py`: an act on many users that is killed is taken up, and each user is changed once."""

import os
import time

from flask import Flask

from faults.acts import TRIALS, complaints, done, start
from support.acts import DEACTIVATE, add_crowd, begin
from support.application import SECRET_KEY
from support.people import Cast
from users.bulk.acts import working


def test_a_killed_act_is_taken_up(app: Flask, cast: Cast, database_url: str) -> None:
    """It was killed in the middle, after a step that was committed, and before the last one."""
    environment = {**os.environ, "DATABASE_URL": database_url, "SECRET_KEY": SECRET_KEY}
    with app.app_context():
        crowd = add_crowd(working.FIRST + 1)
        act_id = begin(DEACTIVATE, crowd, cast.ada).id
    worker = start(environment, pause=60)
    while worker.poll() is None and not done(app, act_id):
        time.sleep(0.01)
    worker.kill()
    worker.wait()
    assert done(app, act_id) == working.FIRST
    assert start(environment).wait(60) == 0
    assert list(complaints(app, act_id, TRIALS[0], crowd, refused={})) == []
