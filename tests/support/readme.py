"""README, in parts."""

import re

from support.servers import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """Return what stands under a heading."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def blocks(language: str, text: str = README) -> list[str]:
    """Return the fenced blocks in a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def first_cells(text: str) -> list[str]:
    """Return what stands in the first column of a section's table."""
    return [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")][1:]
