"""The form that takes a file of users. The file goes to the spool while it arrives, and is checked beside requests."""

import contextlib
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from flask import Response, g, redirect, render_template, request, url_for

from users import settings
from users.blueprint import bp
from users.bulk.files import beginning, reading
from users.bulk.files.records import records
from users.bulk.files.refusals import DuplicateColumn, FileRefused, MissingColumn, UnknownColumn
from users.bulk.imports import jobs
from users.bulk.imports.errors import in_units
from users.bulk.options import Options
from users.bulk.rows import COLUMNS
from users.form_errors import FileTooLarge, FormRefused
from users.http.uploads import MOST_FIELD_BYTES
from users.pages.forms import FormData
from users.pages.guards import PageResponse, page
from users.pages.imports.forms import MOST_PASTED, ImportForm
from users.request_errors import PayloadTooLarge
from users.roles import Permission
from users.storage.models import Import

_TEMPLATE = COLUMNS[:-1]  # an id is for the files of another Enrol
_LOOKED_AT = 10_000  # rows that are read before the answer: what is wrong with the file is said at once
_ABOUT_COLUMNS = (DuplicateColumn, MissingColumn, UnknownColumn)  # the page of the import asks what they mean
_LINE_END = re.compile(r"\r\n|\r|\n")


@bp.get("/admin/users/import")
@page(Permission.USERS_IMPORT)
def show_new_import(formdata: FormData | None = None) -> PageResponse:
    """Show the form for a file of users."""
    form = ImportForm(formdata)
    form.rows.data = None  # passwords may be among what was pasted
    return render_template("imports/new.html", form=form, most=in_units(_most_bytes()))


@bp.get("/admin/users/import/template.csv")
@page(Permission.USERS_IMPORT)
def show_import_template() -> PageResponse:
    """Answer with a file that has the header and no row."""
    headers = {"Content-Disposition": 'attachment; filename="users.csv"'}
    return Response(",".join(_TEMPLATE) + "\r\n", mimetype="text/csv", headers=headers)


@bp.post("/admin/users/import")
@page(Permission.USERS_IMPORT, again=show_new_import, takes_file=True)
def add_import() -> PageResponse:
    """Take in the file, or the rows that were pasted, and lead to the page of the import."""
    has_file = g.upload is not None and g.upload.filename != ""
    with _shown_beside("file" if has_file else "rows"):
        job = _take_file() if has_file else _take_rows()
    return redirect(url_for("users.show_import", import_id=job.id), 303)


def _take_file() -> Import:
    most = _most_bytes()
    if (request.content_length or 0) > most + MOST_FIELD_BYTES:  # before it has arrived
        raise PayloadTooLarge
    name = re.split(r"[\\/]", g.upload.filename)[-1]
    return _create(io.BufferedReader(g.upload), name, _options_with_file)


def _take_rows() -> Import:
    form = ImportForm(request.form)
    text = (form.rows.data or "").strip("\r\n")
    if not text.strip():
        raise FormRefused({"file": "Choose a file, or paste rows"})
    if len(_LINE_END.findall(text)) > MOST_PASTED:
        raise FormRefused({"rows": f"Paste {MOST_PASTED:,} rows or fewer. For more, save them as a file"})
    options = form.options(encoding=None)
    return _create(io.BytesIO(text.encode()), None, lambda file: _looked_at(file, options))


def _options_with_file(file: BinaryIO) -> Options:
    """Return the options, which have arrived with the rest of the form after the file."""
    form = ImportForm(request.form)
    if (form.rows.data or "").strip():
        raise FormRefused({"rows": "Choose a file or paste rows, not both"})
    return _looked_at(file, form.options(form.encoding.data or None))


def _looked_at(file: BinaryIO, options: Options) -> Options:
    """Return `options` after a look at the beginning of the file. Raises FileRefused, but not for unknown columns."""
    with contextlib.suppress(*_ABOUT_COLUMNS):
        reading.look(file, options)
    found = beginning.begin(file, options)
    if found.form == "csv":
        for _ in islice(records(file, found.encoding, found.delimiter, found.first), _LOOKED_AT):
            pass
    return options


def _create(stream: BinaryIO, name: str | None, options: jobs.ToldLater) -> Import:
    return jobs.submit(stream, name=name, options=options, start="never", idempotency_key=None, actor=g.actor).job


@contextlib.contextmanager
def _shown_beside(field: str) -> Iterator[None]:
    """Show what is wrong with the file beside its field, or beside the encoding."""
    try:
        yield
    except PayloadTooLarge:
        raise FileTooLarge(f"The file is larger than {in_units(_most_bytes())}. Import it in parts") from None
    except FileRefused as error:
        at = "encoding" if error.code == "FILE_ENCODING" and field == "file" else field
        raise FormRefused({at: error.message}) from None


def _most_bytes() -> int:
    return settings.current().import_max_bytes
