"""The errors of imports as a whole. Those of a file stand in `files/refusals`, those of a row in `field_errors`."""

from users.errors import EnrolError, NotFound, RateLimitExceeded, Unavailable
from users.request_errors import PayloadTooLarge

MOST_UNFINISHED = 10


class ImportNotFound(NotFound):
    """The import does not exist, the actor may not see it, or what was asked for of it has been removed."""

    code = "IMPORT_NOT_FOUND"
    message = "There is no such import, or what you ask for has been removed."
    system_message = "No import that this caller may see matches"


class ImportState(EnrolError):
    """The act does not fit the state in which the import is. `details` is `{"state"}`."""

    code = "IMPORT_STATE"
    status = 409
    type = "conflict_error"
    system_message = "The import is in a state that does not allow this; see details.state"

    def __init__(self, state: str) -> None:
        super().__init__(details={"state": state})
        self.message = f"This import is {state}, so this cannot be done."


class ImportElsewhere(EnrolError):
    """The files of the import are on another host, which does not share the spool folder with this one."""

    code = "IMPORT_ELSEWHERE"
    status = 409
    type = "conflict_error"
    message = "The file of this import is on another host. Let the hosts share the folder ENROL_SPOOL_DIR."
    system_message = "The spool folder of this host does not hold the files of the import"


class TooManyImports(RateLimitExceeded):
    """So many imports wait or run that one more is not taken."""

    code = "TOO_MANY_IMPORTS"
    message = f"{MOST_UNFINISHED} imports have not ended. Start or cancel one of them, then try again."
    system_message = "The number of unfinished imports is limited; see the Retry-After header"

    def __init__(self) -> None:
        super().__init__(60)


class FileTooLarge(PayloadTooLarge):
    """The file is larger than ENROL_IMPORT_MAX_BYTES."""

    system_message = "File over ENROL_IMPORT_MAX_BYTES"

    def __init__(self, most: int) -> None:
        super().__init__()
        self.message = f"The file must be {in_units(most)} or smaller."


class SpoolUnavailable(Unavailable):
    """The spool folder cannot be used now, most often because its disk is full."""

    system_message = "The folder for files to import cannot be used at the moment"


def in_units(count: int) -> str:
    """Return a number of bytes for people, never rounded: `512 MiB`, or `100,000 bytes` where no unit fits."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if count and count % size == 0:
            return f"{count // size:,} {unit}"
    return f"{count:,} bytes"
