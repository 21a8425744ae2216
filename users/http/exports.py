"""The answer to a request for an export: a file to keep."""

from typing import IO, cast

from flask import Response, request
from werkzeug.wsgi import wrap_file

from users import clock
from users.actors import Actor
from users.bulk import export
from users.bulk.export import Wanted

MEDIA_TYPES = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
_PIECE_BYTES = 64 * 1024


def response(wanted: Wanted, *, actor: Actor) -> Response:
    """Answer with the export and its length, so that a part of it is never taken for the whole.

    To HEAD it answers without making one. Raises what `export.spool` raises.
    """
    actor.require(*wanted.permissions)
    answer = Response(mimetype=MEDIA_TYPES[wanted.form])
    answer.headers.set("Content-Disposition", "attachment", filename=f"users-{clock.now():%Y-%m-%d}.{wanted.form}")
    if request.method == "HEAD":
        answer.automatically_set_content_length = False
        return answer
    made = export.spool(wanted, actor=actor)
    answer.content_length = made.size
    answer.response = wrap_file(request.environ, cast("IO[bytes]", made), _PIECE_BYTES)  # which reads and closes it
    answer.direct_passthrough = True
    return answer
