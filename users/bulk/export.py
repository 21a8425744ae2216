"""An export: all users whom a list asks for, as CSV or JSON lines, which an import reads again.

An export is written whole before anybody gets it, since its end would not tell a file that is complete from one that
is not: Granian ends an answer well whose rows break off, and nginx talks HTTP/1.0 to a server, which has no last chunk.
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Literal

from users import clock, settings
from users.actors import Actor
from users.audit import trail
from users.audit.trail import Action
from users.auth import authorization
from users.bulk.files.writing import Export
from users.errors import Overloaded, Unavailable
from users.roles import Permission
from users.services.lists import walk
from users.services.lists.asked import Asked
from users.services.lists.walk import Domain
from users.storage import database

COLUMNS = (
    "id",
    "email",
    "first_name",
    "last_name",
    "global_role_id",
    "is_active",
    "last_verified",
    "created_at",
    "updated_at",
    "last_login",
)
HASH = "password_hash"
ALL = Asked()
MEMORY_BYTES = 1024 * 1024  # of an export that needs no file
AT_ONCE = 2  # in one process, for requests: each takes all of a core, and others wait for it
MOST_FILES = 10  # of exports in one process, made or on their way: a reader may take hours
_making = threading.BoundedSemaphore(AT_ONCE)
_held = threading.BoundedSemaphore(MOST_FILES)


class TooManyExports(Overloaded):
    """This process makes AT_ONCE exports already, or holds the files of MOST_FILES."""

    system_message = "Other exports are being made"


@dataclass(frozen=True)
class Wanted:
    """What an export is asked for."""

    asked: Asked = ALL
    form: Literal["csv", "jsonl"] = "csv"
    with_hashes: bool = False
    excel: bool = False  # CSV begins with a byte order mark, by which Excel knows UTF-8
    after: str = ""  # the id after which it begins
    domain: Domain | None = None
    matches_none: bool = False  # active and deactivated at once

    @property
    def columns(self) -> Sequence[str]:
        """Return the columns, in their order."""
        return (*COLUMNS, HASH) if self.with_hashes else COLUMNS

    @property
    def permissions(self) -> Sequence[Permission]:
        """Return what the export needs."""
        return (Permission.USERS_READ, Permission.HASHES_READ) if self.with_hashes else (Permission.USERS_READ,)


class Spooled:
    """An export that is complete, to be read and closed. `size` is in bytes.

    A server holds this object while it sends the export, and closes it: Werkzeug calls nothing else at its end.
    """

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size
        self._free = weakref.finalize(self, _held.release)  # once, also where a server forgets an answer
        if isinstance(file, BytesIO):
            self._free()

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, all of them by default."""
        return self.file.read(size)

    def close(self) -> None:
        """Give up the file."""
        self.file.close()
        self._free()


def write_to(write: Callable[[bytes], object], wanted: Wanted, *, actor: Actor) -> int:
    """Give the export to `write`, some bytes at a time, and return how many users it has.

    An audit event with the columns is written first. Raises Denied, Unavailable, and the errors of
    `authorization.reauthorize` when the actor may not go on: what was written is then no export.
    """
    with database.step(), authorization.authorized_transaction(actor, *wanted.permissions) as (session, actor):
        trail.record(session, Action.USER_EXPORT, None, actor, clock.now(), list(wanted.columns))
    rows = Export(wanted.form, wanted.columns, excel=wanted.excel)
    write(rows.header())
    users = 0
    if not wanted.matches_none:
        for page in walk.pages(wanted.asked, wanted.columns, after=wanted.after, domain=wanted.domain):
            write(b"".join([rows.row(user) for user in page]))
            users += len(page)
            with database.step():
                authorization.require_authorized(actor, *wanted.permissions)
    return users


def spool(wanted: Wanted, *, actor: Actor) -> Spooled:
    """Return the export: in memory or, if it is long, in a file without a name, which is gone once it is closed.

    Raises TooManyExports, Unavailable if the disk is full, and what `write_to` raises.
    """
    if not _making.acquire(blocking=False):
        raise TooManyExports
    try:
        if not _held.acquire(blocking=False):
            raise TooManyExports
        try:
            return Spooled(*_spooled(wanted, actor))
        except BaseException:
            _held.release()
            raise
    finally:
        _making.release()


def _spooled(wanted: Wanted, actor: Actor) -> tuple[IO[bytes], int]:
    folder = settings.current().spool_folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file: IO[bytes] = SpooledTemporaryFile(MEMORY_BYTES, dir=str(folder))  # noqa: SIM115  (the response closes it)
        try:
            write_to(file.write, wanted, actor=actor)
            size = file.tell()
            file.seek(0)
            if size <= MEMORY_BYTES:  # it is no file yet
                with file:
                    return BytesIO(file.read()), size
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise Unavailable(f"{folder} cannot be written ({error.strerror}). Exports are made there.") from None
    return file, size
