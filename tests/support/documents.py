"""The pages of the documentation, and the parts of them that tests run or compare with the code."""

import re

from support.servers import REPOSITORY


def page(path: str) -> str:
    """Return the text of a page."""
    return (REPOSITORY / path).read_text(encoding="utf-8")


README = page("README.md")
OPERATIONS = page("users/OPERATIONS.md")
FAULTS = page("tests/faults/README.md")
MAP = page("users/README.md")
CONTRIBUTING = page(".github/CONTRIBUTING.md")


def section(text: str, title: str) -> str:
    """Return the part of a page below a heading of the second or third level, to the next one that is as high."""
    level, found = re.findall(rf"^(##|###) {re.escape(title)}\n(.*)", text, re.MULTILINE | re.DOTALL)[0]
    return str(re.split(rf"^#{{2,{len(level)}}} ", found, maxsplit=1, flags=re.MULTILINE)[0])


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def first_cells(text: str) -> list[str]:
    """Return the first column of a table, without its head."""
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]
