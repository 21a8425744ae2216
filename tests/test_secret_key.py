"""The secret key that Enrol makes in `instance/` when none is given, and the folder that must be writable for it."""

import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from support.application import SECRET_KEY
from users.settings import BadSetting, load

OTHER_KEY = SECRET_KEY[::-1]


def refusal(instance: Path, missing: str) -> str:
    """Return the sentence that refuses a start without this variable, whose value `instance` cannot give."""
    given = {"SECRET_KEY": SECRET_KEY, "DATABASE_URL": "sqlite:////tmp/enrol.db", missing: ""}
    with pytest.raises(BadSetting) as caught:
        load(given, instance)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_generated_secret_key(tmp_path: Path) -> None:
    """It is made once and is private."""
    umask = os.umask(0)
    try:
        made = load({}, tmp_path).secret_key
    finally:
        os.umask(umask)
    kept = tmp_path / "secret_key"
    assert re.fullmatch("[0-9a-f]{64}", made)
    assert kept.read_text() == made
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert load({}, tmp_path).secret_key == made
    assert os.listdir(tmp_path) == ["secret_key"]


def test_given_secret_key_is_not_stored(tmp_path: Path) -> None:
    assert load({"SECRET_KEY": SECRET_KEY}, tmp_path).secret_key == SECRET_KEY
    assert os.listdir(tmp_path) == []


def test_processes_that_start_at_once_share_a_key(tmp_path: Path) -> None:
    barrier = Barrier(8)

    def start(folder: Path) -> str:
        barrier.wait()
        return load({}, folder).secret_key

    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with ThreadPoolExecutor(8) as pool:
            found = set(pool.map(start, [folder] * 8))
        assert found == {(folder / "secret_key").read_text()}
        assert os.listdir(folder) == ["secret_key"]


def test_second_process_reads_the_first_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def late(source: str, target: Path) -> None:
        target.write_text(OTHER_KEY)  # another process was faster
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    assert load({}, tmp_path).secret_key == OTHER_KEY
    assert os.listdir(tmp_path) == ["secret_key"]


def test_line_break_after_the_stored_key(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text(SECRET_KEY + "\n")
    assert load({}, tmp_path).secret_key == SECRET_KEY


@pytest.mark.parametrize("content", [b"", b"hunter2", b"0" * 64, b"\xff" * 64])
def test_unusable_stored_key(tmp_path: Path, content: bytes) -> None:
    """It is neither used nor shown."""
    (tmp_path / "secret_key").write_bytes(content)
    message = refusal(tmp_path, "SECRET_KEY")
    assert message == f"{tmp_path}/secret_key holds no usable key. Remove it, and the next start makes a new one."


@pytest.mark.parametrize("missing", ["DATABASE_URL", "SECRET_KEY"])
def test_unwritable_instance_folder(tmp_path: Path, missing: str) -> None:
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "missing", "No such file"), (tmp_path / "file", "Not a directory")):
        message = refusal(folder, missing)
        assert message.startswith(f"The folder {folder} must be there and writable by this user ({why}")
        assert message.endswith("or set both DATABASE_URL and SECRET_KEY.")
