"""`flask …`, in this process and by a real shell."""

import os
import subprocess
from typing import Any

from flask import Flask
from flask.testing import FlaskCliRunner

from support.application import CHEAP
from support.servers import BIN, REPOSITORY


def run(runner: FlaskCliRunner, *args: str, stdin: str | bytes = "") -> Any:
    """Run `flask` with `args`."""
    return runner.invoke(args=list(args), input=stdin)


def in_a_shell(app: Flask, line: str) -> tuple[int, str, str]:
    """Run `flask …` by a real shell; return its exit code, stdout and stderr."""
    settings = {**os.environ, **CHEAP, "DATABASE_URL": app.config["SQLALCHEMY_DATABASE_URI"]}
    command = ["bash", "-c", f"{BIN}/{line}"]
    done = subprocess.run(command, cwd=REPOSITORY, env=settings, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr
