"""The systemd units of OPERATIONS.md: systemd reads them, they are hardened, and a hash works under their filter."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.application import CHEAP, app_on
from support.databases import rows
from support.documents import OPERATIONS, blocks
from support.installations import installed
from support.servers import BIN, REPOSITORY
from support.skips import unavailable
from users import settings
from users.bulk import children

NAMES = ("enrol.service", "enrol-backup.service", "enrol-backup.timer")
MOST_EXPOSED = 25  # tenths of systemd's points


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units as files, whose programs are on this machine."""
    if not shutil.which("systemd-analyze"):
        unavailable("systemd-analyze, from the package systemd")
    files = [tmp_path / name for name in NAMES]
    for file, text in zip(files, blocks(OPERATIONS, "ini"), strict=True):
        file.write_text(re.sub(r"(?<=ExecStart=)\S+", "/bin/true", text))
    return files


def analyze(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run systemd-analyze."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_reads_the_units(units: list[Path]) -> None:
    done = analyze("verify", *units)
    assert [line for line in done.stderr.splitlines() if any(name in line for name in NAMES)] == []


def test_service_is_hardened(units: list[Path]) -> None:
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", units[0])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("without", "created"), [("", True), ("@resources", False)])
def test_hash_under_the_filter(units: list[Path], tmp_path: Path, without: str, created: bool) -> None:
    """A password is hashed, at its lower priority, and stored under the unit's filter of calls, but not under less."""
    (group,) = re.findall(r"^SystemCallFilter=(\S+)$", units[0].read_text(), re.MULTILINE)
    program = str(REPOSITORY / "tests" / "support" / "syscall_filter.py")
    command = [str(BIN / "flask"), "users", "create", "ada@example.com", "--generate-password"]
    with installed(tmp_path / "enrol") as here, app_on(here) as app:
        done = here.run([sys.executable, program, group, without, *command])
        assert bool(rows(app, "SELECT id FROM users")) == created, done.stderr
    assert done.returncode == (0 if created else -signal.SIGSYS)


def test_spool_is_writable(units: list[Path]) -> None:
    """The service may write where files to import are kept, unless the setting says otherwise."""
    (writable,) = re.findall(r"^ReadWritePaths=(\S+)$", units[0].read_text(), re.MULTILINE)
    loaded = settings.load({**CHEAP, "DATABASE_URL": "postgresql://nowhere/enrol"}, Path("/opt/enrol/instance"))
    assert loaded.spool_folder.is_relative_to(writable)


def test_child_under_the_filter(units: list[Path], tmp_path: Path) -> None:
    """The process that works on imports may lower its priority, and ends, since nobody holds its standard input."""
    (group,) = re.findall(r"^SystemCallFilter=(\S+)$", units[0].read_text(), re.MULTILINE)
    program = str(REPOSITORY / "tests" / "support" / "syscall_filter.py")
    with installed(tmp_path / "enrol", {"FLASK_APP": "app.py"}) as here, app_on(here):
        # Not by 19: beside other tests it would hardly run.
        program_of_child = children.PROGRAM.replace("os.nice(19)", "os.nice(1)")
        assert program_of_child != children.PROGRAM
        work = [sys.executable, "-c", program_of_child, "jobs", "work", "imports"]
        done = here.run([sys.executable, program, group, "", *work])
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
