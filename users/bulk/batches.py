"""A batch: up to 1,000 users in one request and one transaction, each judged as a row of a file is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from users import clock, settings
from users.actors import Actor
from users.auth import authorization, hasher
from users.bulk import insertion
from users.bulk.domain_memory import DnsMemory
from users.bulk.duplicates import Seen
from users.bulk.insertion import Fate, Result
from users.bulk.judging import Judge
from users.bulk.options import Options
from users.bulk.rows import COLUMNS, ROW, BadRow, GoodRow, Row
from users.errors import EnrolError, Invalid
from users.field_errors import FieldCode, FieldError, FieldErrors, FieldRefused, RowCode
from users.passwords.hash_queue import Share
from users.roles import Permission
from users.rules import field_checks
from users.services import idempotency
from users.services.idempotency import IdempotentRequest
from users.storage import database

MOST_ROWS = 1_000
MOST_PASSWORDS = 25  # plain ones: each takes a tenth of a second of one core
MOST_REF = 255  # characters
DNS_SECONDS = 15.0  # that a batch waits for DNS in all
_SWITCHES = ("all_or_nothing", "skip_existing", "no_password", "keep_ids")
_MEMBERS = ("users", *_SWITCHES)
_NOT_USED = ("updated_at", "last_login", "full_name", "error_row", "error_code", "error")  # as in a file
_TAKEN = {*COLUMNS, *_NOT_USED, "ref"}
_VALID = "valid"  # the status of a row that would be created

Answer = dict[str, Any]


class BatchTooLarge(EnrolError):
    """The batch has more than `limit` users, or users with a plain password."""

    code = "BATCH_TOO_LARGE"
    status = 422
    type = "validation_error"
    system_message = "A batch has a limit of users, and of users with a plain password; see details.limit"

    def __init__(self, limit: int, *, plain: bool = False) -> None:
        super().__init__(details={"limit": limit})
        self.message = f"A batch takes up to {limit:,} users. Send more of them as a file."
        if plain:
            words = "Send the others in another batch, or all of them as a file."
            self.message = f"A batch takes up to {limit:,} users with a plain password. {words}"


class BatchRejected(EnrolError):
    """A batch that is all or nothing has users who cannot be created: nothing was written."""

    code = "BATCH_REJECTED"
    status = 422
    type = "validation_error"
    message = "Nothing was created: at least one of the users is rejected. Mend those who are, or leave them out."
    system_message = "all_or_nothing is true, and at least one user is rejected; see details.results"


@dataclass(frozen=True)
class Batch:
    """A batch that was read."""

    rows: Sequence[Row] = field(repr=False)
    refs: Sequence[str | int | None]
    options: Options
    all_or_nothing: bool


def read(given: Mapping[str, object]) -> Batch:
    """Return the batch that `given` describes. Raises Invalid, and BatchTooLarge."""
    found = FieldErrors()
    users = found.check("users", _users, given.get("users"))
    switches = {one: bool(found.check(one, _switch, one, given.get(one, False))) for one in _SWITCHES}
    found.errors += field_checks.unknown_fields(given, _MEMBERS)
    if users is None or found.errors:
        raise Invalid(found.errors)
    if len(users) > MOST_ROWS:
        raise BatchTooLarge(MOST_ROWS)
    if sum(isinstance(one, dict) and bool(one.get("password")) for one in users) > MOST_PASSWORDS:
        raise BatchTooLarge(MOST_PASSWORDS, plain=True)
    options = Options(
        skip_existing=switches["skip_existing"], no_password=switches["no_password"], keep_ids=switches["keep_ids"]
    )
    rows, refs = [_row(index, one) for index, one in enumerate(users)], [_echo(one) for one in users]
    return Batch(rows, refs, options, switches["all_or_nothing"])


def _users(value: object) -> list[object]:
    if not isinstance(value, list) or not value:
        code = FieldCode.REQUIRED_FIELD if value is None else FieldCode.INVALID_TYPE
        raise FieldRefused(code, f"Users must be a list of 1 to {MOST_ROWS:,} users (a JSON array of objects)")
    return value


def _switch(name: str, value: object) -> bool:
    return field_checks.boolean(name, value)


def _row(index: int, given: object) -> Row:
    if not isinstance(given, dict):
        words = 'Each user must be one JSON object, like {"email": "name@example.com"}'
        return Row(index, {}, (FieldError(ROW, RowCode.INVALID_JSON, words),))
    unknown = {name: value for name, value in given.items() if name not in _TAKEN}
    errors = tuple(field_checks.unknown_fields(unknown, COLUMNS)) if unknown else ()
    if "ref" in given and _echo(given) is None and given["ref"] is not None:
        words = f"ref must be text of up to {MOST_REF} characters or a whole number"
        errors += (FieldError("ref", FieldCode.INVALID_TYPE, words),)
    return Row(index, {name: given[name] for name in COLUMNS if name in given}, errors)


def _echo(given: object) -> str | int | None:
    """Return the `ref` of a user if it is one, else None."""
    ref = given.get("ref") if isinstance(given, dict) else None
    if isinstance(ref, bool) or not isinstance(ref, str | int) or (isinstance(ref, str) and len(ref) > MOST_REF):
        return None
    return ref


def check(batch: Batch, *, actor: Actor) -> Answer:
    """Return the answer of `create` as it would be now, with "valid" for a user who would be created. Writes nothing.

    Raises the errors of `create` that it would raise before it writes.
    """
    authorization.require_authorized(actor, Permission.USERS_IMPORT)
    database.require_writable()
    judged = _Judged(batch, actor)
    judged.look_up()
    return judged.answer(is_done=False)


def create(batch: Batch, *, request: IdempotentRequest | None, actor: Actor) -> tuple[Answer, bool]:
    """Create the users of the batch in one transaction, and return the answer and whether it was given before.

    Raises BatchRejected, Overloaded if a password cannot be hashed now (nothing is written), Unavailable, and the
    errors of `authorization.reauthorize` and of `idempotency.find_kept`.
    """
    judged = _Judged(batch, actor)
    hashes = judged.hash_passwords()
    try:
        with database.writing() as connection:
            return _write(connection, judged, hashes, request), False
    except IntegrityError as error:
        if request is None or not idempotency.is_kept_already(error):
            raise
        kept = idempotency.find_kept(request, Permission.USERS_IMPORT, actor=actor)
        if kept is None:
            raise
        return kept.answer, True


def _write(
    connection: Connection, judged: "_Judged", hashes: Mapping[int, str], request: IdempotentRequest | None
) -> Answer:
    actor, now = authorization.reauthorize(connection, judged.actor, Permission.USERS_IMPORT), clock.now()
    if request:
        idempotency.keep(request, connection, {}, now)
    judged.insert(connection, hashes, actor, now)
    answer = judged.answer(is_done=True)
    if request:
        idempotency.complete(request, connection, answer)
    return answer


def as_valid(answer: Answer) -> Answer:
    """Return the kept answer of a batch as `check` would have given it before."""
    results = [{name: one[name] for name in ("index", "ref")} | {"status": _VALID} for one in answer["results"]]
    both = zip(answer["results"], results, strict=True)
    return {**answer, "results": [valid if one["status"] == Fate.CREATED else one for one, valid in both]}


class _Judged:
    """The rows of a batch with what is known of each so far."""

    def __init__(self, batch: Batch, actor: Actor) -> None:
        self.actor = actor
        self._batch = batch
        self._show_user_id = Permission.USERS_READ in actor.permissions
        dns = DnsMemory(most_seconds=DNS_SECONDS)
        judge = Judge(batch.options, settings.current().rules, actor.permissions, dns)
        judged = [judge.judge(row) for row in batch.rows]
        seen = Seen()
        for one in judged:
            if isinstance(one, GoodRow):
                seen.add(one)
        duplicates = seen.first_of()
        self._fates: dict[int, Result] = {}  # of the rows whose fate is known
        self._good: list[GoodRow] = []  # the others
        for one in judged:
            errors = one.errors if isinstance(one, BadRow) else duplicates.errors(one.number)
            if errors:
                self._fates[one.number] = Result(Fate.REJECTED, None, errors)
            elif isinstance(one, GoodRow):
                self._good.append(one)

    def look_up(self) -> None:
        """Find out which rows the database refuses now."""
        with database.reading() as session:
            found = insertion.look_up(session, self._good, self._batch.options, show_user_id=self._show_user_id)
        self._note(found)

    def hash_passwords(self) -> dict[int, str]:
        """Return the hashes of the plain passwords, by row. Rows that the database refuses now get none."""
        if not any(row.password for row in self._good):
            return {}
        self.look_up()
        self._require_all()
        plain = [(row.number, row.password) for row in self._good if row.password]
        if not plain:
            return {}
        with hasher.current().place(Share.BULK) as place:
            return {number: place.hash(password) for number, password in plain}

    def insert(self, connection: Connection, hashes: Mapping[int, str], actor: Actor, now: datetime) -> None:
        """Insert the rows whose fate is not known."""
        results = insertion.insert(
            connection,
            self._good,
            insertion.users_of(self._good, hashes, now),
            options=self._batch.options,
            actor=actor,
            request_id=actor.request_id or "",
            now=now,
            show_user_id=self._show_user_id,
        )
        self._note(results)

    def _note(self, found: Sequence[Result | None]) -> None:
        both = list(zip(self._good, found, strict=True))
        self._fates |= {row.number: fate for row, fate in both if fate}
        self._good = [row for row, fate in both if fate is None]

    def _require_all(self) -> None:
        """Raise BatchRejected if the batch is all or nothing and a row is known to be rejected."""
        if self._batch.all_or_nothing and any(one.fate == Fate.REJECTED for one in self._fates.values()):
            raise BatchRejected(details={"results": self._results(is_done=False)})

    def answer(self, *, is_done: bool) -> Answer:
        """Return the answer of the whole batch. Raises BatchRejected."""
        self._require_all()
        results = self._results(is_done=is_done)
        counts = {fate: sum(one["status"] == fate for one in results) for fate in Fate}
        counts[Fate.CREATED] += sum(one["status"] == _VALID for one in results)
        return {**{str(fate): count for fate, count in counts.items()}, "results": results}

    def _results(self, *, is_done: bool) -> list[Answer]:
        refs = enumerate(self._batch.refs)
        return [{"index": index, "ref": ref, **_shown(self._fates.get(index), is_done=is_done)} for index, ref in refs]


def _shown(result: Result | None, *, is_done: bool) -> Answer:
    if result is None or (result.fate == Fate.CREATED and not is_done):
        return {"status": _VALID}
    shown: Answer = {"status": str(result.fate)}
    if result.fate == Fate.CREATED:
        return {**shown, "user": result.as_user()}
    if result.user_id:
        shown["user_id"] = result.user_id
    if result.errors:
        shown["errors"] = [one.as_dict() for one in result.errors]
    return shown
