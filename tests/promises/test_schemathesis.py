"""Generated requests, right ones and wrong ones, to every operation of the document at a running service.

By hand, with more of them: .venv/bin/pytest tests/promises/test_schemathesis.py --hypothesis-profile=long
"""

import subprocess
from pathlib import Path

from hypothesis import settings

from support.application import app_on
from support.installations import installed
from support.people import make_key, make_user
from support.servers import BIN
from users.openapi import contract
from users.roles import Permission, Role

TESTS = Path(__file__).parents[1]
CONFIGURATION = """
headers = { X-API-Key = "${API_KEY}" }

[checks.positive_data_acceptance]
# What a right request can still meet: no such user, an email that is taken, and a user who has changed.
expected-statuses = ["2xx", "404", "409", "412"]

# Those that take an Idempotency-Key: few of them are generated, and each takes a few bodies alone.
[[operations]]
include-name = ["POST /v1/user/", "POST /v1/user/invite"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "429"]

# What is wrong with one of many users is told in the answer, whose status is 200.
[[operations]]
include-name = "POST /v1/user/import"
checks.negative_data_rejection.enabled = false
# Two of the generated users may have one email, and then nothing is created.
checks.positive_data_acceptance.expected-statuses = ["2xx", "422", "429"]

# A file that holds no users is taken, and its import fails: the answer comes before the file is read. A schema cannot
# say that no header is mapped twice (400). Ten imports at once are the most (429), and a key stands for one file (422).
[[operations]]
include-name = "POST /v1/user/import/jobs"
checks.negative_data_rejection.enabled = false
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "422", "429"]
"""


def test_service_keeps_the_contract(tmp_path: Path) -> None:
    """All checks of Schemathesis, in all its phases. Its seed is fixed unless there are many examples."""
    by_hand = settings().max_examples > 1000
    how = ["--max-examples", "500"] if by_hand else ["--max-examples", "3", "--generation-deterministic"]
    with installed(tmp_path / "enrol", {"ENROL_RATE_LIMIT": "off"}) as here:
        (server,) = here.start("granian")
        with app_on(here) as app:
            key = make_key(app, *Permission, owner=make_user(app, "ada@example.com", Role.ADMIN))
        (tmp_path / "schemathesis.toml").write_text(CONFIGURATION, encoding="utf-8")
        line = [str(BIN / "schemathesis"), "--config-file", str(tmp_path / "schemathesis.toml"), "run"]
        run = subprocess.run(
            [*line, f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all", *how],
            cwd=tmp_path,
            env={**here.environment, "API_KEY": key, "PYTHONPATH": str(TESTS), "SCHEMATHESIS_HOOKS": "support.formats"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 0, run.stdout
    number = len(contract.operations())
    assert f"{number} selected / {number} total" in run.stdout
