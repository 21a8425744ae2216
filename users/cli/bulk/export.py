"""`flask users export`: all users in a file, or on standard output."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkstemp
from typing import Any, BinaryIO, Literal

import click

from users import ids
from users.bulk import export
from users.bulk.export import Wanted
from users.cli.command import actor
from users.cli.output import json_option, print_json, say_done, write_bytes
from users.cli.users import users_group
from users.services.lists.asked import Asked
from users.services.lists.walk import Domain, NoDomain

_STDOUT = "-"
_OPTION = "--with-hashes"


def _user_id(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value and not ids.is_user_id(value):
        raise click.BadParameter("takes the id of a user.")
    return value


def _domain(_context: click.Context, _option: click.Parameter, value: str | None) -> Domain | None:
    try:
        return None if value is None else Domain(value)
    except NoDomain:
        raise click.BadParameter("takes the domain of email addresses, like example.org.") from None


@users_group.command("export")
@click.argument("file", default=_STDOUT, metavar="[FILE|-]")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--active-only", is_flag=True, help="Leave out deactivated users.")
@click.option("--deactivated-only", is_flag=True, help="Only deactivated users.")
@click.option("--after", default="", metavar="ID", callback=_user_id, help="Only users created after this one.")
@click.option("--domain", metavar="D", callback=_domain, help="Only users whose email address is at this domain.")
@click.option(_OPTION, is_flag=True, help="With the password hashes, to move users to another system. Keep them safe.")
@click.option("--excel", is_flag=True, help="Begin the CSV with a byte order mark, by which Excel knows UTF-8.")
@json_option
def export_users(
    file: str,
    form: Literal["csv", "jsonl"],
    active_only: bool,
    deactivated_only: bool,
    as_json: bool,
    **more: Any,
) -> None:
    """Write all users but the deleted ones to a new file, or to standard output, oldest first."""
    if active_only and deactivated_only:
        raise click.UsageError("Nobody is both: give --active-only or --deactivated-only.")
    if as_json and file == _STDOUT:
        raise click.UsageError("With --json name a file: standard output then has what was done.")
    shown = "active" if active_only else "deactivated" if deactivated_only else "all"
    wanted = Wanted(asked=Asked(shown=shown), form=form, **more)
    start = time.monotonic()
    if file == _STDOUT:
        users = export.write_to(write_bytes, wanted, actor=actor())
        say_done(f"Users exported: {users}")
        return
    with _new_file(Path(file)) as write:
        users = export.write_to(write, wanted, actor=actor())
    say_done(f"Users exported: {users}, to {file}")
    if as_json:
        seconds = round(time.monotonic() - start, 1)
        print_json({"file": file, "users": users, "columns": list(wanted.columns), "seconds": seconds})


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Yield what writes to a new file, which has its name once it is complete and on disk. Only its owner may read it.

    Raises BadParameter if there is such a file, and ClickException if it cannot be written.
    """
    if os.path.lexists(path):
        raise click.BadParameter("takes a file that is not there yet.", param_hint="FILE")
    aside = None
    try:
        number, aside = mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
        with open(number, "wb") as file:
            yield file.write
            _force_to_disk(file)
        _name(aside, path)
    except FileExistsError:  # made meanwhile
        raise click.BadParameter("takes a file that is not there yet.", param_hint="FILE") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written ({error.strerror}).") from None
    finally:
        if aside:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)


def _force_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _name(aside: str, path: Path) -> None:
    """Give the file its name, unless another has it by now."""
    try:
        os.link(aside, path)
    except PermissionError:  # a file system without hard links, as of a memory stick
        os.rename(aside, path)
