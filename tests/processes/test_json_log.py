"""The log of a production server is JSON from the start to the end: Granian's lines, sentences and errors too."""

import json
import signal
import socket
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.installations import Installation, installed
from support.people import PASSWORD
from support.servers import START_SECONDS


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Installation]:
    """A copy of the application with a new instance folder; its servers are ended with the test."""
    with installed(tmp_path / "enrol") as made:
        yield made


def parsed(log: str) -> list[dict[str, Any]]:
    """Return the lines of a log, each of which must be an object that says when, how bad and what."""
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(list(line)[:3] == ["time", "level", "event"] for line in lines)
    return lines


def messages(log: str) -> list[str]:
    """Return the sentences in a log, of Enrol and of Granian."""
    return [line["message"] for line in parsed(log) if line["event"] == "message"]


def test_from_start_to_stop(here: Installation) -> None:
    """A first start, requests, a fault and SIGTERM."""
    (server,) = here.start("granian")
    server.call("POST", "/v1/user/", key="ak_wrong", body={"email": "jo@example.com", "password": PASSWORD})
    key = here.flask("keys", "create", "test", "--scope", "users:create", "--scope", "users:read").stdout.strip()
    with closing(sqlite3.connect(here.instance / "enrol.db")) as database:
        database.execute("UPDATE api_keys SET scopes = 'no JSON'")
        database.commit()
    assert server.call("GET", "/v1/user/", key=key).status == 500
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(START_SECONDS) == 0
    lines = parsed(server.log())
    assert {"message", "request", "unexpected_error"} <= {line["event"] for line in lines}
    said = messages(server.log())
    assert "Database brought to 0001." in said
    assert any(one.startswith("No administrator yet.") for one in said)
    assert "Started worker-1" in said
    assert said[-1].startswith("Granian shutdown completed")


def test_error_at_the_start(here: Installation) -> None:
    """A fault of Enrol itself, which would leave a traceback."""
    program = "import app; app.create_app = lambda: 1 / 0; app.serve()"
    ended = here.run([sys.executable, "-W", "always", "-c", program])
    (line,) = parsed(ended.stderr)
    assert (ended.returncode, line["event"], line["error"]) == (1, "unexpected_error", "ZeroDivisionError")


def test_port_in_use(here: Installation) -> None:
    """Granian's main process ends with an error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        line = here.command("granian")[0]
        line[line.index("--port", line.index("8000")) + 1] = str(taken.getsockname()[1])
        ended = here.run(line)
    told = parsed(ended.stderr)[-1]
    assert (ended.returncode, ended.stdout) == (1, "")
    assert (told["level"], told["message"]) == ("critical", "Address already in use (os error 98)")


STARTED = """
import logging, threading, warnings
import app

class Broken:
    def __del__(self):
        raise ValueError("hunter2")

def fail():
    raise ValueError("hunter2")

app.serve()
warnings.warn("two\\nlines")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
try:
    fail()
except ValueError:
    logging.getLogger("sqlalchemy.pool").exception("It failed")
Broken()
"""


def test_what_others_say(here: Installation) -> None:
    """Warnings of Python, lines of libraries, and errors that no caller catches."""
    ended = here.run([sys.executable, "-c", STARTED])
    assert "hunter2" not in ended.stderr
    warned, thread, library, destructor = parsed(ended.stderr)[-4:]
    assert (warned["logger"], "UserWarning: two\nlines" in warned["message"]) == ("py.warnings", True)
    assert (library["logger"], library["message"], library["error"]) == ("sqlalchemy.pool", "It failed", "ValueError")
    assert {(one["event"], one["error"]) for one in (thread, destructor)} == {("unexpected_error", "ValueError")}


def test_text(here: Installation) -> None:
    """With ENROL_LOG_FORMAT=text, people read the lines as Granian and Enrol write them for people."""
    here.environment["ENROL_LOG_FORMAT"] = "text"
    (server,) = here.start("granian")
    log = server.log().splitlines()
    assert {"Database brought to 0001.", "[INFO] Started worker-1"} <= set(log)
