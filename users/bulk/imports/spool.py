"""The spool: a folder with the files of imports on their way in, each readable by Enrol's user alone.

`ID.file` is what was uploaded, `ID.rejects` the rows that were refused, `ID.duplicates` and `ID.preview` what the check
of the file found. All are removed some time after the end of the import: see `cleaning`.
"""

from pathlib import Path

from users import settings


def path(import_id: str, suffix: str) -> Path:
    """Return the path of a file of the spool, whose folder is made where it is not there. Raises OSError."""
    folder = settings.current().spool_folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{import_id}.{suffix}"
