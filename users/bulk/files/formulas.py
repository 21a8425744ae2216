"""Cells that a spreadsheet would take for a formula: an apostrophe before them keeps them a text.

`escaped` and `unescaped` are a bijection: a text that has such an apostrophe already gets one more.
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"''*[=+\-@\t\r]")


def escaped(cell: str) -> str:
    """Return `cell` as a spreadsheet shows it without computing it."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def unescaped(cell: str) -> str:
    """Return the text of which `escaped` made `cell`."""
    return cell[1:] if _ESCAPED.match(cell) else cell
