"""The file of rejected rows on the disk."""

import io
import os
import stat
from pathlib import Path

import pytest

from users.bulk.files import reading
from users.bulk.imports.rejects import RejectsFile, RejectsLost
from users.bulk.options import Options

LAYOUT = reading.look(io.BytesIO(b"email\nann@example.com\n"), Options())


def test_a_new_file_is_on_disk_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a power failure after the first checkpoint could leave rows in a file without a name."""
    synced: list[bool] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with RejectsFile(tmp_path / "rejects.csv", LAYOUT) as file:
        size = file.sync()
    assert sorted(synced) == [False, True]
    synced.clear()
    with RejectsFile(tmp_path / "rejects.csv", LAYOUT, size=size) as file:
        file.sync()
    assert synced == [False]


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that takes files and shows none takes this one too."""
    real = os.open

    def refuse(path: str, flags: int, *more: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse)
    with RejectsFile(tmp_path / "rejects.csv", LAYOUT) as file:
        assert file.sync() == (tmp_path / "rejects.csv").stat().st_size > 0


@pytest.mark.parametrize("left", [None, b"email"])
def test_lost_rows_are_told(tmp_path: Path, left: bytes | None) -> None:
    path = tmp_path / "rejects.csv"
    if left:
        path.write_bytes(left)
    with pytest.raises(RejectsLost):
        RejectsFile(path, LAYOUT, size=10)
    assert (path.read_bytes() if path.exists() else None) == left
