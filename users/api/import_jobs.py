"""The URLs under /v1 of imports that take a file: taken in, found, started, cancelled, and their rejected rows."""

from pathlib import Path
from typing import Any

from flask import Response, g, jsonify, request

from users import settings
from users.api import file_body, parameters
from users.api.authentication import requires
from users.blueprint import bp
from users.bulk.files import encodings
from users.bulk.imports import jobs, previews, rejects
from users.bulk.options import Options
from users.bulk.rows import COLUMNS
from users.request_errors import InvalidParameter
from users.roles import Permission
from users.storage.models import Import

PATH = "/v1/user/import/jobs"
MOST_LISTED = 100
LOOK_AGAIN_SECONDS = 2  # at an import that moves
_PIECE = 64 * 1024
_TYPES = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
_STARTS = ("never", "clean", "always")


@bp.post(PATH)
@requires(Permission.USERS_IMPORT)
def create_import_job() -> tuple[Response, int, dict[str, str]]:
    """Answer 202 with the import of the file in the body, which is then checked.

    The same file with the same Idempotency-Key gets the same import.
    """
    with file_body.discarding(request):
        found = _submit()
    headers = {"Location": f"{PATH}/{found.job.id}", **({"Idempotent-Replayed": "true"} if found.replayed else {})}
    return jsonify(jobs.as_job(found.job)), 202, headers | _when_to_look(found.job)


def _submit() -> jobs.Submitted:
    start: Any = parameters.one_of(request, "start", _STARTS) or "never"
    name = parameters.text(request, "name", jobs.LONGEST_NAME)
    options, key = _options(), parameters.idempotency_key(request)
    file_body.require_type(request)
    body = file_body.FileBody(request, most=settings.current().import_max_bytes)
    return jobs.submit(body, name=name, options=options, start=start, idempotency_key=key, actor=g.actor)


def _options() -> Options:
    return Options(
        skip_existing=parameters.boolean(request, "skip_existing"),
        no_password=parameters.boolean(request, "no_password"),
        keep_ids=parameters.boolean(request, "keep_ids"),
        encoding=file_body.encoding(request),
        mapped=_mapped(),
        ignored=tuple(request.args.getlist("ignore")),
    )


def _mapped() -> dict[str, str]:
    """Return what the parameters `map` say: a header of the file to one of our columns."""
    pairs = [given.rpartition("=") for given in request.args.getlist("map")]
    mapped = {header: column for header, _, column in pairs}
    if len(mapped) < len(pairs) or not all(header and column in COLUMNS for header, column in mapped.items()):
        raise InvalidParameter("map", f"Header=column with each header once; the columns are {', '.join(COLUMNS)}")
    return mapped


def _when_to_look(job: Import) -> dict[str, str]:
    return {"Retry-After": str(LOOK_AGAIN_SECONDS)} if job.state in jobs.MOVING else {}


@bp.get(PATH)
@requires(Permission.USERS_IMPORT)
def list_import_jobs() -> Response:
    """Answer 200 with the imports that the caller may see, newest first."""
    before, limit = parameters.before(request), parameters.limit(request, most=MOST_LISTED)
    return jsonify([jobs.as_job(job) for job in jobs.newest(g.actor, before=before, limit=limit)])


@bp.get(f"{PATH}/<import_id>")
@requires(Permission.USERS_IMPORT)
def get_import_job(import_id: str) -> tuple[Response, dict[str, str]]:
    """Answer 200 with the import, or 404. Retry-After says when to look again, while it moves."""
    job = jobs.find(import_id, g.actor)
    return jsonify(jobs.as_job(job)), _when_to_look(job)


@bp.post(f"{PATH}/<import_id>/start")
@requires(Permission.USERS_IMPORT)
def start_import_job(import_id: str) -> tuple[Response, dict[str, str]]:
    """Answer 200 with the import, which was checked and now begins."""
    job = jobs.start(import_id, g.actor)
    return jsonify(jobs.as_job(job)), _when_to_look(job)


@bp.post(f"{PATH}/<import_id>/cancel")
@requires(Permission.USERS_IMPORT)
def cancel_import_job(import_id: str) -> Response:
    """Answer 200 with the import, which has ended. The users that it has created stay."""
    return jsonify(jobs.as_job(jobs.cancel(import_id, g.actor)))


@bp.get(f"{PATH}/<import_id>/rejects")
@requires(Permission.USERS_IMPORT)
def get_import_rejects(import_id: str) -> Response:
    """Answer 200 with the rows that were rejected, as a file like the one that came, and with what is wrong in each."""
    as_json = parameters.one_of(request, "format", ("file", "json")) == "json"
    job = jobs.find(import_id, g.actor)
    path = jobs.rejects_file(job, g.actor)
    if as_json:
        return jsonify([_as_rejected(row) for row in previews.first_refused(job, previews.MOST_SHOWN)])
    size = rejects.size_of(job, path)
    form, charset = _form_of(path, Options.from_json(job.options))
    answer = Response(rejects.pieces(path, size), content_type=f"{_TYPES[form]}; charset={charset}")
    answer.headers.set("Content-Disposition", "attachment", filename=f"{job.id}-rejects.{form}")
    return answer


def _as_rejected(row: previews.RefusedRow) -> dict[str, Any]:
    errors = [{"code": code, "message": words} for code, words in zip(row.codes, row.errors, strict=False)]
    return {"row": int(row.number), "email": row.email, "errors": errors}


def _form_of(path: Path, options: Options) -> tuple[str, str]:
    """Return the form and the encoding of a file of rejects, which are those of the file that came."""
    with path.open("rb") as file:
        beginning = file.read(_PIECE)
    codec, mark = encodings.detect(beginning, options.encoding)
    is_json = beginning[mark:].decode(codec, "ignore").lstrip().startswith("{")
    return "jsonl" if is_json else "csv", encodings.shown(codec).lower()
