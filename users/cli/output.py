"""What a command prints on stdout: JSON exactly as the API sends it, one value for a script, or a table."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from flask import jsonify

json_option = click.option("--json", "as_json", is_flag=True, help="Print what the API would answer.")


def print_json(value: object) -> None:
    """Print `value` exactly as the API would send it."""
    click.echo(jsonify(value).get_data(as_text=True), nl=False)


def print_result(members: dict[str, Any] | None, value: str) -> None:
    """Print `members` as JSON or, without --json, only `value`: a script needs no more."""
    if members is None:
        click.echo(value)
    else:
        print_json(members)


def print_array(values: Iterable[object]) -> None:
    """Print `values` as `print_json` prints a list of them, but one after another: there may be many."""
    before = "["
    for value in values:
        click.echo(before + jsonify(value).get_data(as_text=True).rstrip("\n"), nl=False)
        before = ","
    click.echo("[]" if before == "[" else "]")


def print_table(columns: Sequence[str], read: Callable[[], Iterable[Sequence[str]]]) -> None:
    """Print the rows that `read` yields under `columns`, each column as wide as its longest cell.

    The rows are read twice, first for the widths: a long table then takes no more memory than a short one.
    """
    widths = [len(column) for column in columns]
    for row in read():
        widths = [max(width, len(cell)) for width, cell in zip(widths, row, strict=True)]
    for row in itertools.chain([columns], read()):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
