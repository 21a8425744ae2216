"""What the names in a header, or of the members of JSON lines, mean."""

from collections.abc import Mapping, Sequence
from typing import Final

from users.bulk.files.layout import MAX_COLUMNS, MAX_NAME_LENGTH
from users.bulk.files.refusals import DuplicateColumn, FileMalformed, MissingColumn, UnknownColumn, UnknownTarget
from users.bulk.options import Options
from users.bulk.rows import COLUMNS

ERROR_COLUMNS: Final = ("error_row", "error_code", "error")  # that a file of rejected rows has beside its own
_ALIASES = {
    "e_mail": "email",
    "email_address": "email",
    "mail": "email",
    "firstname": "first_name",
    "given_name": "first_name",
    "forename": "first_name",
    "lastname": "last_name",
    "surname": "last_name",
    "family_name": "last_name",
    "role": "global_role_id",
}
_UNUSED = ("updated_at", "last_login", "full_name", *ERROR_COLUMNS)
_SEPARATORS = str.maketrans(" -.", "___")


def simplified(name: str) -> str:
    """Return `name` as names of columns are compared."""
    return name.strip().casefold().translate(_SEPARATORS)


def column_named(name: str) -> str | None:
    """Return our column that a name means, also by another name that a header may have; None if it means none."""
    simple = simplified(name)
    return simple if simple in COLUMNS else _ALIASES.get(simple)


def known_names(options: Options) -> dict[str, str | None]:
    """Return our column for every name that is known with these options, simplified; None for one that is not used.

    Raises UnknownTarget if a column is mapped to one that Enrol does not have.
    """
    ours: dict[str, str | None] = {**dict.fromkeys(_UNUSED), **{name: name for name in COLUMNS}, **_ALIASES}
    if not options.keep_ids:
        ours["id"] = None
    known = {**ours, "": None}
    for name, target in options.mapped.items():
        if simplified(target) not in {*COLUMNS, *_ALIASES}:
            raise UnknownTarget(target)
        known[simplified(name)] = ours[simplified(target)]
    return {**known, **{simplified(name): None for name in options.ignored}}


def columns_of(header: Sequence[str], row: int, options: Options) -> tuple[str | None, ...]:
    """Return our column for each name of `header`, which stands in `row`; None for one that is not used.

    Raises FileMalformed if the header is too large, DuplicateColumn, UnknownColumn or MissingColumn.
    """
    names = [simplified(name) for name in header]
    count = sum(name not in ERROR_COLUMNS for name in names)  # a file of rejects has those beside its own
    if count > MAX_COLUMNS or len(names) > MAX_COLUMNS + len(ERROR_COLUMNS):
        raise FileMalformed(row, f"The header has {count} columns. It may have {MAX_COLUMNS}")
    known = known_names(options)
    columns = tuple(map(known.get, names))
    if not any(columns) and any("@" in name for name in names):
        raise MissingColumn("email", header)
    if any(len(name) > MAX_NAME_LENGTH for name in names):
        raise FileMalformed(row, f"A name in the header is longer than {MAX_NAME_LENGTH} characters")
    _check_twice(header, columns)
    unknown = [shown.strip() for shown, name in zip(header, names, strict=True) if name not in known]
    if unknown:
        raise UnknownColumn(unknown)
    absent = [name for name in options.mapped if simplified(name) not in names]
    if absent or "email" not in columns:
        raise MissingColumn(absent[0] if absent else "email", header)
    return columns


def _check_twice(header: Sequence[str], columns: Sequence[str | None]) -> None:
    first: dict[str, str] = {}
    for shown, column in zip(header, columns, strict=True):
        if column and column in first:
            raise DuplicateColumn(column, (first[column], shown.strip()))
        if column:
            first[column] = shown.strip()


def notices_of(header: Sequence[str], known: Mapping[str, str | None], options: Options) -> tuple[str, ...]:
    """Return a sentence for each name of `header` that is known and not used, though the options do not ignore it."""
    ignored = {simplified(name) for name in options.ignored}
    found = []
    for position, name in enumerate(header, start=1):
        simple = simplified(name)
        if simple in ignored or known.get(simple):
            continue
        if not simple:
            found.append(f"Column {position} has no name and is not used")
        elif simple in known:
            found.append(f'The column "{name.strip()}" is not used')
    return tuple(found)
