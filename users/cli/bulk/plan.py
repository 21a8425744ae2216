"""What an import will do, said before it does it."""

from collections.abc import Iterator

from users.bulk.files import encodings
from users.bulk.files.layout import Layout
from users.bulk.files.refusals import FileRefused
from users.bulk.imports import hashing
from users.bulk.imports.at_terminal import Source
from users.bulk.imports.examination import Examination, Findings
from users.bulk.options import Options
from users.bulk.rows import COLUMNS
from users.cli.bulk.progress import duration
from users.field_errors import FieldCode

_REASONS = 5  # why rows cannot be imported, in the plan
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def sentences(source: Source, examined: Examination, options: Options) -> Iterator[str]:
    """Yield what will be done: file, rows, columns, and what the rows carry."""
    its, layout = examined.findings, examined.layout
    yield f"{printable(source.name or 'Standard input')}: {_form(layout)}, {_rows(its)}"
    if layout.header:
        yield f"Columns: {', '.join(_columns(layout))}"
    unused = [name for name, column in zip(layout.header, layout.columns, strict=True) if not column and name.strip()]
    if unused:
        yield f"Not used: {', '.join(quoted(name) for name in unused)}"
    yield from (notice for notice in layout.notices if not layout.header)
    yield from _passwords(its)
    has_passwords = not layout.header or not {"password", "password_hash"}.isdisjoint(layout.columns)
    if not has_passwords and not options.no_password:
        yield "No column holds a password. With --no-password the users come without one; then give them password links"
    if its.rejected:
        yield f"{counted(its.rejected, 'row')} cannot be imported"
        yield from _reasons(its)
    lacking = its.reasons.get(("password", FieldCode.REQUIRED_FIELD))
    if lacking and has_passwords:
        advice = "with --no-password their users come without one; then give them password links"
        yield f"{counted(lacking.rows, 'row')} without a password: {advice}"


def _reasons(its: Findings) -> Iterator[str]:
    """Yield why rows cannot be imported: the most frequent reasons first."""
    most = sorted(its.reasons.values(), key=lambda one: (-one.rows, one.number))
    for one in most[:_REASONS]:
        rows = "" if one.rows == 1 else f"{counted(one.rows, 'row')}, the first is "
        yield f"- {rows}row {one.number:,}: {one.message}"
    if len(most) > _REASONS:
        yield f"- and {counted(len(most) - _REASONS, 'more reason')}"


def hint(error: FileRefused) -> str:
    """Return which option mends an error of the file, to follow its message; "" if none does."""
    if error.code == "UNKNOWN_COLUMN":
        names = error.details["columns"]
        name = printable(str(names[0])).replace('"', "'")
        end, what = " " if error.message.endswith("?") else ". ", "For each of them" if names[1:] else "To do so"
        return f'{end}{what}: --map "{name}=COLUMN", with one of {", ".join(COLUMNS)}; or --ignore "{name}"'
    if error.code == "MISSING_COLUMN":
        return '. If another header means it: --map "HEADER=email"'
    if error.code == "FILE_ENCODING":
        return ". A CSV of Excel in Western Europe: --encoding windows-1252"
    return ""


def _form(layout: Layout) -> str:
    if layout.form == "jsonl":
        return f"JSON lines in {encodings.shown(layout.encoding)}"
    separated = _DELIMITERS.get(layout.delimiter, quoted(layout.delimiter))
    return f"CSV in {encodings.shown(layout.encoding)} with {separated}"


def _rows(its: Findings) -> str:
    blank = f" and {counted(its.blank, 'blank row')}" if its.blank else ""
    return f"{counted(its.rows, 'row')}{blank}"


def _columns(layout: Layout) -> Iterator[str]:
    for name, column in zip(layout.header, layout.columns, strict=True):
        if column:
            yield column if name.strip() == column else f"{column} (from {quoted(name)})"


def _passwords(its: Findings) -> Iterator[str]:
    if its.makes:
        makes = ", ".join(f"{make} {count:,}" for make, count in its.makes.most_common())
        yield f"Password hashes: {makes}"
    if its.passwords:
        seconds = duration(hashing.seconds_for(its.passwords))
        yield f"Plain passwords: {its.passwords:,}. To hash them takes about {seconds}"
    if its.without_password:
        yield f"Without a password: {counted(its.without_password, 'user')}. Each needs a password link to sign in"


def counted(number: int, noun: str) -> str:
    """Return `1 row`, `1,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def quoted(name: str) -> str:
    """Return a name of the file in quotes."""
    return f'"{printable(name.strip())}"'


def printable(text: str) -> str:
    """Return `text` without what a terminal would take for a command."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
