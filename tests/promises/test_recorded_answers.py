"""What /v1 answered before, it answers still, to the byte: a record of requests and answers.

`tests/support/recorded_answers.py` says how to record anew.
"""

import json

import pytest
from flask import Flask

from support import recorded_answers


@pytest.mark.parametrize("settings", [recorded_answers.SETTINGS])
def test_answers_are_those_of_the_record(app: Flask) -> None:
    record = recorded_answers.read()
    found = recorded_answers.answers_of(app, record)
    assert len(found) > 150
    for recorded, now in zip(record, found, strict=True):
        assert now == recorded, recorded["name"]
        assert json.dumps(now["body"]) == json.dumps(recorded["body"])  # in the same order
